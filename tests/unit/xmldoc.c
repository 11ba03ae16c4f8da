#include "tests/testing.h"

#include "protocol/xml/xmldoc.h"
#include "protocol/xml/xmlnode.h"

#include <unistd.h>

static struct xmldoc *parse_ok(const char *text)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct xmldoc *doc = NULL;

    assert_ok(xmldoc_parse(text, strlen(text), &doc, &err) == 0, err);
    return doc;
}

/* Fails unless @data is refused with an error that contains @expected. */
static void refused(const void *data, size_t len, const char *expected)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct xmldoc *doc = NULL;

    assert_int_equal(xmldoc_parse(data, len, &doc, &err), -1);
    assert_null(doc);
    assert_int_equal(err_kind(err), ERR_INVALID);
    assert_contains(err_text(err), expected);
}

static void refused_text(const char *text, const char *expected)
{
    refused(text, strlen(text), expected);
}

/* @n times @what; returns owned. */
static char *repeat(const char *what, size_t n)
{
    size_t len = strlen(what);
    char *all = mem_alloc(n * len + 1);

    for (size_t i = 0; i < n; i++)
        memcpy(all + i * len, what, len);
    return all;
}

static char *text_of(const struct _xmlNode *element)
{
    CLEANUP(err_freep) struct err *err = NULL;
    char *text = NULL;

    assert_ok(xmlnode_string(element, 1000, &text, &err) == 0, err);
    return text;
}

TEST(xmldoc_reads_names_namespaces_and_attributes)
{
    CLEANUP(xmldoc_freep)
    struct xmldoc *doc = parse_ok(
        "\xef\xbb\xbf<?xml version='1.0' encoding='utf-8'?>\n<!-- c --><p:a xmlns:p='urn:x' k=' v '>\n <b/></p:a>");
    const struct _xmlNode *root = xmldoc_root(doc);
    CLEANUP(mem_freep) char *k = xmlnode_attribute(root, NULL, "k");
    CLEANUP(mem_freep) char *none = xmlnode_attribute(root, "urn:x", "k");

    assert_true(xmlnode_is(root, "urn:x", "a"));
    assert_false(xmlnode_is(root, NULL, "a"));
    assert_string_equal(k, "v");
    assert_null(none);
    assert_true(xmlnode_is(xmlnode_first(root), NULL, "b"));
    assert_int_equal(xmlnode_line(xmlnode_first(root)), 3);
    assert_null(xmlnode_next(xmlnode_first(root)));
}

TEST(xmldoc_text_goes_on_across_comments_and_cdata)
{
    CLEANUP(xmldoc_freep)
    struct xmldoc *doc = parse_ok("<a> one<!-- not this --><?nor this?><![CDATA[ <two>]]>&amp;&#x33; </a>");
    CLEANUP(mem_freep) char *text = text_of(xmldoc_root(doc));

    assert_string_equal(text, "one <two>&3");
}

TEST(xmldoc_refuses_a_doctype)
{
    refused_text("<?xml version='1.0'?>\n<!DOCTYPE a>\n<a/>", "line 2");
    refused_text("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "DOCTYPE is not allowed");
}

TEST(xmldoc_refuses_entities)
{
    refused_text("<a>&nbsp;</a>", "line 1");
    refused_text("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>", "DOCTYPE is not allowed");
}

TEST(xmldoc_refuses_a_billion_laughs)
{
    refused_text("<!DOCTYPE l [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;'>]><l>&c;</l>",
        "DOCTYPE is not allowed");
}

TEST(xmldoc_reads_64_levels_and_refuses_65)
{
    CLEANUP(mem_freep) char *open = repeat("<a>", XMLDOC_MAX_DEPTH);
    CLEANUP(mem_freep) char *close = repeat("</a>", XMLDOC_MAX_DEPTH);
    CLEANUP(mem_freep) char *deepest = mem_printf("%s%s", open, close);
    CLEANUP(mem_freep) char *deeper = mem_printf("<a>%s%s</a>", open, close);
    CLEANUP(mem_freep) char *endless = repeat("<a>", 1000000);
    CLEANUP(xmldoc_freep) struct xmldoc *doc = parse_ok(deepest);

    assert_non_null(doc);
    refused_text(deeper, "more than 64 deep");
    refused_text(endless, "more than 64 deep");
}

TEST(xmldoc_refuses_a_huge_document)
{
    size_t len = XMLDOC_MAX_SIZE + 1;
    CLEANUP(mem_freep) char *data = mem_alloc(len + 1);

    memset(data, ' ', len);
    memcpy(data, "<a>", 3);
    memcpy(data + len - 4, "</a>", 4);
    refused(data, len, "16777216 are the most");
}

TEST(xmldoc_refuses_too_many_elements)
{
    CLEANUP(mem_freep) char *many = repeat("<b/>", XMLDOC_MAX_NODES);
    CLEANUP(mem_freep) char *text = mem_printf("<a>%s</a>", many);

    refused_text(text, "more than 600000 elements");
}

TEST(xmldoc_refuses_too_many_attributes)
{
    CLEANUP(bytes_clear) struct bytes text = {0};

    assert_int_equal(bytes_append_text(&text, "<a", NULL), 0);
    for (int i = 0; i <= XMLDOC_MAX_ATTRIBUTES; i++)
        assert_int_equal(bytes_printf(&text, NULL, " a%d=''", i), 0);
    assert_int_equal(bytes_append_text(&text, "/>", NULL), 0);
    refused(text.data, text.len, "more than 64 attributes");
}

/* Counted before libxml2 compares each attribute with all others; nothing that it sees otherwise may hide a tag. */
TEST(xmldoc_refuses_a_tag_without_end_wherever_it_hides)
{
    static const struct {
        const char *before, *behind;
    } cases[] = {
        {"<a>\n<b", "/></a>"}, {"<!-- <a ' --><a b=\"'\" c=\">\"", "/>"}, {"<a><![CDATA[<x \"]]><b", "/></a>"},
        {"<a><? <b", "/> ?></a>"},               /* no instruction, since it has no name */
        {"<?xml version='1.0' and <a", "/> ?>"}, /* no declaration */
    };
    CLEANUP(mem_freep) char *many = repeat(" a = '>'", XMLDOC_MAX_VALUES + 1);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(mem_freep) char *text = mem_printf("%s%s%s", cases[i].before, many, cases[i].behind);

        refused_text(text, "more than 256 attributes without another tag");
    }
}

TEST(xmldoc_takes_long_text)
{
    CLEANUP(mem_freep) char *many = repeat("QUJD\r\n", 100000);
    CLEANUP(mem_freep) char *text = mem_printf("<a><!-- %s --><b>%s</b><![CDATA[%s]]></a>", many, many, many);
    CLEANUP(xmldoc_freep) struct xmldoc *doc = parse_ok(text);

    assert_non_null(xmlnode_first(xmldoc_root(doc)));
}

TEST(xmldoc_refuses_truncated_input_at_every_byte)
{
    static const char whole[] = "<?xml version=\"1.0\"?><a x=\"1\"><b>t&amp;</b><!-- c --></a>";

    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        CLEANUP(err_freep) struct err *err = NULL;
        CLEANUP(mem_freep) char *cut = mem_dup(whole, len); /* so that a read behind the end is seen */
        struct xmldoc *doc = NULL;

        assert_int_equal(xmldoc_parse(cut, len, &doc, &err), -1);
        assert_contains(err_text(err), "line 1");
    }
}

TEST(xmldoc_refuses_malformed_input_and_says_where)
{
    refused_text("<a>\n<b></c></a>", "line 2");
    refused_text("<a>\n\n<p:b/></a>", "line 3");
    refused_text("<a/><b/>", "line 1");
    refused_text("<a b='1' b='2'/>", "line 1");
    refused_text("<a>\x01</a>", "line 1");
    refused_text("plain text", "not an XML document");
    refused_text("", "the document is empty");
}

TEST(xmldoc_refuses_other_encodings)
{
    static const char utf16[] = "\xff\xfe<\0a\0/\0>\0";

    refused(utf16, sizeof(utf16) - 1, "not an XML document in UTF-8");
    refused("<\0a\0/\0>\0", 8, "not an XML document in UTF-8");
    refused_text("<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe4</a>", "UTF-8");
    refused_text("<a>\xc3\x28</a>", "line 1");
    refused_text("<a>\xc0\xaf</a>", "line 1");
}

TEST(xmldoc_reads_utf8_whatever_is_declared)
{
    CLEANUP(xmldoc_freep) struct xmldoc *doc = parse_ok("<?xml version='1.0' encoding='UTF-7'?><a>+ADw-\xc3\xa4</a>");
    CLEANUP(mem_freep) char *text = text_of(xmldoc_root(doc));

    assert_string_equal(text, "+ADw-\xc3\xa4");
}

TEST(xmldoc_prints_nothing)
{
    char *dir = testing_tmpdir();
    CLEANUP(mem_freep) char *path = mem_printf("%s/stderr", dir);
    CLEANUP(bytes_clear) struct bytes printed = {0};
    int saved = dup(2);

    assert_non_null(freopen(path, "w", stderr));
    refused_text("<a><b>&x;</a>", "line 1");
    refused_text("<p:a xmlns:q='relative'/>", "line 1");
    fflush(stderr);
    dup2(saved, 2);
    testing_read(path, &printed);
    assert_int_equal(printed.len, 0);
    free(dir);
}

TEST(xmlnode_text_refuses_elements_inside)
{
    CLEANUP(xmldoc_freep) struct xmldoc *doc = parse_ok("<a>one<b/>two</a>");
    CLEANUP(err_freep) struct err *err = NULL;
    char *text = NULL;

    assert_int_equal(xmlnode_string(xmldoc_root(doc), 100, &text, &err), -1);
    assert_contains(err_text(err), "<a> should hold text only");
}

TEST(xmlnode_knows_nil_by_its_namespace)
{
    CLEANUP(xmldoc_freep)
    struct xmldoc *doc =
        parse_ok("<r><a i:nil='true' xmlns:i='http://www.w3.org/2001/XMLSchema-instance'/>"
                 "<b j:nil='1' xmlns:j='http://www.w3.org/2001/XMLSchema-instance'/>"
                 "<c nil='true'/><d i:nil='false' xmlns:i='http://www.w3.org/2001/XMLSchema-instance'/></r>");
    const struct _xmlNode *a = xmlnode_first(xmldoc_root(doc)), *b = xmlnode_next(a), *c = xmlnode_next(b),
                          *d = xmlnode_next(c);

    assert_true(xmlnode_is_nil(a));
    assert_true(xmlnode_is_nil(b));
    assert_false(xmlnode_is_nil(c));
    assert_false(xmlnode_is_nil(d));
}

TEST(xmlnode_resolves_qualified_names)
{
    CLEANUP(xmldoc_freep) struct xmldoc *doc = parse_ok("<r xmlns:p='urn:x'><a> p:n </a><b>q:n</b></r>");
    const struct _xmlNode *a = xmlnode_first(xmldoc_root(doc));
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(mem_freep) char *local = NULL;
    char *wrong = NULL;
    const char *ns = NULL;

    assert_ok(xmlnode_qname(a, &ns, &local, &err) == 0, err);
    assert_string_equal(ns, "urn:x");
    assert_string_equal(local, "n");
    assert_int_equal(xmlnode_qname(xmlnode_next(a), &ns, &wrong, &err), -1);
    assert_contains(err_text(err), "prefix 'q'");
}

TEST(xmlnode_wipes_a_secret)
{
    CLEANUP(xmldoc_freep) struct xmldoc *doc = parse_ok("<a>correct horse battery staple</a>");
    CLEANUP(xmltext_clear) struct xmltext text = {0};

    assert_int_equal(xmlnode_text(xmldoc_root(doc), &text, NULL), 0);
    assert_int_equal(text.len, 28);
    xmlnode_wipe(xmldoc_root(doc));
    for (size_t i = 0; i < 28; i++)
        assert_int_equal(text.at[i], 0);
}
