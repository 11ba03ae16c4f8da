#include <unistd.h>

#include "tests/oneshot_fixture.h"

/* A template that lets keys out, and a section that wants its key in a file, or not. */
static void start(struct oneshot *s)
{
    s->server = server_fixture_new(NULL);
    oneshot_template(s, "PrivateKeyFlags", "0x4040010");
    oneshot_start(s);
}

static void want_file(struct oneshot *s, bool file)
{
    agent_fixture_section(s->agent, "web", "DeviceEC", file ? "key = file\n" : "");
}

static size_t count_files(const struct oneshot *s)
{
    CLEANUP(bytes_clear) struct bytes out = {0};

    assert_int_equal(testing_shell(&out, "ls -A '%s/token/keys' | wc -l", s->agent->state), 0);
    return strtoul(bytes_text(&out), NULL, 10);
}

static void assert_installed(struct oneshot *s, uint32_t generation, bool file)
{
    const struct record *record = oneshot_record(s, "web");
    const char *path = record->current.pair.key_file;

    if (record->error)
        fail_msg("%s", record->error);
    assert_int_equal(record->state, RECORD_INSTALLED);
    assert_int_equal(record->current.generation, generation);
    assert_true(!path == !file);
    if (file) /* of the published certificate, and for nobody else */
        assert_int_equal(testing_shell(NULL,
                             "test \"$(stat -c %%a '%s')\" = 600 && test \"$(openssl pkey -in '%s' -pubout)\" = "
                             "\"$(openssl x509 -in '%s/public/certs/web/current/cert.pem' -noout -pubkey)\"",
                             path, path, s->agent->state),
            0);
}

TEST(key_in_a_file_is_made_where_there_was_no_directory_and_renewed)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    start(&s);
    want_file(&s, true);
    oneshot_run(&s, "", 0);
    assert_installed(&s, 1, true);
    oneshot_run(&s, "--renew web", 0);
    assert_installed(&s, 2, true);
    assert_int_equal(count_files(&s), 2); /* the old one has its grace */
}

TEST(key_moves_from_a_file_into_the_token_and_back)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};

    start(&s);
    want_file(&s, true);
    oneshot_run(&s, "", 0);
    want_file(&s, false);
    oneshot_run(&s, "--renew web", 0);
    assert_installed(&s, 2, false);
    oneshot_assert_installed(&s, "web");
    want_file(&s, true);
    oneshot_run(&s, "--renew web", 0);
    assert_installed(&s, 3, true);
}

/* The last walk was cut off, so there may be keys without a record: in the token, or beside it. */
TEST(key_file_without_a_record_is_removed)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    const char *path;

    start(&s);
    want_file(&s, true);
    oneshot_run(&s, "", 0);
    path = oneshot_record(&s, "web")->current.pair.key_file;
    assert_int_equal(testing_shell(NULL,
                         "cd '%s/token/keys' && of=$(basename '%s' .pem) && base=${of%%??????????} && cp '%s' "
                         "\"${base}0123456789.pem\" && cp '%s' \"${base}9876543210.pem.new\" && cp '%s' other.pem && "
                         "sed -i 's/\"clean\": true/\"clean\": false/' '%s/private/instance.json'",
                         s.agent->state, path, path, path, path, s.agent->state),
        0);
    assert_int_equal(count_files(&s), 4);
    oneshot_run(&s, "", 0);
    assert_contains(oneshot_said(&s), "removed 2 keys that had no record");
    assert_int_equal(count_files(&s), 2); /* ours, and what is none of ours */
    assert_installed(&s, 1, true);
}

/* What the old label was on is gone with the token; the new pair is none the worse. */
TEST(expired_pair_of_a_lost_token_does_not_hinder_a_new_one)
{
    CLEANUP(oneshot_clear) struct oneshot s = {0};
    CLEANUP(record_list_clear) struct record_list list = {0};
    struct record *record;

    oneshot_start(&s);
    agent_fixture_section(s.agent, "web", "DeviceEC", "");
    oneshot_run(&s, "", 0);
    (void)agent_fixture_record(s.agent, "web", &list);
    record = record_find(&list, "web");
    record->current.facts.not_after = 1000000000;
    agent_fixture_save(s.agent, record);
    assert_int_equal(testing_shell(NULL, "rm -rf '%s'/token/*", s.agent->state), 0);
    oneshot_run(&s, "", 0);
    oneshot_assert_installed(&s, "web");
    assert_int_equal(oneshot_record(&s, "web")->current.generation, 2);
}
