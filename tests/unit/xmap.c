#include "tests/testing.h"

#include "protocol/xml/xmap.h"
#include "protocol/xml/xmldoc.h"

#define NS       "urn:test"
#define OTHER_NS "urn:other"

/* A message with one field of each type. */
struct leaf {
    char *label; /* an attribute */
    char *text;  /* the content */
};
static const struct xmap_field leaf_fields[] = {
    XMAP_ATTRIBUTE_STRING(leaf, label, NULL, "label", XMAP_REQUIRED, 16),
    XMAP_CONTENT_STRING(leaf, text, XMAP_REQUIRED, 16),
};
static const struct xmap leaf_map = XMAP(NS, "leaf", leaf, leaf_fields);

struct numbers {
    int32_t *items;
    size_t n;
};

struct tree {
    bool yes;
    int32_t i32;
    uint32_t u32;
    uint64_t u64;
    struct opt_bool opt_bool;
    struct opt_i32 opt_i32;
    struct opt_u32 opt_u32;
    struct opt_time opt_time;
    char *string;
    char *defaulted;
    struct bytes bytes;
    struct secret *secret;
    struct strlist strings;
    struct numbers numbers;
    struct leaf *leaves;
    size_t n_leaves;
    struct leaf *leaf;
    char *inner;
    bool has_inner;
    bool mark;
};

static const struct xmap_field inner_fields[] = {
    XMAP_STRING(tree, inner, "inner", XMAP_NILLABLE, 16, .ns = OTHER_NS),
};
static const struct xmap inner_map = XMAP(NS, "nest", tree, inner_fields);

static const struct xmap_field tree_fields[] = {
    XMAP_BOOL(tree, yes, "yes", XMAP_REQUIRED),
    XMAP_I32(tree, i32, "i32", XMAP_DEFAULTED),
    XMAP_U32(tree, u32, "u32", XMAP_DEFAULTED),
    XMAP_U64(tree, u64, "u64", XMAP_DEFAULTED),
    XMAP_OPT_BOOL(tree, opt_bool, "optBool", XMAP_NILLABLE),
    XMAP_OPT_I32(tree, opt_i32, "optI32", XMAP_NILLABLE),
    XMAP_OPT_U32(tree, opt_u32, "optU32", XMAP_NILLABLE),
    XMAP_OPT_TIME(tree, opt_time, "optTime", XMAP_NILLABLE),
    XMAP_STRING(tree, string, "string", XMAP_OPTIONAL, 16),
    XMAP_STRING(tree, defaulted, "defaulted", XMAP_DEFAULTED, 16),
    XMAP_BYTES(tree, bytes, "bytes", XMAP_NILLABLE, 8),
    XMAP_SECRET(tree, secret, "secret", XMAP_OPTIONAL, 16),
    XMAP_STRINGS(tree, strings, "strings", "string", XMAP_NILLABLE, 3, 16),
    XMAP_I32S(tree, numbers, "numbers", "number", XMAP_NILLABLE, 3),
    XMAP_LIST(tree, leaves, leaf, "leaves", XMAP_NILLABLE, 3, &leaf_map, .skip_bad = true),
    XMAP_STRUCT(tree, leaf, leaf, "one", XMAP_OPTIONAL, &leaf_map),
    XMAP_NEST_IF(tree, has_inner, "nest", XMAP_NILLABLE, &inner_map),
    XMAP_MARK(tree, mark, "mark", XMAP_OPTIONAL),
};
static const struct xmap tree_map = XMAP(NS, "tree", tree, tree_fields);

static void tree_clear(struct tree *tree)
{
    xmap_clear(&tree_map, tree);
}

/* Reads @inside as what stands between <tree> and </tree>. */
static int parse(const char *inside, struct tree *out, struct strlist *skipped, struct err **errp)
{
    CLEANUP(mem_freep)
    char *text =
        mem_printf("<tree xmlns='" NS "' xmlns:o='" OTHER_NS "' xmlns:i='" XMLNODE_XSI_NS "'>\n%s\n</tree>", inside);
    CLEANUP(xmldoc_freep) struct xmldoc *doc = NULL;

    if (xmldoc_parse(text, strlen(text), &doc, errp) < 0)
        return -1;
    return xmap_parse(&tree_map, xmldoc_root(doc), out, skipped, errp);
}

static struct tree read_ok(const char *inside)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct tree tree = {0};

    assert_ok(parse(inside, &tree, NULL, &err) == 0, err);
    return tree;
}

static void refused(const char *inside, const char *expected)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct tree tree;

    memset(&tree, 0x5a, sizeof(tree));
    assert_int_equal(parse(inside, &tree, NULL, &err), -1);
    assert_int_equal(err_kind(err), ERR_INVALID);
    assert_contains(err_text(err), expected);
    for (size_t i = 0; i < sizeof(tree); i++)
        assert_int_equal(((unsigned char *)&tree)[i], 0x5a); /* left alone */
}

static int write_tree(const struct tree *tree, struct bytes *out, struct err **errp)
{
    CLEANUP(xmlout_clear) struct xmlout x = {0};

    xmlout_declare(&x, "xsi", XMLNODE_XSI_NS);
    xmap_write(&x, &tree_map, tree);
    return xmlout_finish(&x, out, errp);
}

static const char rich[] =
    "<yes>true</yes><i32>-5</i32><u32>4294967295</u32><u64>18446744073709551615</u64>"
    "<optBool>0</optBool><optI32>0</optI32><optU32>7</optU32><optTime>2030-01-02T03:04:05Z</optTime>"
    "<string> a &lt; b </string><defaulted>d</defaulted><bytes> AQ\n ID </bytes>"
    "<secret> s e </secret><strings><string>x</string><string> y </string></strings>"
    "<numbers><number>1</number><number>-2</number></numbers>"
    "<leaves><leaf label='l1'>t1</leaf><leaf label='l2'>t2</leaf></leaves>"
    "<one label='l3'>t3</one><nest><o:inner>deep</o:inner></nest><mark/>";

static void is_rich(const struct tree *tree)
{
    assert_true(tree->yes && tree->mark && tree->has_inner);
    assert_int_equal(tree->i32, -5);
    assert_int_equal(tree->u32, UINT32_MAX);
    assert_true(tree->u64 == UINT64_MAX);
    assert_true(tree->opt_bool.set && !tree->opt_bool.value);
    assert_true(tree->opt_i32.set && tree->opt_i32.value == 0);
    assert_true(tree->opt_u32.set && tree->opt_u32.value == 7);
    assert_true(tree->opt_time.set && tree->opt_time.value == 1893553445);
    assert_string_equal(tree->string, "a < b");
    assert_string_equal(tree->defaulted, "d");
    assert_int_equal(tree->bytes.len, 3);
    assert_memory_equal(tree->bytes.data, "\1\2\3", 3);
    assert_string_equal(secret_peek(tree->secret), " s e ");
    assert_int_equal(tree->strings.n, 2);
    assert_string_equal(tree->strings.items[1], "y");
    assert_int_equal(tree->numbers.n, 2);
    assert_int_equal(tree->numbers.items[1], -2);
    assert_int_equal(tree->n_leaves, 2);
    assert_string_equal(tree->leaves[1].label, "l2");
    assert_string_equal(tree->leaves[1].text, "t2");
    assert_string_equal(tree->leaf->text, "t3");
    assert_string_equal(tree->inner, "deep");
}

TEST(xmap_reads_every_type)
{
    CLEANUP(tree_clear) struct tree tree = read_ok(rich);

    is_rich(&tree);
}

TEST(xmap_reads_in_any_order_and_skips_what_is_unknown)
{
    CLEANUP(tree_clear)
    struct tree tree =
        read_ok("<new><deep/></new><string>s</string><o:yes>no</o:yes><yes> 1 </yes><String>no</String>");

    assert_true(tree.yes);
    assert_string_equal(tree.string, "s");
}

TEST(xmap_gives_back_what_it_wrote)
{
    CLEANUP(tree_clear) struct tree tree = read_ok(rich);
    CLEANUP(tree_clear) struct tree again = {0};
    CLEANUP(bytes_clear) struct bytes first = {0};
    CLEANUP(bytes_clear) struct bytes second = {0};
    CLEANUP(xmldoc_freep) struct xmldoc *doc = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(write_tree(&tree, &first, &err) == 0, err);
    assert_ok(xmldoc_parse(first.data, first.len, &doc, &err) == 0, err);
    assert_true(xmlnode_is(xmldoc_root(doc), NS, "tree"));
    assert_ok(xmap_parse(&tree_map, xmldoc_root(doc), &again, NULL, &err) == 0, err);
    is_rich(&again);
    assert_ok(write_tree(&again, &second, &err) == 0, err);
    assert_string_equal(bytes_text(&first), bytes_text(&second));
}

TEST(xmap_writes_in_the_tables_order_with_nil_where_it_must)
{
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    struct tree tree = {.yes = true};

    assert_ok(write_tree(&tree, &out, &err) == 0, err);
    assert_string_equal(bytes_text(&out),
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
        "<tree xmlns=\"urn:test\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">"
        "<yes>true</yes><i32>0</i32><u32>0</u32><u64>0</u64><optBool xsi:nil=\"true\"/><optI32 xsi:nil=\"true\"/>"
        "<optU32 xsi:nil=\"true\"/><optTime xsi:nil=\"true\"/><defaulted/><bytes xsi:nil=\"true\"/>"
        "<strings xsi:nil=\"true\"/><numbers xsi:nil=\"true\"/><leaves xsi:nil=\"true\"/><nest xsi:nil=\"true\"/>"
        "</tree>");
}

TEST(xmap_nil_absent_and_empty_read_alike)
{
    static const char *const forms[] = {
        "",
        ("<optU32 i:nil='true'/><string i:nil='1'/><strings i:nil='true'/><leaves i:nil='true'/><nest i:nil='true'/>"
         "<one i:nil='true'/><mark i:nil='true'/><bytes i:nil='true'/><numbers i:nil='true'/>"),
        "<string/><strings/><numbers/><leaves> </leaves><nest/><bytes/>",
    };

    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        CLEANUP(mem_freep) char *inside = mem_printf("<yes>false</yes>%s", forms[i]);
        CLEANUP(tree_clear) struct tree tree = read_ok(inside);

        assert_false(tree.opt_u32.set || tree.has_inner || tree.mark);
        assert_null(tree.string);
        assert_null(tree.leaf);
        assert_int_equal(tree.strings.n + tree.numbers.n + tree.n_leaves + tree.bytes.len, 0);
        assert_string_equal(tree.defaulted, "");
    }
}

TEST(xmap_refuses_a_required_field_that_is_missing_or_nil)
{
    refused("", "in <tree>: line 1: <tree>: yes is missing");
    refused("<yes i:nil='true'/>", "yes is empty or nil");
    refused("<yes>1</yes><one>t</one>", "in <tree>: in <one>: line 2: <one>: label is missing");
    refused("<yes>1</yes><one label='l'/>", "in <tree>: in <one>: line 2: <one> is empty");
}

TEST(xmap_refuses_an_element_that_is_there_twice)
{
    refused("<yes>1</yes><string>a</string>\n<string>b</string>", "line 3: <string> is there twice");
    refused("<yes>1</yes><string i:nil='true'/><string>b</string>", "<string> is there twice");
}

TEST(xmap_refuses_wrong_values_and_names_the_path)
{
    refused("<yes>TRUE</yes>", "in <tree>: line 2: <yes>: 'TRUE' is not true or false");
    refused("<yes>1</yes><i32>2147483648</i32>", "<i32>: '2147483648' is not a number of 32 bits");
    refused("<yes>1</yes><u32>4294967296</u32>", "<u32>");
    refused("<yes>1</yes><u32>-2147483649</u32>", "<u32>");
    refused("<yes>1</yes><u32></u32>", "<u32>: '' is not a number");
    refused("<yes>1</yes><u32>0x10</u32>", "<u32>: '0x10'");
    refused("<yes>1</yes><u32>1 2</u32>", "<u32>: '1 2'");
    refused("<yes>1</yes><u64>18446744073709551616</u64>", "<u64>");
    refused("<yes>1</yes><u64>-1</u64>", "<u64>");
    refused("<yes>1</yes><optTime>tomorrow</optTime>", "<optTime>: 'tomorrow' is not a date");
    refused("<yes>1</yes><bytes>AQI</bytes>", "<bytes>: base64 ends");
    refused("<yes>1</yes><string>a<b/></string>", "<string> should hold text only");
    refused(
        "<yes>1</yes><numbers>\n<number>one</number></numbers>", "in <tree>: in <numbers>: line 3: <number>: 'one'");
}

TEST(xmap_takes_negative_flag_words_as_twos_complement)
{
    CLEANUP(tree_clear) struct tree tree = read_ok("<yes>1</yes><u32>-1509949440</u32><optU32>-2147483648</optU32>");

    assert_int_equal(tree.u32, 0xa6000000);
    assert_int_equal(tree.opt_u32.value, 0x80000000);
}

TEST(xmap_limits_strings_bytes_and_lists)
{
    refused("<yes>1</yes><string>12345678901234567</string>", "<string>: 17 bytes, and 16 are the most");
    refused("<yes>1</yes><bytes>AQIDBAUGBwgJ</bytes>", "<bytes>: more than 8 bytes");
    refused("<yes>1</yes><strings><string/><string/><string/><string/></strings>", "<strings> has 4 <string>, and 3");
    refused("<yes>1</yes><strings><string>12345678901234567</string></strings>", "<string> has 17 bytes");
    refused("<yes>1</yes><numbers><number>1</number><number>1</number><number>1</number><number>1</number></numbers>",
        "<numbers> has 4 <number>");
    refused("<yes>1</yes><leaves><leaf/><leaf/><leaf/><leaf/></leaves>", "<leaves> has 4 <leaf>");
    refused("<yes>1</yes><one label='12345678901234567'>t</one>", "<one label>: 17 bytes");
}

TEST(xmap_leaves_out_a_bad_item_and_keeps_the_reason)
{
    CLEANUP(tree_clear) struct tree tree = {0};
    CLEANUP(strlist_clear) struct strlist skipped = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(
        parse("<yes>1</yes><leaves><leaf label='a'>1</leaf>\n<leaf label='b'/>\n<leaf label='c'>3</leaf></leaves>",
            &tree, &skipped, &err) == 0,
        err);
    assert_int_equal(tree.n_leaves, 2);
    assert_string_equal(tree.leaves[1].label, "c");
    assert_int_equal(skipped.n, 1);
    assert_string_equal(skipped.items[0], "<leaf> 'b': line 3: <leaf> is empty");
}

TEST(xmap_shows_outside_text_safely)
{
    refused("<yes>\xc2\x9b[31m</yes>", "'\\u{9b}[31m'");
}

TEST(xmap_secrets_never_reach_an_error)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct tree tree = {0};

    assert_int_equal(parse("<yes>1</yes><secret>correct horse battery staple</secret>", &tree, NULL, &err), -1);
    assert_contains(err_text(err), "28 bytes, and 16 are the most");
    assert_null(strstr(err_text(err), "correct"));
}

TEST(xmap_refuses_to_write_what_cannot_stand_in_xml)
{
    static const char *const texts[] = {"\x01", "a\x1b[0m", "\x7f\xff", "\xed\xa0\x80", "\xef\xbf\xbe", "\xc3"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(bytes_clear) struct bytes out = {0};
        CLEANUP(mem_freep) char *text = mem_strdup(texts[i]);
        struct tree tree = {.string = text};

        assert_int_equal(write_tree(&tree, &out, &err), -1);
        assert_string_equal(err_text(err), "<string> has a character that cannot stand in XML");
        assert_int_equal(out.len, 0);
    }
}

TEST(xmap_refuses_to_write_over_a_limit_or_without_a_required_value)
{
    CLEANUP(err_freep) struct err *long_string = NULL;
    CLEANUP(err_freep) struct err *no_text = NULL;
    CLEANUP(bytes_clear) struct bytes out = {0};
    char text[] = "12345678901234567";
    struct leaf leaf = {.label = text + 10};
    struct tree tree = {.string = text};

    assert_int_equal(write_tree(&tree, &out, &long_string), -1);
    assert_contains(err_text(long_string), "<string> has 17 bytes");
    tree = (struct tree){.leaf = &leaf};
    assert_int_equal(write_tree(&tree, &out, &no_text), -1);
    assert_contains(err_text(no_text), "has no value");
}

TEST(xmlout_escapes_so_that_the_same_text_comes_back)
{
    static const char text[] = "<&>\"' \t\n\r\xf0\x9f\x94\x91 ]]>";
    CLEANUP(xmlout_clear) struct xmlout x = {0};
    CLEANUP(bytes_clear) struct bytes out = {0};
    CLEANUP(xmldoc_freep) struct xmldoc *doc = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(xmltext_clear) struct xmltext content = {0};
    CLEANUP(mem_freep) char *attribute = NULL;

    xmlout_open(&x, "urn:a", "a");
    xmlout_attribute(&x, NULL, "k", text);
    xmlout_text(&x, text);
    xmlout_close(&x);
    assert_ok(xmlout_finish(&x, &out, &err) == 0, err);
    assert_ok(xmldoc_parse(out.data, out.len, &doc, &err) == 0, err);
    assert_int_equal(xmlnode_text(xmldoc_root(doc), &content, NULL), 0);
    assert_int_equal(content.len, sizeof(text) - 1);
    assert_memory_equal(content.at, text, content.len);
    attribute = xmlnode_attribute(xmldoc_root(doc), NULL, "k");
    assert_string_equal(attribute, text);
}

TEST(xmlout_declares_namespaces_where_they_change)
{
    CLEANUP(xmlout_clear) struct xmlout x = {0};
    CLEANUP(bytes_clear) struct bytes out = {0};

    xmlout_declare(&x, "p", "urn:p");
    xmlout_open(&x, "urn:p", "a");
    xmlout_open(&x, "urn:d", "b");
    xmlout_open(&x, "urn:d", "c");
    xmlout_close(&x);
    xmlout_declare(&x, "q", "urn:q");
    xmlout_open(&x, "urn:p", "d");
    xmlout_qname(&x, "urn:q", "n");
    xmlout_close(&x);
    xmlout_open(&x, "urn:q", "e");
    xmlout_close(&x);
    xmlout_close(&x);
    xmlout_close(&x);
    assert_int_equal(xmlout_finish(&x, &out, NULL), 0);
    assert_string_equal(strchr(bytes_text(&out), '\n') + 1,
        "<p:a xmlns:p=\"urn:p\"><b xmlns=\"urn:d\"><c/><p:d xmlns:q=\"urn:q\">q:n</p:d><e xmlns=\"urn:q\"/></b></p:a>");
}
