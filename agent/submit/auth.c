#include "agent/submit/auth.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* "HOST" or "HOST:PORT" of ces-hosts; an IPv6 address in brackets. */
static bool entry_allows(const char *entry, const struct http_url *url)
{
    const char *bracket = strrchr(entry, ']');
    const char *colon = strrchr(bracket ? bracket : entry, ':');
    size_t n = colon ? (size_t)(colon - entry) : strlen(entry);
    char *end = NULL;

    if (n != strlen(url->host) || strncasecmp(entry, url->host, n) != 0)
        return false;
    return !colon || (strtoul(colon + 1, &end, 10) == url->port && end != colon + 1 && !*end);
}

int auth_check_host(const struct job_server *server, const char *uri, struct err **errp)
{
    CLEANUP(http_url_clear) struct http_url cep = {0};
    CLEANUP(http_url_clear) struct http_url url = {0};
    CLEANUP(mem_freep) char *listed = NULL;

    if (http_url_parse(uri, &url, errp) < 0)
        return err_wrap(errp, "an address out of the policy");
    if (http_url_parse(server->uri, &cep, errp) < 0)
        return err_wrap(errp, "the address of policy server '%s'", server->name);
    if (strcmp(url.host, cep.host) == 0)
        return 0;
    for (size_t i = 0; i < server->ces_hosts.n; i++)
        if (entry_allows(server->ces_hosts.items[i], &url))
            return 0;
    listed = strlist_join(&server->ces_hosts, " ");
    err_set(errp, ERR_POLICY, "the policy names host '%s', which is neither the policy server's own nor in ces-hosts",
        url.host);
    return err_hint(errp, "if that host is right, add it in [policy-server \"%s\"]: ces-hosts = %s%s%s", server->name,
        listed, *listed ? " " : "", url.host);
}

int auth_check_credential(const struct auth_credentials *credentials, uint32_t auth, struct err **errp)
{
    switch (auth) {
    case POLICY_AUTH_ANONYMOUS:
        return 0;
    case POLICY_AUTH_USERNAME:
        if (credentials->username && credentials->password)
            return 0;
        err_set(errp, ERR_AUTH, "no %s for authentication by user name",
            credentials->username ? "password is stored" : "user name is configured");
        if (!credentials->username)
            return err_hint(errp, "set username in the policy server's section");
        return err_hint(errp, "give it to the daemon with 'autoenroll login SERVER', or store it as the credential %s",
            credentials->credential ? credentials->credential : "SECTION.password");
    case POLICY_AUTH_CERTIFICATE:
        if (credentials->identity)
            return 0;
        err_set(errp, ERR_AUTH, "no certificate of ours to authenticate with");
        return err_hint(errp, "a first certificate must come by way of an account: configure a policy server with "
                              "auth = username and the same policy-id");
    default:
        err_set(errp, ERR_AUTH, "no credential for authentication by %s", policy_auth_name(auth));
        return err_hint(errp, "this agent authenticates by username and by certificate; use an address that wants one "
                              "of these");
    }
}
