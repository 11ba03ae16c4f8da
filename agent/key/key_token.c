#include "agent/key/key_token.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/x509.h>

#include "agent/key/key_new.h"
#include "agent/key/pss.h"
#include "agent/key/token_module.h"
#include "agent/key/token_public.h"
#include "agent/key/token_session.h"
#include "agent/key/token_uri.h"

#define MAX_SIGNATURE 1024 /* bytes of the largest RSA operation: RSA-8192 */
#define MAX_SAME_ID   64   /* objects under one id that we look at */

/* What stands behind the signer of a token key: where the key is, never an object handle. */
struct token_key {
    struct token *token; /* a reference */
    struct bytes id;
    unsigned bits;
};

static void token_key_free(void *handle)
{
    struct token_key *k = handle;

    token_close(k->token);
    bytes_clear(&k->id);
    free(k);
}

/* ---- finding ---- */

static CK_ATTRIBUTE attribute(CK_ATTRIBUTE_TYPE type, const void *value, size_t len)
{
    /* The member is not const, though it is only read where we give a value. */
    return (CK_ATTRIBUTE){type, (void *)(uintptr_t)value, len};
}

static int find_class(struct token_session *s, CK_OBJECT_CLASS class, const struct bytes *id, CK_OBJECT_HANDLE *handles,
    CK_ULONG max, struct err **errp)
{
    CK_ATTRIBUTE match[] = {attribute(CKA_CLASS, &class, sizeof(class)), attribute(CKA_ID, id->data, id->len)};

    return token_session_find(s, match, ARRAY_SIZE(match), handles, max, errp);
}

static int find_all(struct token_session *s, const struct bytes *id, CK_OBJECT_HANDLE *handles, struct err **errp)
{
    CK_ATTRIBUTE match[] = {attribute(CKA_ID, id->data, id->len)};

    return token_session_find(s, match, ARRAY_SIZE(match), handles, MAX_SAME_ID, errp);
}

static int find_private(struct token_session *s, const struct bytes *id, CK_OBJECT_HANDLE *handle, struct err **errp)
{
    CK_OBJECT_HANDLE handles[2];
    int n = find_class(s, CKO_PRIVATE_KEY, id, handles, ARRAY_SIZE(handles), errp);
    CLEANUP(mem_freep) char *hex = NULL;

    if (n < 0)
        return -1;
    hex = bytes_to_hex(id->data, id->len);
    if (n > 1)
        return err_set(errp, ERR_TOKEN, "two private keys have the id %s", hex);
    if (n == 0) {
        s->look_again = true;
        err_set(errp, ERR_MISSING, "the private key with the id %s is not in the token", hex);
        return err_hint(errp, "if it was deleted, enroll anew: a key cannot be brought back");
    }
    *handle = handles[0];
    return 0;
}

/* ---- signing ---- */

struct sign_job {
    const struct token_key *key;
    const struct signer_input *input;
    uint8_t *signature;
    size_t *len; /* room, then length */
};

static int sign_with(struct token_session *s, CK_OBJECT_HANDLE key, CK_MECHANISM *mechanism, const uint8_t *data,
    size_t len, const struct sign_job *job, struct err **errp)
{
    CK_ULONG out_len = *job->len;
    CLEANUP(mem_freep) uint8_t *copy = mem_dup(data, len ? len : 1); /* the module's parameter is not const */
    CK_RV rv = s->f->C_SignInit(s->handle, mechanism, key);

    if (rv != CKR_OK)
        return token_session_fail(s, "C_SignInit", rv, errp);
    rv = s->f->C_Sign(s->handle, copy, len, job->signature, &out_len);
    if (rv != CKR_OK)
        return token_session_fail(s, "C_Sign", rv, errp);
    *job->len = out_len;
    return 0;
}

static const struct {
    const char *name;
    CK_MECHANISM_TYPE hash;
    CK_RSA_PKCS_MGF_TYPE mgf;
} pss_hashes[] = {
    {"SHA1", CKM_SHA_1, CKG_MGF1_SHA1},
    {"SHA256", CKM_SHA256, CKG_MGF1_SHA256},
    {"SHA384", CKM_SHA384, CKG_MGF1_SHA384},
    {"SHA512", CKM_SHA512, CKG_MGF1_SHA512},
};

static bool fill_pss(const struct signer_input *input, CK_RSA_PKCS_PSS_PARAMS *params)
{
    *params = (CK_RSA_PKCS_PSS_PARAMS){.sLen = input->salt_len};
    for (size_t i = 0; i < ARRAY_SIZE(pss_hashes); i++) {
        if (EVP_MD_is_a(input->md, pss_hashes[i].name))
            params->hashAlg = pss_hashes[i].hash;
        if (EVP_MD_is_a(input->mgf1_md, pss_hashes[i].name))
            params->mgf = pss_hashes[i].mgf;
    }
    return params->hashAlg && params->mgf;
}

/* By the token's own PSS, or with our padding and its bare RSA. The list of mechanisms is not asked: it may lie. */
static int sign_pss(struct token_session *s, CK_OBJECT_HANDLE key, const struct sign_job *job, struct err **errp)
{
    CK_RSA_PKCS_PSS_PARAMS params;
    CK_MECHANISM native = {CKM_RSA_PKCS_PSS, &params, sizeof(params)};
    CK_MECHANISM bare = {CKM_RSA_X_509, NULL, 0};
    uint8_t block[MAX_SIGNATURE];
    unsigned bits = job->key->bits;

    if (fill_pss(job->input, &params)) {
        struct err *err = NULL;

        if (sign_with(s, key, &native, job->input->data, job->input->len, job, &err) == 0)
            return 0;
        if (s->rv != CKR_MECHANISM_INVALID && s->rv != CKR_MECHANISM_PARAM_INVALID) {
            if (errp && !*errp)
                *errp = TAKE(err);
            err_free(err);
            return -1;
        }
        err_free(err);
    }
    if (bits > 8 * sizeof(block))
        return err_set(errp, ERR_TOKEN, "an RSA key of %u bits is too large", bits);
    if (pss_encode(bits, job->input->md, job->input->mgf1_md, job->input->salt_len, job->input->data, block, errp) < 0)
        return -1;
    return sign_with(s, key, &bare, block, (bits + 7) / 8, job, errp);
}

static int sign_operation(struct token_session *s, void *arg, struct err **errp)
{
    const struct sign_job *job = arg;
    const struct signer_input *input = job->input;
    CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};
    CK_OBJECT_HANDLE key;

    if (find_private(s, &job->key->id, &key, errp) < 0)
        return -1;
    switch (input->scheme) {
    case SIGNER_RSA_PSS:
        return sign_pss(s, key, job, errp);
    case SIGNER_ECDSA:
        mechanism.mechanism = CKM_ECDSA;
        break;
    case SIGNER_RSA_PKCS1:
        break;
    }
    return sign_with(s, key, &mechanism, input->data, input->len, job, errp);
}

static int token_key_sign(
    void *handle, const struct signer_input *input, uint8_t *signature, size_t *len, struct err **errp)
{
    const struct token_key *k = handle;
    size_t room = *len;
    struct sign_job job = {k, input, signature, &room};

    if (token_run(k->token, TOKEN_READ, sign_operation, &job, errp) < 0)
        return err_wrap(errp, "signing");
    *len = room;
    return 0;
}

/* ---- opening ---- */

struct open_job {
    const struct bytes *id;
    struct token_public public;
};

static int open_operation(struct token_session *s, void *arg, struct err **errp)
{
    struct open_job *job = arg;
    CK_OBJECT_HANDLE private, public;
    int n;

    if (find_private(s, job->id, &private, errp) < 0)
        return -1;
    n = find_class(s, CKO_PUBLIC_KEY, job->id, &public, 1, errp);
    if (n < 0 || (n > 0 && token_public_read(s, public, &job->public, errp) < 0))
        return -1;
    if (job->public.found)
        return 0;
    return token_public_read(s, private, &job->public, errp); /* RSA has it all there, EC with some modules */
}

static int public_key(const struct open_job *job, const struct bytes *spki, EVP_PKEY **out, struct err **errp)
{
    const unsigned char *p = spki ? spki->data : NULL;
    EVP_PKEY *known = spki ? d2i_PUBKEY(NULL, &p, (long)spki->len) : NULL;
    EVP_PKEY *made = NULL;
    int r = 0;

    if (spki && !known)
        return err_set(errp, ERR_INVALID, "the recorded public key cannot be read");
    if (job->public.found)
        r = token_public_build(&job->public, &made, errp);
    else if (!known)
        r = err_set(errp, ERR_MISSING, "the token keeps no public key beside the private one");
    if (r == 0 && made && known && EVP_PKEY_eq(made, known) != 1)
        r = err_set(errp, ERR_INVALID, "the public key in the token is not the recorded one");
    if (r < 0) {
        EVP_PKEY_free(made);
        EVP_PKEY_free(known);
        return -1;
    }
    if (made)
        EVP_PKEY_free(known);
    *out = made ? made : known;
    return 0;
}

/* Takes @public. */
static int wrap_key(struct token *token, const struct bytes *id, EVP_PKEY *public, struct key **out, struct err **errp)
{
    struct token_key *k = mem_alloc(sizeof(*k));
    struct signer *signer;
    EVP_PKEY *evp = NULL;
    int r;

    k->token = token_ref(token);
    k->bits = (unsigned)EVP_PKEY_get_bits(public);
    bytes_copy(&k->id, id);
    signer = signer_new(k, token_key_sign, token_key_free);
    r = provider_key_new(public, signer, &evp, errp);
    EVP_PKEY_free(public);
    if (r < 0) {
        signer_unref(signer);
        return -1;
    }
    return key_new(evp, id, token_uri_write_key(token_raw_info(token), id), signer, out, errp);
}

int key_token_open(
    struct token *token, const struct bytes *id, const struct bytes *spki, struct key **out, struct err **errp)
{
    struct open_job job = {.id = id};
    EVP_PKEY *public = NULL;
    int r = token_run(token, TOKEN_READ, open_operation, &job, errp);

    if (r >= 0)
        r = public_key(&job, spki, &public, errp);
    token_public_clear(&job.public);
    if (r < 0)
        return err_wrap(errp, "opening a key");
    return wrap_key(token, id, public, out, errp);
}

/* ---- making ---- */

struct generate_job {
    const struct bytes *id;
    const char *label;
    enum key_kind kind;
    bool hardened;
};
enum { GENERATE_TEMPLATE_REFUSED = 1, GENERATE_EXISTS }; /* of generate_operation */

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

static bool is_about_template(CK_RV rv)
{
    return rv == CKR_GENERAL_ERROR || rv == CKR_ATTRIBUTE_VALUE_INVALID || rv == CKR_ATTRIBUTE_TYPE_INVALID ||
           rv == CKR_TEMPLATE_INCONSISTENT || rv == CKR_TEMPLATE_INCOMPLETE;
}

/* The curve's OID, or the exponent 65537 and the modulus's length. Returns how many attributes were added. */
static CK_ULONG add_kind(enum key_kind kind, const CK_ULONG *bits, CK_ATTRIBUTE *to)
{
    static const CK_BYTE exponent[] = {1, 0, 1};
    static const struct {
        const char *der;
        size_t len;
    } oids[] = {
#define X(id, name, algorithm, bits, curve, oid) [KEY_##id] = {oid, sizeof(oid) - 1},
        KEY_KINDS(X)
#undef X
    };

    if (key_kind_is_ec(kind)) {
        to[0] = attribute(CKA_EC_PARAMS, oids[kind].der, oids[kind].len);
        return 1;
    }
    to[0] = attribute(CKA_MODULUS_BITS, bits, sizeof(*bits));
    to[1] = attribute(CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent));
    return 2;
}

/*
 * SoftHSM makes keys that decrypt unless told otherwise. It is told afterwards, since tpm2-pkcs11 refuses the attribute
 * in the template, and a refused generation costs it two of its three object slots. A token that keeps its mind is no
 * worse.
 */
static void forbid_decryption(struct token_session *s, CK_OBJECT_HANDLE private)
{
    CK_BBOOL may = CK_FALSE;
    CK_ATTRIBUTE decrypt = {CKA_DECRYPT, &may, sizeof(may)};

    if (s->f->C_GetAttributeValue(s->handle, private, &decrypt, 1) != CKR_OK || !may)
        return;
    decrypt = attribute(CKA_DECRYPT, &no, sizeof(no));
    (void)s->f->C_SetAttributeValue(s->handle, private, &decrypt, 1);
}

#define N_HARDENED 3

static int generate_operation(struct token_session *s, void *arg, struct err **errp)
{
    const struct generate_job *job = arg;
    CK_ULONG bits = key_kind_bits(job->kind);
    CK_MECHANISM mechanism = {key_kind_is_ec(job->kind) ? CKM_EC_KEY_PAIR_GEN : CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_OBJECT_HANDLE handles[MAX_SAME_ID];
    CK_OBJECT_HANDLE public, private;
    CK_ATTRIBUTE public_is[7] = {
        attribute(CKA_TOKEN, &yes, sizeof(yes)),
        attribute(CKA_PRIVATE, &no, sizeof(no)),
        attribute(CKA_VERIFY, &yes, sizeof(yes)),
        attribute(CKA_ID, job->id->data, job->id->len),
        attribute(CKA_LABEL, job->label, strlen(job->label)),
    };
    CK_ATTRIBUTE private_is[] = {
        attribute(CKA_TOKEN, &yes, sizeof(yes)),
        attribute(CKA_PRIVATE, &yes, sizeof(yes)),
        attribute(CKA_SENSITIVE, &yes, sizeof(yes)),
        attribute(CKA_EXTRACTABLE, &no, sizeof(no)),
        attribute(CKA_SIGN, &yes, sizeof(yes)),
        attribute(CKA_ID, job->id->data, job->id->len),
        attribute(CKA_LABEL, job->label, strlen(job->label)),
        attribute(CKA_UNWRAP, &no, sizeof(no)), /* the last N_HARDENED: some modules do not want to hear of them */
        attribute(CKA_SIGN_RECOVER, &no, sizeof(no)),
        attribute(CKA_DERIVE, &no, sizeof(no)),
    };
    CK_ULONG n_private = ARRAY_SIZE(private_is) - (job->hardened ? 0 : N_HARDENED);
    int there = find_all(s, job->id, handles, errp);
    CK_RV rv;

    if (there != 0)
        return there < 0 ? -1 : GENERATE_EXISTS;
    rv = s->f->C_GenerateKeyPair(s->handle, &mechanism, public_is, 5 + add_kind(job->kind, &bits, public_is + 5),
        private_is, n_private, &public, &private);
    if (rv == CKR_OK) {
        forbid_decryption(s, private);
        return 0;
    }
    if (job->hardened && is_about_template(rv))
        return GENERATE_TEMPLATE_REFUSED;
    return token_session_fail(s, "C_GenerateKeyPair", rv, errp);
}

/* What a key must be that never leaves its token. */
static const struct {
    CK_ATTRIBUTE_TYPE type;
    const char *name;
    CK_BBOOL value;
} guarantees[] = {
    {CKA_SENSITIVE, "CKA_SENSITIVE", CK_TRUE},
    {CKA_ALWAYS_SENSITIVE, "CKA_ALWAYS_SENSITIVE", CK_TRUE},
    {CKA_EXTRACTABLE, "CKA_EXTRACTABLE", CK_FALSE},
    {CKA_NEVER_EXTRACTABLE, "CKA_NEVER_EXTRACTABLE", CK_TRUE},
    {CKA_LOCAL, "CKA_LOCAL", CK_TRUE},
};

/* The values that make a private key; which of them one has depends on its type. */
static const struct {
    CK_KEY_TYPE type;
    CK_ATTRIBUTE_TYPE value;
    const char *name;
} private_values[] = {
    {CKK_RSA, CKA_PRIVATE_EXPONENT, "CKA_PRIVATE_EXPONENT"},
    {CKK_RSA, CKA_PRIME_1, "CKA_PRIME_1"},
    {CKK_EC, CKA_VALUE, "CKA_VALUE"},
};

struct prove_job {
    const struct bytes *id;
    CK_KEY_TYPE type;
    struct bytes proof; /* text */
};

static int check_guarantees(struct token_session *s, CK_OBJECT_HANDLE key, struct bytes *proof, struct err **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(guarantees); i++) {
        CLEANUP(bytes_clear) struct bytes value = {0};
        int r = token_session_get(s, key, guarantees[i].type, &value, errp);

        if (r < 0)
            return -1;
        if (r > 0 || value.len != sizeof(CK_BBOOL) || !value.data[0] != !guarantees[i].value) {
            err_set(errp, ERR_TOKEN, "the token does not say that %s is %d", guarantees[i].name, guarantees[i].value);
            return err_hint(errp, "it does not promise to keep this key inside: use another token");
        }
        if (bytes_printf(proof, errp, "%s: %d\n", guarantees[i].name, guarantees[i].value) < 0)
            return -1;
    }
    return 0;
}

/* Asks for the value itself: the token has to refuse, and to give not even a length. */
static int try_to_read(struct token_session *s, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type, const char *name,
    struct bytes *proof, struct err **errp)
{
    uint8_t value[MAX_SIGNATURE];
    CK_ATTRIBUTE a = {type, value, sizeof(value)};
    CK_RV rv = s->f->C_GetAttributeValue(s->handle, key, &a, 1);
    CLEANUP(mem_freep) char *text = token_rv_text(rv);

    OPENSSL_cleanse(value, sizeof(value));
    if (rv != CKR_ATTRIBUTE_SENSITIVE && rv != CKR_ATTRIBUTE_TYPE_INVALID && rv != CKR_OK)
        return token_session_fail(s, "C_GetAttributeValue", rv, errp);
    if (rv == CKR_OK || a.ulValueLen != CK_UNAVAILABLE_INFORMATION) {
        err_set(errp, ERR_TOKEN, "the token gives %s away", name);
        return err_hint(errp, "this key can be copied: use another token");
    }
    return bytes_printf(proof, errp, "%s: not given, %s\n", name, text);
}

static int prove_operation(struct token_session *s, void *arg, struct err **errp)
{
    struct prove_job *job = arg;
    CK_OBJECT_HANDLE key;

    bytes_clear(&job->proof);
    if (find_private(s, job->id, &key, errp) < 0 || check_guarantees(s, key, &job->proof, errp) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(private_values); i++)
        if (private_values[i].type == job->type &&
            try_to_read(s, key, private_values[i].value, private_values[i].name, &job->proof, errp) < 0)
            return -1;
    return 0;
}

int key_token_prove_unextractable(struct key *key, char **proof, struct err **errp)
{
    const struct token_key *k = key_in_token(key) ? signer_handle(key_signer(key)) : NULL;
    struct prove_job job = {.id = key_id(key), .type = key_kind_is_ec(key_kind(key)) ? CKK_EC : CKK_RSA};
    int r;

    if (!k)
        return err_set(errp, ERR_TOKEN, "the key %s is in a file", key_uri(key));
    r = token_run(k->token, TOKEN_READ, prove_operation, &job, errp);
    if (r >= 0 && proof)
        *proof = mem_strdup(bytes_text(&job.proof));
    bytes_clear(&job.proof);
    return r < 0 ? err_wrap(errp, "checking that %s cannot be read", key_uri(key)) : 0;
}

/* A pair is good when the token promises to keep it and a signature of it holds. */
static int check_pair(struct key *key, enum key_kind kind, struct err **errp)
{
    if (key_kind(key) != kind)
        return err_set(errp, ERR_INVALID, "the token made a key of kind %s", key_kind_name(key_kind(key)));
    if (key_token_prove_unextractable(key, NULL, errp) < 0)
        return -1;
    return key_self_check(key, errp);
}

static int generate_pair(struct token *token, struct generate_job *job, struct err **errp)
{
    int r = token_run(token, TOKEN_WRITE, generate_operation, job, errp);

    if (r == GENERATE_TEMPLATE_REFUSED) {
        job->hardened = false; /* in a login of its own: a TPM has no room left in this one */
        r = token_run(token, TOKEN_WRITE, generate_operation, job, errp);
    }
    return r;
}

/* What a failure left. It says so when that stays, too. */
static int undo_generate(struct token *token, const struct bytes *id, struct err **errp)
{
    CLEANUP(err_freep) struct err *left = NULL;

    if (key_token_destroy(token, id, &left) < 0)
        err_wrap(errp, "(what was made of it could not be destroyed: %s)", err_text(left));
    return -1;
}

int key_token_generate(struct token *token, const struct bytes *id, const char *label, enum key_kind kind,
    struct key **out, struct err **errp)
{
    struct generate_job job = {.id = id, .label = label, .kind = kind, .hardened = true};
    CLEANUP(key_freep) struct key *key = NULL;
    int r = generate_pair(token, &job, errp);

    if (r == GENERATE_EXISTS)
        return err_set(errp, ERR_TOKEN, "making a key: there is one with this id already");
    if (r < 0) {
        err_wrap(errp, "making a key of kind %s", key_kind_name(kind));
        return undo_generate(token, id, errp);
    }
    if (key_token_open(token, id, NULL, &key, errp) == 0 && check_pair(key, kind, errp) == 0) {
        *out = TAKE(key);
        return 0;
    }
    err_hint(errp,
        "choose another key kind in the template, or another token: this one does not make usable keys of "
        "kind %s",
        key_kind_name(kind));
    err_wrap(errp, "the new key of kind %s is not usable", key_kind_name(kind));
    return undo_generate(token, id, errp);
}

int key_token_open_or_generate(struct token *token, const struct bytes *id, const char *label, enum key_kind kind,
    struct key **out, struct err **errp)
{
    CLEANUP(key_listings_clear) struct key_listings there = {0};
    CLEANUP(key_freep) struct key *key = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    if (key_token_list(token, id, &there, errp) < 0)
        return -1;
    if (there.n == 0)
        return key_token_generate(token, id, label, kind, out, errp);
    if (key_token_open(token, id, NULL, &key, &err) == 0 && check_pair(key, kind, &err) == 0) {
        *out = TAKE(key);
        return 0;
    }
    /* A whole pair goes only for what it is, never because the token was out of reach when we asked. */
    if (err_kind(err) != ERR_MISSING && err_kind(err) != ERR_INVALID) {
        if (errp && !*errp)
            *errp = TAKE(err);
        return -1;
    }
    if (key_token_destroy(token, id, errp) < 0)
        return -1;
    return key_token_generate(token, id, label, kind, out, errp);
}

/* ---- objects ---- */

static int destroy_operation(struct token_session *s, void *arg, struct err **errp)
{
    CK_OBJECT_HANDLE handles[MAX_SAME_ID];
    int n = find_all(s, arg, handles, errp);

    for (int i = 0; i < n; i++) {
        CK_RV rv = s->f->C_DestroyObject(s->handle, handles[i]);

        if (rv != CKR_OK && rv != CKR_OBJECT_HANDLE_INVALID) /* the second: another process was faster */
            return token_session_fail(s, "C_DestroyObject", rv, errp);
    }
    return n < 0 ? -1 : 0;
}

int key_token_destroy(struct token *token, const struct bytes *id, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes copy = {0};

    bytes_copy(&copy, id);
    if (id->len == 0)
        return err_set(errp, ERR_INTERNAL, "destroying keys without an id");
    return token_run(token, TOKEN_WRITE, destroy_operation, &copy, errp) < 0 ? err_wrap(errp, "destroying a key") : 0;
}

struct relabel_job {
    const struct bytes *id;
    const char *label;
};

static int relabel_operation(struct token_session *s, void *arg, struct err **errp)
{
    const struct relabel_job *job = arg;
    CK_OBJECT_HANDLE handles[MAX_SAME_ID];
    int n = find_all(s, job->id, handles, errp);

    if (n == 0) {
        s->look_again = true;
        return err_set(errp, ERR_MISSING, "nothing in the token has this id");
    }
    for (int i = 0; i < n; i++) {
        CK_ATTRIBUTE label = attribute(CKA_LABEL, job->label, strlen(job->label));
        CK_RV rv = s->f->C_SetAttributeValue(s->handle, handles[i], &label, 1);

        if (rv != CKR_OK)
            return token_session_fail(s, "C_SetAttributeValue", rv, errp);
    }
    return n < 0 ? -1 : 0;
}

int key_token_relabel(struct token *token, const struct bytes *id, const char *label, struct err **errp)
{
    struct relabel_job job = {id, label};

    if (token_run(token, TOKEN_WRITE, relabel_operation, &job, errp) < 0)
        return err_wrap(errp, "naming a key '%s'", label);
    return 0;
}

void key_listings_clear(struct key_listings *list)
{
    for (size_t i = 0; i < list->n; i++) {
        bytes_clear(&list->items[i].id);
        free(list->items[i].label);
    }
    free(list->items);
    *list = (struct key_listings){0};
}

struct list_job {
    const struct bytes *prefix; /* NULL: all */
    struct key_listings list;
};

static struct key_listing *listing_of(struct key_listings *list, const struct bytes *id)
{
    struct key_listing *item;

    for (size_t i = 0; i < list->n; i++)
        if (bytes_equal(&list->items[i].id, id))
            return &list->items[i];
    item = MEM_APPEND(list->items, list->n);
    bytes_copy(&item->id, id);
    return item;
}

static void note_label(struct key_listing *item, const struct bytes *label, bool better)
{
    if (item->label && !better)
        return;
    free(item->label);
    item->label = mem_strndup(bytes_text(label), label->len);
}

static int list_object(
    struct token_session *s, CK_OBJECT_CLASS class, CK_OBJECT_HANDLE object, struct list_job *job, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes id = {0};
    CLEANUP(bytes_clear) struct bytes label = {0};
    size_t prefix = job->prefix ? job->prefix->len : 0;
    struct key_listing *item;

    if (token_session_get(s, object, CKA_ID, &id, errp) < 0 ||
        token_session_get(s, object, CKA_LABEL, &label, errp) < 0)
        return -1;
    if (id.len == 0 || id.len < prefix || (prefix && memcmp(id.data, job->prefix->data, prefix) != 0))
        return 0;
    item = listing_of(&job->list, &id);
    note_label(item, &label, class == CKO_PRIVATE_KEY);
    item->has_private |= class == CKO_PRIVATE_KEY;
    item->has_public |= class == CKO_PUBLIC_KEY;
    item->has_certificate |= class == CKO_CERTIFICATE;
    return 0;
}

static int list_operation(struct token_session *s, void *arg, struct err **errp)
{
    static const CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_CERTIFICATE};
    CLEANUP(mem_freep) CK_OBJECT_HANDLE *handles = mem_calloc(TOKEN_MAX_OBJECTS, sizeof(*handles));
    struct list_job *job = arg;

    key_listings_clear(&job->list);
    for (size_t c = 0; c < ARRAY_SIZE(classes); c++) {
        CK_ATTRIBUTE match = attribute(CKA_CLASS, &classes[c], sizeof(classes[c]));
        int n = token_session_find(s, &match, 1, handles, TOKEN_MAX_OBJECTS, errp);

        if (n < 0)
            return -1;
        for (int i = 0; i < n; i++)
            if (list_object(s, classes[c], handles[i], job, errp) < 0)
                return -1;
    }
    return 0;
}

int key_token_list(struct token *token, const struct bytes *prefix, struct key_listings *out, struct err **errp)
{
    struct list_job job = {.prefix = prefix};

    if (token_run(token, TOKEN_READ, list_operation, &job, errp) < 0) {
        key_listings_clear(&job.list);
        return err_wrap(errp, "listing keys");
    }
    *out = job.list;
    return 0;
}

static bool is_known(const struct bytes *id, const struct bytes *known, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes_equal(id, &known[i]))
            return true;
    return false;
}

int key_token_sweep(struct token *token, const uint8_t tag[KEY_TAG_LEN], const struct bytes *known, size_t n_known,
    size_t *removed, struct err **errp)
{
    CLEANUP(key_listings_clear) struct key_listings list = {0};
    size_t n = 0;

    if (key_token_list(token, NULL, &list, errp) < 0)
        return -1;
    for (size_t i = 0; i < list.n; i++) {
        const struct bytes *id = &list.items[i].id;

        if (!key_id_is_ours(id, tag) || is_known(id, known, n_known))
            continue;
        if (key_token_destroy(token, id, errp) < 0)
            return err_wrap(errp, "removing keys without a record");
        n++;
    }
    if (removed)
        *removed = n;
    return 0;
}

/* ---- certificates ---- */

struct certificate_job {
    const struct bytes *id;
    const char *label;
    const struct bytes *der;
    struct bytes subject; /* DER, as is the rest */
    struct bytes issuer;
    struct bytes serial;
};

static int certificate_operation(struct token_session *s, void *arg, struct err **errp)
{
    static const CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    static const CK_CERTIFICATE_TYPE type = CKC_X_509;
    const struct certificate_job *job = arg;
    CK_ATTRIBUTE is[] = {
        attribute(CKA_CLASS, &class, sizeof(class)),
        attribute(CKA_CERTIFICATE_TYPE, &type, sizeof(type)),
        attribute(CKA_TOKEN, &yes, sizeof(yes)),
        attribute(CKA_PRIVATE, &no, sizeof(no)),
        attribute(CKA_LABEL, job->label, strlen(job->label)),
        attribute(CKA_ID, job->id->data, job->id->len),
        attribute(CKA_SUBJECT, job->subject.data, job->subject.len),
        attribute(CKA_ISSUER, job->issuer.data, job->issuer.len),
        attribute(CKA_SERIAL_NUMBER, job->serial.data, job->serial.len),
        attribute(CKA_VALUE, job->der->data, job->der->len),
    };
    CK_OBJECT_HANDLE older[MAX_SAME_ID], made;
    int n = find_class(s, CKO_CERTIFICATE, job->id, older, MAX_SAME_ID, errp);
    CK_RV rv;

    if (n < 0)
        return -1;
    rv = s->f->C_CreateObject(s->handle, is, ARRAY_SIZE(is), &made);
    if (rv != CKR_OK)
        return token_session_fail(s, "C_CreateObject", rv, errp);
    for (int i = 0; i < n; i++) {
        rv = s->f->C_DestroyObject(s->handle, older[i]);
        if (rv != CKR_OK && rv != CKR_OBJECT_HANDLE_INVALID)
            return token_session_fail(s, "C_DestroyObject", rv, errp);
    }
    return 0;
}

/* Memory of OpenSSL. */
static void take_der(struct bytes *to, unsigned char **der, int len)
{
    if (len > 0)
        bytes_set(to, *der, (size_t)len);
    OPENSSL_free(*der);
}

static int certificate_facts(struct certificate_job *job, struct err **errp)
{
    const unsigned char *p = job->der->data;
    X509 *x = d2i_X509(NULL, &p, (long)job->der->len);
    unsigned char *subject = NULL, *issuer = NULL, *serial = NULL;

    if (!x || p != job->der->data + job->der->len) {
        X509_free(x);
        return err_set(errp, ERR_INVALID, "this is not one certificate");
    }
    take_der(&job->subject, &subject, i2d_X509_NAME(X509_get_subject_name(x), &subject));
    take_der(&job->issuer, &issuer, i2d_X509_NAME(X509_get_issuer_name(x), &issuer));
    take_der(&job->serial, &serial, i2d_ASN1_INTEGER(X509_get0_serialNumber(x), &serial));
    X509_free(x);
    return 0;
}

int key_token_put_certificate(
    struct token *token, const struct bytes *id, const char *label, const struct bytes *cert, struct err **errp)
{
    struct certificate_job job = {.id = id, .label = label, .der = cert};
    int r = certificate_facts(&job, errp);

    if (r == 0)
        r = token_run(token, TOKEN_WRITE, certificate_operation, &job, errp);
    bytes_clear(&job.subject);
    bytes_clear(&job.issuer);
    bytes_clear(&job.serial);
    return r < 0 ? err_wrap(errp, "putting the certificate '%s' into the token", label) : 0;
}
