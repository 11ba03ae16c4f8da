#include "protocol/pki/hresult.h"

#include <ctype.h>

#include "tests/testing.h"

TEST(hresult_knows_every_code_of_the_specification)
{
    CLEANUP(mem_freep) char *path = testing_shared("spec/ms-wstep.md");
    CLEANUP(bytes_clear) struct bytes rows = {0};
    char *line, *rest;
    size_t n = 0;

    assert_int_equal(testing_shell(&rows,
                         "sed -n 's/^| \\(0x8[0-9A-F]*\\) | \\([-0-9]*\\) | \\([A-Z0-9_]*\\) .*/"
                         "\\1 \\2 \\3/p' '%s'",
                         path),
        0);
    rest = (char *)rows.data;
    while ((line = strsep(&rest, "\n")) && *line) {
        char *hex = strsep(&line, " "), *number = strsep(&line, " ");
        uint32_t code = (uint32_t)strtoul(hex, NULL, 16);
        const struct hresult *found = hresult_find(code);

        assert_int_equal((int32_t)code, atoi(number));
        assert_string_equal(found->name, line);
        n++;
    }
    assert_int_equal(n, 92);
}

TEST(hresult_gives_each_code_an_action_and_a_sentence)
{
    static const uint32_t codes[] = {
#define X(number, name, actions, meaning, todo) name,
        HRESULTS(X)
#undef X
    };

    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        const struct hresult *found = hresult_find(codes[i]);
        const char *end = found->todo + strlen(found->todo) - 1;

        assert_int_equal(found->code, codes[i]);
        assert_true(found->actions != 0);
        assert_true(isupper(found->todo[0]));
        assert_true(*end == '.' || strstr(found->todo, "autoenroll login"));
    }
}

TEST(hresult_describes_a_code_for_a_person)
{
    CLEANUP(mem_freep) char *denied = hresult_describe(0x80094012);
    CLEANUP(mem_freep) char *unknown = hresult_describe(0x8009ffff);

    assert_string_equal(denied, "0x80094012 CERTSRV_E_TEMPLATE_DENIED: the account lacks Enroll on the template");
    assert_string_equal(unknown, "0x8009FFFF: an error that is not in our table");
    assert_int_equal(hresult_find(0x80094012)->actions, HRESULT_REFETCH | HRESULT_ADMIN);
}

TEST(hresult_of_an_unknown_code_waits_for_win32_and_asks_an_administrator_for_the_rest)
{
    assert_int_equal(hresult_find(0x8007ffff)->actions, HRESULT_LATER);
    assert_int_equal(hresult_find(0x8009ffff)->actions, HRESULT_ADMIN);
    assert_int_equal(hresult_find(0)->actions, HRESULT_ADMIN);
    assert_string_equal(hresult_find(0x8007ffff)->name, "");
}
