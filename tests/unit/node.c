#include <jansson.h>

#include "agent/ctl/node.h"
#include "tests/testing.h"

static struct node *sample(void)
{
    struct node *root = node_new();
    struct node *list = node_list(root, "templates");
    struct node *item = node_group(list, NULL);
    struct strlist names = {0};
    const struct bytes hash = {.data = (uint8_t *)(char[]){"\x01\xfe"}, .len = 2};

    node_text(item, "name", "Machine");
    node_bool(item, "enroll", true);
    strlist_add(&names, "MACHINE_TYPE");
    node_flags(item, "general flags", 0x40, &names);
    strlist_clear(&names);
    item = node_group(list, NULL);
    node_text(item, "name", "User\x1b[31m");
    node_span(item, "validity", 86400 * 365);
    node_list(root, "cas");
    node_time(node_group(root, "times"), "not after", 1893553445);
    node_number(root, "count", UINT64_MAX);
    node_hex(root, "hash", &hash);
    node_text(root, "absent", NULL);
    return root;
}

static char *print(int (*how)(const struct node *root, FILE *out, struct err **errp))
{
    CLEANUP(node_freep) struct node *root = sample();
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    assert_non_null(out);
    assert_int_equal(how(root, out, NULL), 0);
    fclose(out);
    return text;
}

TEST(node_prints_names_and_values_aligned_for_a_person)
{
    CLEANUP(mem_freep) char *text = print(node_print);

    assert_string_equal(text, "templates\n"
                              "    - name           Machine\n"
                              "      enroll         yes\n"
                              "      general flags  0x00000040  MACHINE_TYPE\n"
                              "    - name      User\\x1b[31m\n"
                              "      validity  365 days\n"
                              "cas        none\n"
                              "times\n"
                              "    not after  2030-01-02 03:04:05 UTC\n"
                              "count      18446744073709551615\n"
                              "hash       01fe\n");
}

TEST(node_prints_the_same_as_json)
{
    CLEANUP(mem_freep) char *text = print(node_print_json);
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const json_t *first;

    assert_non_null(json);
    first = json_array_get(json_object_get(json, "templates"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "name")), "Machine");
    assert_true(json_is_true(json_object_get(first, "enroll")));
    first = json_object_get(first, "general_flags");
    assert_int_equal(json_integer_value(json_object_get(first, "value")), 0x40);
    assert_string_equal(json_string_value(json_array_get(json_object_get(first, "names"), 0)), "MACHINE_TYPE");
    first = json_array_get(json_object_get(json, "templates"), 1);
    assert_string_equal(json_string_value(json_object_get(first, "name")), "User\\x1b[31m");
    assert_int_equal(json_integer_value(json_object_get(first, "validity")), 86400 * 365);
    assert_int_equal(json_array_size(json_object_get(json, "cas")), 0);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(json, "times"), "not_after")), "2030-01-02T03:04:05.000Z");
    assert_string_equal(json_string_value(json_object_get(json, "count")), "18446744073709551615");
    assert_null(json_object_get(json, "absent"));
    json_decref(json);
}

TEST(node_puts_a_long_list_of_texts_on_lines_of_their_own)
{
    CLEANUP(node_freep) struct node *root = node_new();
    CLEANUP(mem_freep) char *text = NULL;
    struct strlist oids = {0};
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    strlist_add(&oids, "one");
    strlist_add(&oids, "two");
    node_texts(root, "short", &oids);
    for (int i = 0; i < 12; i++)
        strlist_add(&oids, "1.3.6.1.4.1");
    node_texts(root, "long", &oids);
    strlist_clear(&oids);
    assert_int_equal(node_print(root, out, NULL), 0);
    fclose(out);
    assert_contains(text, "short  one, two\nlong\n    - one\n    - two\n    - 1.3.6.1.4.1\n");
}
