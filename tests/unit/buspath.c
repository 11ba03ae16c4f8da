#include "agent/job/buspath.h"
#include "tests/testing.h"

TEST(buspath_escapes_what_a_path_may_not_hold)
{
    static const struct {
        const char *id, *element;
    } rows[] = {
        {"web", "web"}, {"web-1", "web_2d1"}, {"a_b", "a_5fb"}, {"", "_"}, {"-", "_2d"}, {"\xc3\xa4", "_c3_a4"}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(mem_freep) char *element = buspath_escape(rows[i].id);
        CLEANUP(mem_freep) char *id = buspath_unescape(element);

        assert_string_equal(element, rows[i].element);
        assert_string_equal(id, rows[i].id);
    }
}

TEST(buspath_makes_a_path_and_finds_its_id_again)
{
    CLEANUP(mem_freep) char *path = buspath_make(BUS_ENROLLMENTS, "web-1");
    CLEANUP(mem_freep) char *id = buspath_id(path, BUS_ENROLLMENTS);

    assert_string_equal(path, "/org/autoenroll/Agent1/enrollments/web_2d1");
    assert_string_equal(id, "web-1");
}

TEST(buspath_knows_what_is_no_path_of_a_kind)
{
    static const char *const wrong[] = {"/", BUS_ROOT, BUS_ROOT "/enrollments", BUS_ROOT "/enrollments/",
        BUS_ROOT "/servers/web", BUS_ROOT "/enrollments/web/1", BUS_ROOT "/enrollments/_2", BUS_ROOT "/enrollments/_2D",
        BUS_ROOT "/enrollments/_00", BUS_ROOT "/enrollments/_61", BUS_ROOT "/enrollmentsx/web",
        "/org/autoenroll/Agent2/enrollments/web"};

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        if (buspath_id(wrong[i], BUS_ENROLLMENTS))
            fail_msg("'%s' was taken", wrong[i]);
}
