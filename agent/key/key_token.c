#include "agent/key/key_token.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/x509.h>

#include "agent/key/key_new.h"
#include "agent/key/pss.h"
#include "agent/key/token_find.h"
#include "agent/key/token_module.h"
#include "agent/key/token_public.h"
#include "agent/key/token_session.h"
#include "agent/key/token_uri.h"

#define MAX_SIGNATURE 1024 /* bytes of the largest RSA operation: RSA-8192 */

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

    if (token_find_private(s, &job->key->id, &key, errp) < 0)
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

struct open_job {
    const struct bytes *id;
    struct token_public public;
};

static int open_operation(struct token_session *s, void *arg, struct err **errp)
{
    struct open_job *job = arg;
    CK_OBJECT_HANDLE private, public;
    int n;

    if (token_find_private(s, job->id, &private, errp) < 0)
        return -1;
    if (token_public_read(s, private, &job->public, errp) < 0) /* RSA has it all there, EC with some modules */
        return -1;
    if (job->public.found)
        return 0;
    n = token_find_class(s, CKO_PUBLIC_KEY, job->id, &public, 1, errp);
    return n > 0 ? token_public_read(s, public, &job->public, errp) : n;
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
    bool ec;
    CK_ATTRIBUTE_TYPE value;
    const char *name;
} private_values[] = {
    {false, CKA_PRIVATE_EXPONENT, "CKA_PRIVATE_EXPONENT"},
    {false, CKA_PRIME_1, "CKA_PRIME_1"},
    {true, CKA_VALUE, "CKA_VALUE"},
};

static int check_guarantees(struct token_session *s, CK_OBJECT_HANDLE key, struct bytes *proof, struct err **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(guarantees); i++) {
        CLEANUP(bytes_clear) struct bytes value = {0};
        int r = token_session_get(s, key, guarantees[i].type, &value, errp);

        if (r < 0)
            return -1;
        if (r > 0 || value.len != sizeof(CK_BBOOL) || !value.data[0] != !guarantees[i].value) {
            err_set(errp, ERR_INVALID, "the token does not say that %s is %d", guarantees[i].name, guarantees[i].value);
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
        err_set(errp, ERR_INVALID, "the token gives %s away", name);
        return err_hint(errp, "this key can be copied: use another token");
    }
    return bytes_printf(proof, errp, "%s: not given, %s\n", name, text);
}

/* @proof, text, is overwritten. */
static int prove_key(struct token_session *s, CK_OBJECT_HANDLE key, bool ec, struct bytes *proof, struct err **errp)
{
    bytes_clear(proof);
    if (check_guarantees(s, key, proof, errp) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(private_values); i++)
        if (private_values[i].ec == ec &&
            try_to_read(s, key, private_values[i].value, private_values[i].name, proof, errp) < 0)
            return -1;
    return 0;
}

struct prove_job {
    const struct bytes *id;
    bool ec;
    struct bytes proof;
};

static int prove_operation(struct token_session *s, void *arg, struct err **errp)
{
    struct prove_job *job = arg;
    CK_OBJECT_HANDLE key;

    if (token_find_private(s, job->id, &key, errp) < 0)
        return -1;
    return prove_key(s, key, job->ec, &job->proof, errp);
}

int key_token_prove_unextractable(struct key *key, char **proof, struct err **errp)
{
    const struct token_key *k = key_in_token(key) ? signer_handle(key_signer(key)) : NULL;
    struct prove_job job = {.id = key_id(key), .ec = key_kind_is_ec(key_kind(key))};
    int r;

    if (!k)
        return err_set(errp, ERR_TOKEN, "the key %s is in a file", key_uri(key));
    r = token_run(k->token, TOKEN_READ, prove_operation, &job, errp);
    if (r >= 0 && proof)
        *proof = mem_strdup(bytes_text(&job.proof));
    bytes_clear(&job.proof);
    return r < 0 ? err_wrap(errp, "checking that %s cannot be read", key_uri(key)) : 0;
}

struct generate_job {
    const struct bytes *id;
    const char *label;
    enum key_kind kind;
    bool hardened;
    bool begun; /* what has this id is of this job */
    struct token_public public;
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
        to[0] = token_attribute(CKA_EC_PARAMS, oids[kind].der, oids[kind].len);
        return 1;
    }
    to[0] = token_attribute(CKA_MODULUS_BITS, bits, sizeof(*bits));
    to[1] = token_attribute(CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent));
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
    decrypt = token_attribute(CKA_DECRYPT, &no, sizeof(no));
    (void)s->f->C_SetAttributeValue(s->handle, private, &decrypt, 1);
}

#define N_HARDENED 3

/* Returns the answer of C_GenerateKeyPair. */
static CK_RV make_pair(
    struct token_session *s, const struct generate_job *job, CK_OBJECT_HANDLE *public, CK_OBJECT_HANDLE *private)
{
    CK_ULONG bits = key_kind_bits(job->kind);
    CK_MECHANISM mechanism = {key_kind_is_ec(job->kind) ? CKM_EC_KEY_PAIR_GEN : CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE public_is[7] = {
        token_attribute(CKA_TOKEN, &yes, sizeof(yes)),
        token_attribute(CKA_PRIVATE, &no, sizeof(no)),
        token_attribute(CKA_VERIFY, &yes, sizeof(yes)),
        token_attribute(CKA_ID, job->id->data, job->id->len),
        token_attribute(CKA_LABEL, job->label, strlen(job->label)),
    };
    CK_ATTRIBUTE private_is[] = {
        token_attribute(CKA_TOKEN, &yes, sizeof(yes)),
        token_attribute(CKA_PRIVATE, &yes, sizeof(yes)),
        token_attribute(CKA_SENSITIVE, &yes, sizeof(yes)),
        token_attribute(CKA_EXTRACTABLE, &no, sizeof(no)),
        token_attribute(CKA_SIGN, &yes, sizeof(yes)),
        token_attribute(CKA_ID, job->id->data, job->id->len),
        token_attribute(CKA_LABEL, job->label, strlen(job->label)),
        token_attribute(
            CKA_UNWRAP, &no, sizeof(no)), /* the last N_HARDENED: some modules do not want to hear of them */
        token_attribute(CKA_SIGN_RECOVER, &no, sizeof(no)),
        token_attribute(CKA_DERIVE, &no, sizeof(no)),
    };
    CK_ULONG n_public = 5 + add_kind(job->kind, &bits, public_is + 5);
    CK_ULONG n_private = ARRAY_SIZE(private_is) - (job->hardened ? 0 : N_HARDENED);

    return s->f->C_GenerateKeyPair(s->handle, &mechanism, public_is, n_public, private_is, n_private, public, private);
}

/* Everything that needs the new objects, in one login: looking for them again costs SoftHSM a walk through all its
 * files. */
static int generate_operation(struct token_session *s, void *arg, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes proof = {0};
    struct generate_job *job = arg;
    CK_OBJECT_HANDLE handles[TOKEN_MAX_SAME_ID], public, private;
    int there = token_find_id(s, job->id, handles, errp);
    CK_RV rv;

    if (there > 0 && !job->begun)
        return GENERATE_EXISTS;
    for (int i = 0; i < there; i++) /* of the same job, before the session was lost */
        (void)s->f->C_DestroyObject(s->handle, handles[i]);
    if (there < 0)
        return -1;
    job->begun = true;
    rv = make_pair(s, job, &public, &private);
    if (rv != CKR_OK && job->hardened && is_about_template(rv))
        return GENERATE_TEMPLATE_REFUSED;
    if (rv != CKR_OK)
        return token_session_fail(s, "C_GenerateKeyPair", rv, errp);
    forbid_decryption(s, private);
    if (prove_key(s, private, key_kind_is_ec(job->kind), &proof, errp) < 0)
        return -1;
    return token_public_read(s, public, &job->public, errp);
}

/* What a failure left. It says so when that stays, too. */
static int undo_generate(struct token *token, const struct bytes *id, struct err **errp)
{
    CLEANUP(err_freep) struct err *left = NULL;

    if (key_token_destroy(token, id, &left) < 0)
        err_wrap(errp, "(what was made of it could not be destroyed: %s)", err_text(left));
    return -1;
}

/* The pair that lies in the token becomes a key, when a signature of it holds. */
static int finish_generate(struct token *token, const struct generate_job *job, struct key **out, struct err **errp)
{
    CLEANUP(key_freep) struct key *key = NULL;
    EVP_PKEY *public = NULL;

    if (!job->public.found)
        return err_set(errp, ERR_TOKEN, "the token does not show the public key");
    if (token_public_build(&job->public, &public, errp) < 0 || wrap_key(token, job->id, public, &key, errp) < 0)
        return -1;
    if (key_kind(key) != job->kind)
        return err_set(errp, ERR_TOKEN, "the token made a key of kind %s", key_kind_name(key_kind(key)));
    if (key_self_check(key, errp) < 0)
        return -1;
    *out = TAKE(key);
    return 0;
}

/* As key_token_generate, or GENERATE_EXISTS. */
static int generate(struct token *token, struct generate_job *job, struct key **out, struct err **errp)
{
    int r = token_run(token, TOKEN_WRITE, generate_operation, job, errp);

    if (r == GENERATE_TEMPLATE_REFUSED) {
        job->hardened = false; /* in a login of its own: a TPM has no room left in this one */
        r = token_run(token, TOKEN_WRITE, generate_operation, job, errp);
    }
    if (r == 0 && finish_generate(token, job, out, errp) < 0) {
        err_hint(errp,
            "choose another key kind in the template, or another token: this one does not make usable keys "
            "of kind %s",
            key_kind_name(job->kind));
        err_wrap(errp, "the new key is not usable");
        r = -1;
    }
    token_public_clear(&job->public);
    if (r >= 0)
        return r;
    err_wrap(errp, "making a key of kind %s", key_kind_name(job->kind));
    return job->begun ? undo_generate(token, job->id, errp) : -1;
}

int key_token_generate(struct token *token, const struct bytes *id, const char *label, enum key_kind kind,
    struct key **out, struct err **errp)
{
    struct generate_job job = {.id = id, .label = label, .kind = kind, .hardened = true};
    int r = generate(token, &job, out, errp);

    if (r == GENERATE_EXISTS)
        return err_set(errp, ERR_TOKEN, "making a key: there is one with this id already");
    return r;
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

int key_token_open_or_generate(struct token *token, const struct bytes *id, const char *label, enum key_kind kind,
    struct key **out, struct err **errp)
{
    struct generate_job job = {.id = id, .label = label, .kind = kind, .hardened = true};
    CLEANUP(key_freep) struct key *key = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    int r = generate(token, &job, out, errp);

    if (r != GENERATE_EXISTS)
        return r;
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
