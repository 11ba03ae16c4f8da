#include "protocol/base/printable.h"
#include "tests/testing.h"

TEST(printable_shows_what_a_terminal_would_obey)
{
    static const struct {
        const char *text, *shown;
    } rows[] = {
        {"Example CA 1", "Example CA 1"},
        {"Zertifizierung f\xc3\xbcr \xe6\x9c\xba", "Zertifizierung f\xc3\xbcr \xe6\x9c\xba"},
        {"a\x1b[31mred", "a\\x1b[31mred"},
        {"two\nlines\r", "two\\x0alines\\x0d"},
        {"\xe2\x80\xaegnp.exe", "\\u{202e}gnp.exe"},
        {"\xc2\x9b"
         "1m",
            "\\u{9b}1m"},
        {"cut \xe2\x82", "cut \\xe2\\x82"},
        {"overlong \xc0\xaf", "overlong \\xc0\\xaf"},
        {"surrogate \xed\xa0\x80", "surrogate \\xed\\xa0\\x80"},
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
        {NULL, ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(mem_freep) char *shown = printable_text(rows[i].text);

        assert_string_equal(shown, rows[i].shown);
        assert_true(utf8_valid(shown, strlen(shown)));
    }
}

TEST(printable_is_bounded)
{
    CLEANUP(mem_freep) char *plain = printable("abcdefghij", 10, 5);
    CLEANUP(mem_freep) char *escaped = printable("\x01\x02\x03", 3, 9);
    CLEANUP(mem_freep) char *wide = printable("\xf0\x9f\x94\x91\xf0\x9f\x94\x91", 8, 2);

    assert_string_equal(plain, "abcde...");
    assert_string_equal(escaped, "\\x01\\x02...");
    assert_string_equal(wide, "\xf0\x9f\x94\x91\xf0\x9f\x94\x91");
}
