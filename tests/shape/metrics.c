#include <jansson.h>

#include "agent/daemon/metrics.h"
#include "tests/testing.h"

/* Whoever names a metric names one that there is. */

static void names_in(const char *file, struct strlist *out)
{
    CLEANUP(mem_freep) char *path = testing_source(file);
    CLEANUP(bytes_clear) struct bytes text = {0};
    char *position = NULL;

    assert_int_equal(
        testing_shell(&text, "grep -oE '\\bautoenroll_[a-z0-9_]+' '%s' | sed 's/_$//' | sort -u", path), 0);
    assert_true(text.len > 0);
    for (char *line = strtok_r((char *)text.data, "\n", &position); line; line = strtok_r(NULL, "\n", &position))
        strlist_add(out, line);
}

static bool is_metric(const char *name)
{
    for (size_t i = 0; metrics_row(i); i++)
        if (strcmp(metrics_row(i)->name, name) == 0)
            return true;
    return false;
}

TEST(alerts_and_dashboard_name_only_metrics_that_there_are)
{
    static const char *const files[] = {"packaging/monitoring/autoenroll.rules.yml",
        "packaging/monitoring/autoenroll.rules.test.yml", "packaging/monitoring/autoenroll.dashboard.json"};

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        CLEANUP(strlist_clear) struct strlist names = {0};

        names_in(files[i], &names);
        for (size_t k = 0; k < names.n; k++)
            if (!is_metric(names.items[k]))
                fail_msg("%s names %s, which is no metric", files[i], names.items[k]);
    }
}

TEST(man_page_describes_each_metric)
{
    CLEANUP(mem_freep) char *path = testing_source("packaging/man/autoenrolld.8.scd");
    CLEANUP(bytes_clear) struct bytes page = {0};

    testing_read(path, &page);
    for (size_t i = 0; metrics_row(i); i++) {
        CLEANUP(mem_freep) char *entry = mem_printf("*%s*", metrics_row(i)->name);

        assert_contains(bytes_text(&page), entry);
    }
}

TEST(names_of_metrics_follow_the_conventions)
{
    for (size_t i = 0; metrics_row(i); i++) {
        const struct metrics_row *row = metrics_row(i);
        size_t len = strlen(row->name);
        bool counter = strcmp(row->type, "counter") == 0;

        assert_true(strncmp(row->name, "autoenroll_", strlen("autoenroll_")) == 0);
        assert_int_equal(strspn(row->name, "abcdefghijklmnopqrstuvwxyz_"), len);
        assert_true(counter == (len > 6 && strcmp(row->name + len - 6, "_total") == 0));
        assert_true(row->help[strlen(row->help) - 1] == '.');
        assert_null(strpbrk(row->help, "\\\n"));
    }
}

TEST(alert_rules_pass_the_checks_of_their_own_tool)
{
    CLEANUP(mem_freep) char *dir = testing_source("packaging/monitoring");

    assert_int_equal(testing_shell(NULL, "cd '%s' && promtool check rules autoenroll.rules.yml >&2", dir), 0);
    assert_int_equal(testing_shell(NULL, "cd '%s' && promtool test rules autoenroll.rules.test.yml >&2", dir), 0);
}

TEST(dashboard_is_json_whose_panels_all_ask_for_something)
{
    CLEANUP(mem_freep) char *path = testing_source("packaging/monitoring/autoenroll.dashboard.json");
    json_error_t error;
    json_t *dashboard = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    const json_t *panel;
    size_t i;

    if (!dashboard)
        fail_msg("%s:%d: %s", path, error.line, error.text);
    assert_true(json_array_size(json_object_get(dashboard, "panels")) > 0);
    json_array_foreach (json_object_get(dashboard, "panels"), i, panel) {
        const json_t *target;
        size_t k;

        assert_non_null(json_string_value(json_object_get(panel, "title")));
        assert_true(json_array_size(json_object_get(panel, "targets")) > 0);
        json_array_foreach (json_object_get(panel, "targets"), k, target)
            assert_contains(json_string_value(json_object_get(target, "expr")), "autoenroll_");
    }
    json_decref(dashboard);
}
