#include "agent/ctl/consumer.h"

#include <string.h>

#include "agent/ctl/model.h"
#include "agent/ctl/verb.h"

/*
 * What each consumer is told; one text for a key in a token, one for a key in a file. @CERT@, @CHAIN@, @FULLCHAIN@ and
 * @CURRENT@ are files that change with each renewal, under names that do not; @KEY@ is the key's URI or file; @NAME@
 * the enrollment's.
 */
struct consumer {
    const char *name;
    const char *token, *file;
};
static const struct consumer consumers[] = {
    {"nginx",
        "# In the main section, once. OpenSSL's engine for PKCS#11: libengine-pkcs11-openssl (Debian),\n"
        "# openssl-pkcs11 (Fedora). nginx 1.29 and later with pkcs11-provider instead: store:@KEY@\n"
        "ssl_engine pkcs11;\n"
        "env P11_KIT_SERVER_ADDRESS;\n"
        "env PKCS11_MODULE_PATH;\n"
        "\n"
        "# In the server section.\n"
        "ssl_certificate     @FULLCHAIN@;\n"
        "ssl_certificate_key \"engine:pkcs11:@KEY@\";\n",
        "ssl_certificate     @FULLCHAIN@;\n"
        "ssl_certificate_key @KEY@;\n"},
    {"openssl",
        "openssl s_server -accept 4433 -cert @CERT@ -cert_chain @CHAIN@ \\\n"
        "    -engine pkcs11 -keyform engine -key '@KEY@'\n"
        "# With pkcs11-provider instead of the engine:\n"
        "#   -provider pkcs11 -provider default -key '@KEY@'\n",
        "openssl s_server -accept 4433 -cert @CERT@ -cert_chain @CHAIN@ -key @KEY@\n"},
    {"curl",
        "# Options for curl, or lines of a file for its --config.\n"
        "engine   = pkcs11\n"
        "cert     = \"@FULLCHAIN@\"\n"
        "key-type = ENG\n"
        "key      = \"@KEY@\"\n",
        "# Options for curl, or lines of a file for its --config.\n"
        "cert = \"@FULLCHAIN@\"\n"
        "key  = \"@KEY@\"\n"},
    {"wpa",
        "# wpa_supplicant.conf; give your network's name, its root certificate and the server's name.\n"
        "network={\n"
        "    ssid=\"...\"\n"
        "    key_mgmt=WPA-EAP\n"
        "    eap=TLS\n"
        "    identity=\"host/@FQDN@\"\n"
        "    ca_cert=\"/etc/ssl/certs/...\"\n"
        "    domain_match=\"...\"\n"
        "    client_cert=\"@CERT@\"\n"
        "    engine=1\n"
        "    engine_id=\"pkcs11\"\n"
        "    key_id=\"@KEY@\"\n"
        "}\n",
        "# wpa_supplicant.conf; give your network's name, its root certificate and the server's name.\n"
        "network={\n"
        "    ssid=\"...\"\n"
        "    key_mgmt=WPA-EAP\n"
        "    eap=TLS\n"
        "    identity=\"host/@FQDN@\"\n"
        "    ca_cert=\"/etc/ssl/certs/...\"\n"
        "    domain_match=\"...\"\n"
        "    client_cert=\"@CERT@\"\n"
        "    private_key=\"@KEY@\"\n"
        "}\n"},
    {"nm",
        "nmcli connection modify CONNECTION 802-1x.eap tls 802-1x.identity 'host/@FQDN@' \\\n"
        "    802-1x.client-cert 'file://@CERT@' \\\n"
        "    802-1x.private-key '@KEY@' 802-1x.private-key-password-flags 0\n"
        "# The PIN: nmcli connection edit CONNECTION, then set 802-1x.private-key-password; it asks for it.\n",
        "nmcli connection modify CONNECTION 802-1x.eap tls 802-1x.identity 'host/@FQDN@' \\\n"
        "    802-1x.client-cert 'file://@CERT@' \\\n"
        "    802-1x.private-key 'file://@KEY@' 802-1x.private-key-password-flags 4\n"},
    {"java",
        "# pkcs11.cfg for SunPKCS11. The key's alias in the key store is @NAME@, also after renewals.\n"
        "#   keytool -list -storetype PKCS11 -addprovider SunPKCS11 -providerarg pkcs11.cfg\n"
        "# In the program: Provider p = Security.getProvider(\"SunPKCS11\").configure(\"pkcs11.cfg\");\n"
        "#                 KeyStore.getInstance(\"PKCS11\", p).load(null, pin);\n"
        "name = autoenroll\n"
        "library = /usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so\n"
        "slotListIndex = 0\n",
        "# A PKCS#12 file for a key store; java reads no PEM. With 'format = p12' in the [certificate] section\n"
        "# it is written at every renewal.\n"
        "#   keytool -list -storetype PKCS12 -keystore FILE\n"
        "openssl pkcs12 -export -inkey @KEY@ -in @FULLCHAIN@ -name @NAME@ -out FILE\n"},
};

/* What else is needed for a key that stays in its token. */
static const char token_rights[] =
    "\n"
    "# @KEY@\n"
    "# always names the current key, also after a renewal; only the worker's user may open the token. A service that\n"
    "# runs as another user (here www-data) gets at our own token through a socket, as a member of a group:\n"
    "#   systemctl enable --now autoenroll-token.service\n"
    "#   usermod -aG autoenroll-token www-data\n"
    "# In the environment of the service (systemctl edit NAME, Environment=):\n"
    "#   P11_KIT_SERVER_ADDRESS=unix:path=/run/autoenroll-token/pkcs11\n"
    "#   PKCS11_MODULE_PATH=/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so\n"
    "# (Fedora: /usr/lib64/pkcs11/p11-kit-client.so). For the PIN, add to the URI:\n"
    "#   ?pin-source=file:/run/autoenroll-token/pin\n"
    "# A token that 'token =' names has its own module and PIN instead. autoenroll-deploy(8) says more.\n"
    "# After a renewal the service must read the certificate anew: 'reload =' in the [certificate] section does that,\n"
    "# when the new key has its name.\n";

static const char file_rights[] =
    "\n"
    "# After a renewal the service must read both files anew: 'reload =' in the [certificate] section does that,\n"
    "# and 'export =' with 'owner =', 'group =' and 'mode =' puts copies where only the service reads them.\n";

const char *consumer_name(size_t i)
{
    return i < ARRAY_SIZE(consumers) ? consumers[i].name : NULL;
}

/* "pkcs11:token=a;id=%41;type=private" as "pkcs11:token=a". Returns owned. */
static char *token_of(const char *uri)
{
    const char *at = strstr(uri, "token=");

    return at ? mem_printf("pkcs11:%.*s", (int)strcspn(at, ";?"), at) : mem_strdup(uri);
}

struct placeholders {
    struct {
        const char *name;
        char *value; /* owned */
    } rows[8];
    size_t n;
};

static void define(struct placeholders *p, const char *name, char *value)
{
    p->rows[p->n].name = name;
    p->rows[p->n++].value = value;
}

static void placeholders_clear(struct placeholders *p)
{
    for (size_t i = 0; i < p->n; i++)
        mem_freep(&p->rows[i].value);
}

/* @text with its @NAME@s replaced. */
static int fill(const char *text, const struct placeholders *p, struct bytes *out, struct err **errp)
{
    while (*text) {
        size_t plain = strcspn(text, "@"), i = 0;

        if (bytes_append(out, text, plain, errp) < 0)
            return -1;
        text += plain;
        if (!*text)
            return 0;
        while (i < p->n && strncmp(text, p->rows[i].name, strlen(p->rows[i].name)) != 0)
            i++;
        if (bytes_append_text(out, i < p->n ? p->rows[i].value : "@", errp) < 0)
            return -1;
        text += i < p->n ? strlen(p->rows[i].name) : 1;
    }
    return 0;
}

static const struct consumer *find(const char *name, struct err **errp)
{
    CLEANUP(strlist_clear) struct strlist names = {0};
    CLEANUP(mem_freep) char *known = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(consumers); i++) {
        if (strcmp(consumers[i].name, name) == 0)
            return &consumers[i];
        strlist_add(&names, consumers[i].name);
    }
    known = strlist_join(&names, ", ");
    err_set(errp, ERR_USAGE, "'%s' is no consumer that is known here", name);
    err_hint(errp, "there are: %s", known);
    return NULL;
}

int consumer_write(const char *consumer, const json_t *enrollment, struct bytes *out, struct err **errp)
{
    CLEANUP(placeholders_clear) struct placeholders p = {0};
    const struct consumer *c = find(consumer, errp);
    const char *id = model_text(enrollment, "id"), *uri = model_text(enrollment, "key-uri");
    const char *directory = model_text(enrollment, "directory");
    const char *file = model_text(enrollment, "key-file");
    bool in_token = !*file;
    CLEANUP(mem_freep) char *token = token_of(uri);
    CLEANUP(mem_freep)
    char *current = *directory ? mem_strdup(directory) : mem_printf(DEFAULT_STATE_DIR "/public/certs/%s/current", id);

    if (!c)
        return -1;
    if (!*uri && in_token) {
        err_set(errp, ERR_MISSING, "%s has no certificate yet", id);
        return err_hint(errp, "'" PROGRAM " explain %s' says what it waits for", id);
    }
    define(&p, "@CERT@", mem_printf("%s/cert.pem", current));
    define(&p, "@CHAIN@", mem_printf("%s/chain.pem", current));
    define(&p, "@FULLCHAIN@", mem_printf("%s/fullchain.pem", current));
    define(&p, "@KEY@", in_token ? mem_printf("%s;object=%s;type=private", token, id) : mem_strdup(file));
    define(&p, "@TOKEN@", mem_strdup(token));
    define(&p, "@NAME@", mem_strdup(id));
    define(&p, "@FQDN@", mem_strdup("the name in the certificate"));
    if (bytes_printf(out, errp, "# %s for %s\n", id, c->name) < 0 ||
        fill(in_token ? c->token : c->file, &p, out, errp) < 0)
        return -1;
    return fill(in_token ? token_rights : file_rights, &p, out, errp);
}
