#include "agent/submit/auth.h"
#include "tests/testing.h"

static int check(const char *hosts, const char *uri, struct err **errp)
{
    CLEANUP(job_server_clear)
    struct job_server server = {
        .name = mem_strdup("corp"), .uri = mem_strdup("https://PKI.example/CEP/service.svc/CEP")};
    CLEANUP(mem_freep) char *copy = mem_strdup(hosts);
    char *rest = NULL;

    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        strlist_add(&server.ces_hosts, word);
    return auth_check_host(&server, uri, errp);
}

TEST(auth_allows_the_policy_servers_own_host_and_what_is_listed)
{
    static const struct {
        const char *hosts, *uri;
    } good[] = {
        {"", "https://pki.example/CA_CES_Kerberos/service.svc/CES"},
        {"", "https://pki.EXAMPLE:49999/CES"},
        {"ca2.example ca3.example", "https://ca3.example/My CA_CES/CES"},
        {"CA2.example", "https://ca2.EXAMPLE:8443/CES"},
        {"ca2.example:8443", "https://ca2.example:8443/CES"},
        {"ca2.example:443", "https://ca2.example/CES"},
        {"[::1]:8443", "https://[::1]:8443/CES"},
        {"[::1]", "https://[::1]/CES"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        CLEANUP(err_freep) struct err *err = NULL;

        if (check(good[i].hosts, good[i].uri, &err) < 0)
            fail_msg("%s with '%s': %s", good[i].uri, good[i].hosts, err_text(err));
    }
}

TEST(auth_refuses_every_other_host_and_says_what_would_allow_it)
{
    static const struct {
        const char *hosts, *uri;
    } bad[] = {
        {"", "https://ca2.example/CES"},
        {"", "https://pki.example.evil/CES"},
        {"", "https://evil-pki.example/CES"},
        {"", "https://pki.example.:443/CES"},
        {"ca2.example:8443", "https://ca2.example/CES"},
        {"ca2.example:", "https://ca2.example/CES"},
        {"ca2.example:443x", "https://ca2.example/CES"},
        {"ca2", "https://ca2.example/CES"},
        {"example", "https://ca2.example/CES"},
        {"*", "https://ca2.example/CES"},
        {"[::1]", "https://[::2]/CES"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(err_freep) struct err *err = NULL;

        if (check(bad[i].hosts, bad[i].uri, &err) == 0)
            fail_msg("%s with '%s' was allowed", bad[i].uri, bad[i].hosts);
        assert_int_equal(err_kind(err), ERR_POLICY);
        assert_contains(err_hint_text(err), "[policy-server \"corp\"]: ces-hosts = ");
    }
}

TEST(auth_refuses_addresses_that_only_look_like_an_allowed_host)
{
    static const char *const bad[] = {"http://pki.example/CES", "https://pki.example@evil.example/CES",
        "https://user:pw@pki.example/CES", "ldap://pki.example/", "//pki.example/CES", "pki.example/CES"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(err_freep) struct err *err = NULL;

        if (check("", bad[i], &err) == 0)
            fail_msg("%s was allowed", bad[i]);
        assert_int_equal(err_kind(err), ERR_INVALID);
    }
}

TEST(auth_tells_which_credential_is_missing)
{
    struct auth_credentials none = {0};
    static const struct {
        uint32_t auth;
        const char *text;
    } missing[] = {{POLICY_AUTH_USERNAME, "no user name"}, {POLICY_AUTH_CERTIFICATE, "no certificate of ours"},
        {POLICY_AUTH_KERBEROS, "kerberos"}, {12, "unknown"}};

    assert_int_equal(auth_check_credential(&none, POLICY_AUTH_ANONYMOUS, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(missing); i++) {
        CLEANUP(err_freep) struct err *err = NULL;

        assert_int_equal(auth_check_credential(&none, missing[i].auth, &err), -1);
        assert_int_equal(err_kind(err), ERR_AUTH);
        assert_contains(err_text(err), missing[i].text);
        assert_non_null(err_hint_text(err));
    }
    none.username = "alice";
    {
        CLEANUP(err_freep) struct err *err = NULL;

        assert_int_equal(auth_check_credential(&none, POLICY_AUTH_USERNAME, &err), -1);
        assert_contains(err_text(err), "no password is stored");
    }
}
