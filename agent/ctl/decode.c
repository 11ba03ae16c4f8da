#include "agent/ctl/decode.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "agent/ctl/show_pki.h"
#include "agent/ctl/show_soap.h"

#define PEM_BEGIN      "-----BEGIN "
#define PEM_DASHES     "-----"
#define PEM_MAX_BLOCKS 256
#define DER_SEQUENCE   0x30

int decode_read(const char *path, struct bytes *out, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes content = {.limit = DECODE_MAX_FILE};
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    char buffer[65536];
    ssize_t n = 0;
    int r = 0;

    if (fd < 0)
        return err_set(errp, errno == ENOENT ? ERR_MISSING : ERR_STORE, "opening '%s': %m", path);
    while (r == 0 && (n = read(fd, buffer, sizeof(buffer))) != 0) {
        if (n > 0)
            r = bytes_append(&content, buffer, (size_t)n, errp);
        else if (errno != EINTR)
            r = err_set(errp, ERR_STORE, "%m");
    }
    close(fd);
    if (r < 0)
        return err_wrap(errp, "reading '%s'", path);
    bytes_clear(out);
    *out = content;
    content = (struct bytes){0};
    return 0;
}

/* One block of a PEM file, *@at being behind its "-----BEGIN "; moves *@at behind the block. 0 or -1. */
static int decode_pem_block(struct node *to, const char **at, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes der = {0};
    CLEANUP(mem_freep) char *label = NULL, *end_line = NULL;
    const char *base64 = strstr(*at, PEM_DASHES);
    const char *end;

    if (!base64 || memchr(*at, '\n', (size_t)(base64 - *at)))
        return err_set(errp, ERR_INVALID, "the BEGIN line does not end");
    label = mem_strndup(*at, (size_t)(base64 - *at));
    base64 += strlen(PEM_DASHES);
    end_line = mem_printf("-----END %s-----", label);
    end = strstr(base64, end_line);
    if (!end)
        return err_set(errp, ERR_INVALID, "it has no END line");
    *at = end + strlen(end_line);
    node_text(to, "label", label);
    if (strstr(label, "PRIVATE KEY"))
        return err_set(errp, ERR_INVALID, "a private key, which is never shown");
    if (bytes_from_base64(&der, base64, (size_t)(end - base64), DECODE_MAX_FILE, errp) < 0)
        return -1;
    return show_payload(to, &der, NULL, errp);
}

/* A file with several blocks gets a list. @text is 0-terminated. */
static int decode_pem(struct node *to, const struct bytes *input, struct err **errp)
{
    const char *at = strstr(bytes_text(input), PEM_BEGIN);
    struct node *list = strstr(at + 1, PEM_BEGIN) ? node_list(to, "blocks") : NULL;

    for (unsigned block = 1; at; block++) {
        if (block > PEM_MAX_BLOCKS)
            return err_set(errp, ERR_INVALID, "more than %d PEM blocks", PEM_MAX_BLOCKS);
        at += strlen(PEM_BEGIN);
        if (decode_pem_block(list ? node_group(list, NULL) : to, &at, errp) < 0)
            return err_wrap(errp, "PEM block %u", block);
        at = strstr(at, PEM_BEGIN);
    }
    return 0;
}

static int decode_der(struct node *to, const struct bytes *input, struct err **errp)
{
    return show_payload(to, input, NULL, errp);
}

static int decode_base64(struct node *to, const struct bytes *input, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes der = {0};

    if (bytes_from_base64(&der, bytes_text(input), input->len, DECODE_MAX_FILE, errp) < 0)
        return -1;
    return show_payload(to, &der, NULL, errp);
}

static bool is_xml(const struct bytes *input)
{
    return input->data[0] == '<';
}

static bool is_pem(const struct bytes *input)
{
    return strstr(bytes_text(input), PEM_BEGIN) != NULL;
}

static bool is_base64(const struct bytes *input)
{
    for (size_t i = 0; i < input->len; i++)
        if (!isalnum(input->data[i]) && !isspace(input->data[i]) && (!input->data[i] || !strchr("+/=", input->data[i])))
            return false;
    return true;
}

/* The tag of a SEQUENCE is also the digit 0. */
static bool is_der(const struct bytes *input)
{
    return input->data[0] == DER_SEQUENCE && !is_base64(input);
}

/* Where the text of @input begins: behind a byte order mark and white space. */
static size_t text_begin(const struct bytes *input)
{
    static const char bom[] = "\xef\xbb\xbf";
    size_t at = input->len >= strlen(bom) && memcmp(input->data, bom, strlen(bom)) == 0 ? strlen(bom) : 0;

    while (at < input->len && isspace(input->data[at]))
        at++;
    return at;
}

int decode(struct node *to, const struct bytes *input, struct err **errp)
{
    static const struct {
        const char *name;
        bool (*is)(const struct bytes *input);
        int (*decode)(struct node *to, const struct bytes *input, struct err **errp);
    } forms[] = {
        {"DER", is_der, decode_der},
        {"XML", is_xml, show_soap},
        {"PEM", is_pem, decode_pem},
        {"base64", is_base64, decode_base64},
    };
    CLEANUP(bytes_clear) struct bytes text = {0};

    if (text_begin(input) == input->len)
        return err_set(errp, ERR_INVALID, "nothing is in it");
    bytes_set(&text, input->data, input->len);
    if (!is_der(&text))
        bytes_set(&text, input->data + text_begin(input), input->len - text_begin(input));
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        if (!forms[i].is(&text))
            continue;
        node_text(to, "form", forms[i].name);
        return forms[i].decode(to, &text, errp);
    }
    err_set(
        errp, ERR_INVALID, "neither XML nor PEM nor base64 nor DER: it begins with the byte 0x%02x", input->data[0]);
    return err_hint(errp, "give the body of a message, without the lines of HTTP in front of it");
}
