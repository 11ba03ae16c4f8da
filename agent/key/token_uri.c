#include "agent/key/token_uri.h"

#include <stdlib.h>
#include <string.h>

#include <p11-kit/uri.h>

#include "agent/key/token.h"

#define MAX_URI 1024

struct token_uri {
    P11KitUri *p11; /* owned */
};

static const char *const attributes[] = {"token", "serial", "manufacturer", "model"};

/* What people write here that belongs elsewhere, or nowhere. */
static const struct {
    const char *name;
    const char *hint;
} misplaced[] = {
    {"object", "leave it out: which key is used is decided by what was enrolled"},
    {"id", "leave it out: which key is used is decided by what was enrolled"},
    {"type", "leave it out: the URI names the token, not a key in it"},
    {"slot-id", "slot numbers change; name the token by token= or serial="},
    {"module-path", "give the path as 'module'"},
    {"module-name", "give the module's path as 'module'"},
    {"library-description", "give the module's path as 'module'"},
    {"pin-source", "store the PIN as a credential instead"},
    {"pin-value", "a PIN never stands in a URI; store it as a credential, and change it if others could read this one"},
};

static int refuse_attribute(const char *name, size_t len, struct err **errp)
{
    err_set(errp, ERR_CONFIG, "the attribute '%.*s' is not accepted in a token's URI", (int)len, name);
    for (size_t i = 0; i < ARRAY_SIZE(misplaced); i++)
        if (strlen(misplaced[i].name) == len && strncmp(misplaced[i].name, name, len) == 0)
            return err_hint(errp, "%s", misplaced[i].hint);
    return err_hint(errp, "a token is named by token, serial, manufacturer and model, as in pkcs11:token=LABEL");
}

/* p11-kit lets unknown attributes pass and takes the last of repeated ones, so names are checked here. */
static int check_attribute(const char *part, size_t len, unsigned *seen, struct err **errp)
{
    const char *equals = memchr(part, '=', len);
    size_t name = equals ? (size_t)(equals - part) : len;

    for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
        if (strlen(attributes[i]) != name || strncmp(attributes[i], part, name) != 0)
            continue;
        if (*seen & 1u << i)
            return err_set(errp, ERR_CONFIG, "the attribute '%s' stands twice in a token's URI", attributes[i]);
        if (!equals || name + 1 == len)
            return err_set(errp, ERR_CONFIG, "the attribute '%s' has no value in a token's URI", attributes[i]);
        *seen |= 1u << i;
        return 0;
    }
    return refuse_attribute(part, name, errp);
}

static int check_text(const char *text, struct err **errp)
{
    static const char scheme[] = "pkcs11:";
    unsigned seen = 0;

    if (strlen(text) > MAX_URI)
        return err_set(errp, ERR_CONFIG, "a token's URI is longer than %d characters", MAX_URI);
    if (strncmp(text, scheme, strlen(scheme)) != 0) {
        err_set(errp, ERR_CONFIG, "a token's URI does not begin with 'pkcs11:'");
        return err_hint(errp, "write it as pkcs11:token=LABEL");
    }
    text += strlen(scheme);
    if (!*text) {
        err_set(errp, ERR_CONFIG, "'pkcs11:' alone means every token");
        return err_hint(errp, "name one, as in pkcs11:token=LABEL; 'p11-kit list-modules' shows the labels");
    }
    if (text[strcspn(text, " \t\r\n")]) {
        err_set(errp, ERR_CONFIG, "there is white space in a token's URI");
        return err_hint(errp, "write a space as %%20");
    }
    for (;;) {
        size_t len = strcspn(text, ";?");

        if (check_attribute(text, len, &seen, errp) < 0)
            return -1;
        if (!text[len])
            return 0;
        text += len + 1;
    }
}

int token_uri_parse(const char *text, struct token_uri **out, struct err **errp)
{
    CLEANUP(token_uri_freep) struct token_uri *uri = mem_alloc(sizeof(*uri));
    int r;

    if (check_text(text, errp) < 0)
        return -1;
    uri->p11 = p11_kit_uri_new();
    r = p11_kit_uri_parse(text, P11_KIT_URI_FOR_TOKEN, uri->p11);
    if (r != P11_KIT_URI_OK)
        return err_set(errp, ERR_CONFIG, "a token's URI cannot be read: %s", p11_kit_uri_message(r));
    if (p11_kit_uri_any_unrecognized(uri->p11))
        return err_set(errp, ERR_CONFIG, "a value in a token's URI is too long for any token");
    *out = TAKE(uri);
    return 0;
}

void token_uri_free(struct token_uri *uri)
{
    if (!uri)
        return;
    p11_kit_uri_free(uri->p11);
    free(uri);
}

int token_uri_check(const char *text, struct err **errp)
{
    CLEANUP(token_uri_freep) struct token_uri *uri = NULL;

    return token_uri_parse(text, &uri, errp);
}

bool token_uri_matches(const struct token_uri *uri, const CK_TOKEN_INFO *info)
{
    return p11_kit_uri_match_token_info(uri->p11, info) == 1;
}

static char *write_uri(P11KitUri *uri, P11KitUriType type)
{
    char *text = NULL;

    if (p11_kit_uri_format(uri, type, &text) != P11_KIT_URI_OK)
        abort(); /* out of memory: nothing else can fail */
    p11_kit_uri_free(uri);
    return text;
}

char *token_uri_write(const CK_TOKEN_INFO *info)
{
    P11KitUri *uri = p11_kit_uri_new();
    CK_TOKEN_INFO *to = p11_kit_uri_get_token_info(uri);

    memcpy(to->label, info->label, sizeof(to->label));
    memcpy(to->serialNumber, info->serialNumber, sizeof(to->serialNumber));
    memcpy(to->manufacturerID, info->manufacturerID, sizeof(to->manufacturerID));
    memcpy(to->model, info->model, sizeof(to->model));
    return write_uri(uri, P11_KIT_URI_FOR_TOKEN);
}

static char *write_object(const CK_TOKEN_INFO *info, CK_OBJECT_CLASS class, CK_ATTRIBUTE name)
{
    P11KitUri *uri = p11_kit_uri_new();
    CK_TOKEN_INFO *to = p11_kit_uri_get_token_info(uri);
    CK_ATTRIBUTE class_is = {CKA_CLASS, &class, sizeof(class)};

    memcpy(to->label, info->label, sizeof(to->label));
    if (p11_kit_uri_set_attribute(uri, &class_is) != P11_KIT_URI_OK ||
        p11_kit_uri_set_attribute(uri, &name) != P11_KIT_URI_OK)
        abort(); /* out of memory, as above */
    return write_uri(uri, P11_KIT_URI_FOR_OBJECT_ON_TOKEN);
}

char *token_uri_write_key(const CK_TOKEN_INFO *info, const struct bytes *id)
{
    return write_object(info, CKO_PRIVATE_KEY, (CK_ATTRIBUTE){CKA_ID, id->data, id->len});
}

char *token_uri_write_certificate(const CK_TOKEN_INFO *info, const struct bytes *id, const char *label)
{
    CLEANUP(mem_freep) char *copy = mem_strdup(label);
    CK_ATTRIBUTE by_label = {CKA_LABEL, copy, strlen(copy)};

    return write_object(info, CKO_CERTIFICATE, id->len ? (CK_ATTRIBUTE){CKA_ID, id->data, id->len} : by_label);
}
