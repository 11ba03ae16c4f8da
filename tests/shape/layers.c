#include "tests/testing.h"

/*
 * Who may include whom, and which library stays behind which door. The folders and files named here are prefixes of
 * paths in the tree, separated by blanks; a folder may always include itself.
 */
static const struct {
    const char *folder, *may_include;
} layers[] = {
    {"protocol/base/", ""},
    {"protocol/xml/", "protocol/base/"},
    {"protocol/pki/", "protocol/base/"},
    {"protocol/soap/", "protocol/xml/ protocol/base/"},
    {"protocol/xcep/", "protocol/soap/ protocol/pki/ protocol/xml/ protocol/base/"},
    {"protocol/wstep/", "protocol/soap/ protocol/pki/ protocol/xml/ protocol/base/"},
    {"policy/", "protocol/"},
    {"agent/config/", "policy/ protocol/"},
    {"agent/job/", "policy/ protocol/"},
    {"agent/key/", "policy/ protocol/"},
    {"agent/request/", "agent/config/ agent/job/ agent/key/ policy/ protocol/"},
    {"agent/submit/", "agent/request/ agent/config/ agent/job/ agent/key/ policy/ protocol/"},
    {"agent/install/", "agent/submit/ agent/request/ agent/config/ agent/job/ agent/key/ policy/ protocol/"},
    {"agent/worker/",
        "agent/install/ agent/submit/ agent/request/ agent/config/ agent/job/ agent/key/ policy/ protocol/"},
    {"agent/daemon/", "agent/config/ agent/job/ policy/ protocol/base/"}, /* parses nothing from outside */
    {"agent/deploy/", "agent/config/ agent/job/ policy/ protocol/"},
    {"agent/ctl/", "agent/request/machine agent/config/ agent/job/ policy/ protocol/"},
    {"server-ref/", "agent/key/ protocol/"},
};

/* The first row that fits an #include counts. */
static const struct {
    const char *header, *door;
} doors[] = {
    {"openssl/crypto.h", "protocol/ policy/ agent/ server-ref/"}, /* wiping and comparing, everywhere */
    {"openssl/rand.h", "protocol/ policy/ agent/ server-ref/"},
    {"curl/", "agent/submit/http"},
    {"dbus/", "agent/daemon/bus agent/ctl/client"},
    {"event2/", "agent/daemon/ server-ref/"},
    {"libsecret/", "agent/worker/vault"},
    {"p11-kit/", "agent/key/token agent/key/key_token agent/install/place_token"},
    {"libxml/", "protocol/xml/ protocol/soap/ protocol/xcep/ protocol/wstep/"},
    {"openssl/", "protocol/pki/ protocol/base/secret protocol/base/digest agent/key/ agent/submit/http "
                 "agent/submit/peek server-ref/"},
    {"sqlite3.h", "server-ref/"},
    {"jansson.h", "agent/job/ agent/daemon/ agent/ctl/ server-ref/"},
    {"ini.h", "agent/config/ server-ref/"},
    {"crypt.h", "server-ref/"},
    {"gssapi/", "agent/submit/"},
    {"systemd/", "agent/daemon/"},
};

#define CODE "protocol policy agent server-ref"

static bool has_prefix(const char *path, const char *prefix, size_t len)
{
    return strncmp(path, prefix, len) == 0;
}

/* True when @path begins with one of the blank-separated @prefixes. */
static bool under_one_of(const char *path, const char *prefixes)
{
    while (*prefixes) {
        size_t len = strcspn(prefixes, " ");

        if (has_prefix(path, prefixes, len))
            return true;
        prefixes += len + strspn(prefixes + len, " ");
    }
    return false;
}

/* "path:#include ..." for every #include line of our code that begins with @quote; @out is the text, cut by strtok. */
static char *next_include(struct bytes *out, const char *quote, char **position)
{
    CLEANUP(mem_freep) char *root = testing_source("");

    if (!out->data) {
        assert_int_equal(
            testing_shell(out,
                "cd '%s' && grep -rHo --include='*.[ch]' '^#include %s[^\">]*' " CODE " | sed 's/#include .//'", root,
                quote),
            0);
        assert_true(out->len > 0);
        return strtok_r((char *)out->data, "\n", position);
    }
    return strtok_r(NULL, "\n", position);
}

TEST(layers_include_only_what_is_below_them)
{
    CLEANUP(bytes_clear) struct bytes lines = {0};
    char *position = NULL, *line;
    size_t wrong = 0;

    while ((line = next_include(&lines, "\"", &position))) {
        const char *included = strchr(line, ':') + 1;
        size_t i;

        for (i = 0; i < ARRAY_SIZE(layers); i++)
            if (has_prefix(line, layers[i].folder, strlen(layers[i].folder)))
                break;
        if (i == ARRAY_SIZE(layers)) {
            print_error("%s: no layer has this folder\n", line);
            wrong++;
        } else if (!under_one_of(included, layers[i].folder) && !under_one_of(included, layers[i].may_include)) {
            print_error("%.*s may not include \"%s\"\n", (int)strcspn(line, ":"), line, included);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

TEST(libraries_stay_behind_their_doors)
{
    CLEANUP(bytes_clear) struct bytes lines = {0};
    char *position = NULL, *line;
    size_t wrong = 0;

    while ((line = next_include(&lines, "<", &position))) {
        const char *included = strchr(line, ':') + 1;

        size_t i;

        for (i = 0; i < ARRAY_SIZE(doors) && !has_prefix(included, doors[i].header, strlen(doors[i].header)); i++)
            ;
        if (i < ARRAY_SIZE(doors) && !under_one_of(line, doors[i].door)) {
            print_error("%.*s may not include <%s>\n", (int)strcspn(line, ":"), line, included);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

TEST(headers_compile_alone)
{
    CLEANUP(mem_freep) char *root = testing_source("");

    assert_int_equal(
        testing_shell(NULL,
            "cd '%s' && flags=$(pkg-config --cflags libxml-2.0 p11-kit-1 libcurl libcrypto jansson dbus-1) && status=0 && "
            "for header in $(find " CODE " tests -name '*.h'); do "
            "  echo \"#include \\\"$header\\\"\" | gcc -std=gnu11 -Wall -Wextra -Werror -fsyntax-only -D_GNU_SOURCE "
            "-DOPENSSL_API_COMPAT=30000 -DOPENSSL_NO_DEPRECATED -I. $flags -x c - || { echo \"$header\" >&2; status=1; }; "
            "done; exit $status",
            root),
        0);
}

/* Every header of the code, as "path<TAB>its first line". */
static void read_first_lines(struct bytes *out)
{
    CLEANUP(mem_freep) char *root = testing_source("");

    assert_int_equal(testing_shell(out,
                         "cd '%s' && for header in $(find " CODE
                         " -name '*.h' | sort); do printf '%%s\\t%%s\\n' $header \"$(head -n1 $header)\"; "
                         "done",
                         root),
        0);
    assert_true(out->len > 0);
}

/* What stands between " - " and the end of the comment, the full stop cut off; NULL where there is none. */
static char *sentence_of(char *line)
{
    char *sentence = strstr(line, " - ");
    char *end = sentence ? strstr(sentence, " */") : NULL;

    if (!end || end[3] || (end[-1] != '.' && end[-1] != ']'))
        return NULL;
    end[end[-1] == '.' ? -1 : 0] = 0;
    return sentence + strlen(" - ");
}

TEST(headers_begin_with_their_name_and_one_sentence)
{
    CLEANUP(bytes_clear) struct bytes lines = {0};
    char *position = NULL;
    size_t wrong = 0;

    read_first_lines(&lines);
    for (char *line = strtok_r((char *)lines.data, "\n", &position); line; line = strtok_r(NULL, "\n", &position)) {
        char *first = strchr(line, '\t');
        CLEANUP(mem_freep) char *begin = NULL;

        *first++ = 0;
        begin = mem_printf("/* %s - ", strrchr(line, '/') + 1);
        if (!has_prefix(first, begin, strlen(begin)) || !sentence_of(first)) {
            print_error("%s begins with '%s'\n", line, first);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

TEST(readme_has_the_map_that_the_headers_make)
{
    CLEANUP(mem_freep) char *path = testing_source("README.md");
    CLEANUP(bytes_clear) struct bytes lines = {0};
    CLEANUP(bytes_clear) struct bytes readme = {0};
    char *position = NULL;
    size_t wrong = 0;

    read_first_lines(&lines);
    testing_read(path, &readme);
    for (char *line = strtok_r((char *)lines.data, "\n", &position); line; line = strtok_r(NULL, "\n", &position)) {
        const char *sentence = sentence_of(line);

        if (sentence && !strstr(bytes_text(&readme), sentence)) {
            print_error("README.md lacks '%s': packaging/map prints the map that it should have\n", sentence);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

TEST(lines_are_at_most_120_characters_and_hold_no_open_ends)
{
    CLEANUP(mem_freep) char *root = testing_source("");
    CLEANUP(bytes_clear) struct bytes found = {0};

    (void)testing_shell(
        &found, "cd '%s' && LC_ALL=C.UTF-8 grep -rnE --include='*.[ch]' '^.{121}|TODO|FIXME|XXX[^X]' " CODE, root);
    assert_string_equal(bytes_text(&found), "");
}

TEST(functions_are_at_most_80_lines_long)
{
    CLEANUP(mem_freep) char *root = testing_source("");
    CLEANUP(bytes_clear) struct bytes found = {0};

    assert_int_equal(
        testing_shell(&found,
            "cd '%s' && find " CODE " -name '*.c' | xargs awk "
            "'/^{$/ { begin = FNR } /^}$/ { if (begin && FNR - begin > 81) print FILENAME \":\" begin; begin = 0 }'",
            root),
        0);
    assert_string_equal(bytes_text(&found), "");
}

TEST(the_daemon_links_nothing_that_touches_the_network_or_parses)
{
    static const char *const never[] = {"libcurl", "libxml2", "p11-kit", "gssapi", "libsecret", "libssl", "softhsm"};
    CLEANUP(mem_freep) char *daemon = testing_bin("autoenrolld");
    CLEANUP(bytes_clear) struct bytes needed = {0};
    CLEANUP(bytes_clear) struct bytes loaded = {0};

    assert_int_equal(testing_shell(&needed, "readelf -d '%s' | grep NEEDED", daemon), 0);
    assert_int_equal(testing_shell(&loaded, "ldd '%s'", daemon), 0);
    assert_contains(bytes_text(&needed), "libc.so");
    for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
        if (strstr(bytes_text(&needed), never[i]) || strstr(bytes_text(&loaded), never[i]))
            fail_msg("autoenrolld links %s:\n%s", never[i], bytes_text(&loaded));
    }
}
