#include "agent/submit/endpoint.h"
#include "tests/testing.h"

static struct policy_uri uris[] = {
    {.auth = POLICY_AUTH_USERNAME, .uri = (char[]){"password"}, .priority = {true, 5}},
    {.auth = POLICY_AUTH_CERTIFICATE, .uri = (char[]){"renewal"}, .priority = {true, 9}, .renewal_only = true},
    {.auth = POLICY_AUTH_KERBEROS, .uri = (char[]){"kerberos"}, .priority = {true, 5}},
    {.auth = POLICY_AUTH_CERTIFICATE, .uri = (char[]){"certificate"}},
    {.auth = POLICY_AUTH_ANONYMOUS, .uri = (char[]){"anonymous"}, .priority = {true, 5}, .renewal_only = true},
    {.auth = 12, .uri = (char[]){"mask"}, .priority = {true, 1}},
};
static struct policy_uri other_uris[] = {
    {.auth = POLICY_AUTH_USERNAME, .uri = (char[]){"other password"}, .priority = {true, 1}},
};

static uint32_t next_chance;
static uint32_t chance(void)
{
    return next_chance++;
}
static uint32_t other_chance(void)
{
    return UINT32_MAX - next_chance++;
}

#define ALL (POLICY_AUTH_USERNAME | POLICY_AUTH_CERTIFICATE | POLICY_AUTH_KERBEROS | POLICY_AUTH_ANONYMOUS)

/* The URIs in order, those that are not tried behind a bar. */
static void order_is(struct endpoint_question question, size_t n_cas, const char *expected)
{
    const struct policy_ca cas[] = {
        {.name = (char[]){"first"}, .enroll_permission = true, .uris = uris, .n_uris = ARRAY_SIZE(uris)},
        {.name = (char[]){"second"}, .enroll_permission = true, .uris = other_uris, .n_uris = ARRAY_SIZE(other_uris)},
    };
    CLEANUP(endpoint_list_clear) struct endpoint_list list = {0};
    CLEANUP(bytes_clear) struct bytes text = {0};

    question.cas = cas;
    question.n_cas = n_cas;
    next_chance = 0;
    endpoint_order(&question, chance, &list);
    for (size_t i = 0; i < list.n; i++) {
        assert_int_equal(!list.items[i].refused, i < list.n_usable);
        bytes_printf(&text, NULL, "%s%s", i == list.n_usable ? "| " : i ? ", " : "", list.items[i].uri->uri);
    }
    assert_string_equal(bytes_text(&text), expected);
}

TEST(endpoint_for_a_first_enrollment_leaves_out_what_is_for_renewals)
{
    order_is((struct endpoint_question){.auths = ALL}, 1, "kerberos, password, certificate| mask, anonymous, renewal");
}

TEST(endpoint_for_a_first_enrollment_needs_a_credential)
{
    order_is((struct endpoint_question){.auths = POLICY_AUTH_ANONYMOUS | POLICY_AUTH_USERNAME}, 1,
        "password| mask, kerberos, anonymous, renewal, certificate");
}

TEST(endpoint_orders_a_first_enrollment_by_priority_over_all_cas)
{
    order_is((struct endpoint_question){.auths = POLICY_AUTH_USERNAME}, 2,
        "other password, password| mask, kerberos, anonymous, renewal, certificate");
}

TEST(endpoint_for_a_renewal_prefers_renewal_addresses_and_the_issuer)
{
    order_is((struct endpoint_question){.auths = ALL, .renewal = true, .password_fallback = true}, 2,
        "anonymous, renewal, kerberos, password, certificate, other password| mask");
}

TEST(endpoint_for_a_renewal_uses_no_password_by_itself)
{
    order_is((struct endpoint_question){.auths = POLICY_AUTH_CERTIFICATE | POLICY_AUTH_USERNAME, .renewal = true}, 2,
        "renewal, certificate| anonymous, mask, kerberos, password, other password");
}

TEST(endpoint_of_a_ca_without_permission_is_not_tried)
{
    const struct policy_ca ca = {.name = (char[]){"CA"}, .uris = uris, .n_uris = 1};
    struct endpoint_question question = {.cas = &ca, .n_cas = 1, .auths = ALL};
    CLEANUP(endpoint_list_clear) struct endpoint_list list = {0};

    endpoint_order(&question, chance, &list);
    assert_int_equal(list.n_usable, 0);
    assert_contains(list.items[0].refused, "permission");
}

TEST(endpoint_leaves_equals_to_chance)
{
    struct policy_uri equal[] = {
        {.auth = POLICY_AUTH_USERNAME, .uri = (char[]){"a"}}, {.auth = POLICY_AUTH_USERNAME, .uri = (char[]){"b"}}};
    const struct policy_ca ca = {.name = (char[]){"CA"}, .enroll_permission = true, .uris = equal, .n_uris = 2};
    struct endpoint_question question = {.cas = &ca, .n_cas = 1, .auths = ALL};

    for (int i = 0; i < 2; i++) {
        CLEANUP(endpoint_list_clear) struct endpoint_list list = {0};

        endpoint_order(&question, i ? other_chance : chance, &list);
        assert_string_equal(list.items[0].uri->uri, i ? "b" : "a");
    }
}
