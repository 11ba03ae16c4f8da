#include "agent/key/provider.h"

#include <pthread.h>
#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include "agent/key/provider_sign.h"

#define NAME       "autoenroll"
#define PROPERTIES "provider=" NAME
#define PARAM_KEY  "autoenroll-key" /* octet string: a struct key_data, in this process only */

static void *rsa_new(void *provider)
{
    struct key_data *key = mem_alloc(sizeof(*key));

    (void)provider;
    key->algorithm = "RSA";
    return key;
}

static void *ec_new(void *provider)
{
    struct key_data *key = rsa_new(provider);

    key->algorithm = "EC";
    return key;
}

static void key_data_free(void *data)
{
    struct key_data *key = data;

    if (!key)
        return;
    EVP_PKEY_free(key->public);
    signer_unref(key->signer);
    free(key);
}

static int key_data_has(const void *data, int selection)
{
    const struct key_data *key = data;

    if (!key->public)
        return 0;
    return !(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) || key->signer;
}

static int key_data_match(const void *data1, const void *data2, int selection)
{
    const struct key_data *a = data1, *b = data2;

    if (!a->public || !b->public)
        return 0;
    if (selection & OSSL_KEYMGMT_SELECT_KEYPAIR)
        return EVP_PKEY_eq(a->public, b->public) == 1;
    return EVP_PKEY_parameters_eq(a->public, b->public) == 1;
}

/* Either a key of ours, or the public half of somebody's, which OpenSSL wants to compare with ours. */
static int key_data_import(void *data, int selection, const OSSL_PARAM params[])
{
    struct key_data *key = data;
    const OSSL_PARAM *ours = OSSL_PARAM_locate_const(params, PARAM_KEY);
    EVP_PKEY_CTX *ctx;
    bool ok;

    if (ours) {
        const struct key_data *from = ours->data;

        if (ours->data_type != OSSL_PARAM_OCTET_STRING || ours->data_size != sizeof(*from) ||
            EVP_PKEY_up_ref(from->public) != 1)
            return 0;
        key->public = from->public;
        key->signer = signer_ref(from->signer);
        return 1;
    }
    if (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY && !(selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY))
        return 0;
    ctx = EVP_PKEY_CTX_new_from_name(NULL, key->algorithm, NULL);
    /* A copy of the array is not needed: OpenSSL reads it only, though its parameter is not const. */
    ok = ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
         EVP_PKEY_fromdata(ctx, &key->public, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)(uintptr_t)params) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* Refusing the private half is what makes OpenSSL sign through us, and not copy the key into another provider. */
static int key_data_export(void *data, int selection, OSSL_CALLBACK *callback, void *arg)
{
    struct key_data *key = data;
    OSSL_PARAM *params = NULL;
    int r;

    if (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY || !key->public)
        return 0;
    if (EVP_PKEY_todata(key->public, EVP_PKEY_PUBLIC_KEY, &params) != 1)
        return 0;
    r = callback(params, arg);
    OSSL_PARAM_free(params);
    return r;
}

static int key_data_get_params(void *data, OSSL_PARAM params[])
{
    struct key_data *key = data;

    return key->public && EVP_PKEY_get_params(key->public, params) == 1;
}

static const OSSL_PARAM rsa_public_params[] = {
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
    OSSL_PARAM_END,
};
static const OSSL_PARAM ec_public_params[] = {
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
    OSSL_PARAM_END,
};

/* What may be asked beyond the public values themselves; the software key answers. */
#define COMMON_PARAMS                                                                                                  \
    OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL), OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),                   \
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),                                                                \
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0)

static const OSSL_PARAM rsa_readable_params[] = {
    COMMON_PARAMS,
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
    OSSL_PARAM_END,
};
static const OSSL_PARAM ec_readable_params[] = {
    COMMON_PARAMS,
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
    OSSL_PARAM_END,
};

static const OSSL_PARAM *rsa_types(int selection)
{
    return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? NULL : rsa_public_params;
}

static const OSSL_PARAM *ec_types(int selection)
{
    return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? NULL : ec_public_params;
}

static const OSSL_PARAM *rsa_readable(void *provider)
{
    (void)provider;
    return rsa_readable_params;
}

static const OSSL_PARAM *ec_readable(void *provider)
{
    (void)provider;
    return ec_readable_params;
}

static const char *rsa_operation(int operation)
{
    (void)operation;
    return "RSA";
}

static const char *ec_operation(int operation)
{
    (void)operation;
    return "ECDSA";
}

#define KEY_TABLE(kind)                                                                                                \
    {                                                                                                                  \
        {OSSL_FUNC_KEYMGMT_NEW, FN(kind##_new)}, {OSSL_FUNC_KEYMGMT_FREE, FN(key_data_free)},                          \
            {OSSL_FUNC_KEYMGMT_HAS, FN(key_data_has)}, {OSSL_FUNC_KEYMGMT_MATCH, FN(key_data_match)},                  \
            {OSSL_FUNC_KEYMGMT_IMPORT, FN(key_data_import)}, {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, FN(kind##_types)},       \
            {OSSL_FUNC_KEYMGMT_EXPORT, FN(key_data_export)}, {OSSL_FUNC_KEYMGMT_EXPORT_TYPES, FN(kind##_types)},       \
            {OSSL_FUNC_KEYMGMT_GET_PARAMS, FN(key_data_get_params)},                                                   \
            {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, FN(kind##_readable)},                                                  \
            {OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, FN(kind##_operation)},                                            \
        {                                                                                                              \
            0, NULL                                                                                                    \
        }                                                                                                              \
    }

static const OSSL_DISPATCH rsa_table[] = KEY_TABLE(rsa);
static const OSSL_DISPATCH ec_table[] = KEY_TABLE(ec);

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
    static const OSSL_ALGORITHM keys[] = {
        /* libssl looks keys up by these names */
        {"RSA:rsaEncryption:1.2.840.113549.1.1.1", PROPERTIES, rsa_table, "RSA keys in tokens"},
        {"EC:id-ecPublicKey:1.2.840.10045.2.1", PROPERTIES, ec_table, "EC keys in tokens"},
        {NULL, NULL, NULL, NULL},
    };
    static const OSSL_ALGORITHM signatures[] = {
        {"RSA:rsaEncryption:1.2.840.113549.1.1.1", PROPERTIES, provider_sign_table, "RSA signatures of tokens"},
        {"ECDSA", PROPERTIES, provider_sign_table, "ECDSA signatures of tokens"},
        {NULL, NULL, NULL, NULL},
    };

    (void)provider;
    *no_cache = 0;
    return operation == OSSL_OP_KEYMGMT ? keys : operation == OSSL_OP_SIGNATURE ? signatures : NULL;
}

static int provider_init(
    const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **context)
{
    static const OSSL_DISPATCH table[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, FN(query)},
        {0, NULL},
    };
    static int nothing; /* a context that is not NULL */

    (void)handle;
    (void)in;
    *out = table;
    *context = &nothing;
    return 1;
}

/*
 * A context of our own: modules such as SoftHSM and tpm2-pkcs11 use the default one in this process. It is made once
 * and never freed, because keys may be freed as late as in a destructor. "default" gives it the encoders of public
 * keys.
 */
static OSSL_LIB_CTX *context;
static pthread_once_t context_once = PTHREAD_ONCE_INIT;

static void make_context(void)
{
    OSSL_LIB_CTX *made = OSSL_LIB_CTX_new();

    if (made && OSSL_PROVIDER_add_builtin(made, NAME, provider_init) == 1 && OSSL_PROVIDER_load(made, "default") &&
        OSSL_PROVIDER_load(made, NAME))
        context = made;
    else
        OSSL_LIB_CTX_free(made);
}

int provider_key_new(EVP_PKEY *public, struct signer *signer, EVP_PKEY **out, struct err **errp)
{
    struct key_data from = {.public = public, .signer = signer};
    OSSL_PARAM params[] = {OSSL_PARAM_octet_string(PARAM_KEY, &from, sizeof(from)), OSSL_PARAM_END};
    EVP_PKEY *made = NULL;
    EVP_PKEY_CTX *ctx;
    bool ok;

    (void)pthread_once(&context_once, make_context);
    if (!context)
        return err_set(errp, ERR_INTERNAL, "OpenSSL does not load our provider");
    ctx = EVP_PKEY_CTX_new_from_name(context, EVP_PKEY_is_a(public, "EC") ? "EC" : "RSA", PROPERTIES);
    ok = ctx && EVP_PKEY_fromdata_init(ctx) == 1 && EVP_PKEY_fromdata(ctx, &made, EVP_PKEY_KEYPAIR, params) == 1;
    EVP_PKEY_CTX_free(ctx);
    if (!ok)
        return err_set(
            errp, ERR_INTERNAL, "OpenSSL does not take the key: %s", ERR_reason_error_string(ERR_peek_last_error()));
    *out = made;
    return 0;
}
