#include <signal.h>

#include "agent/daemon/bus_objects.h"
#include "tests/ctl_fixture.h"

/*
 * Every method of every interface, as the daemon's own tables have them, by nobody, a member of the group, and root.
 * "corp" is no enrollment and no template, so that what is granted does little; the manager goes last, and its Reset
 * is its last row.
 */
struct object {
    const struct bus_class *class;
    char *path;
};

static void start(struct ctl_fixture *f, enum bus_polkit polkit)
{
    bus_fixture_need_root();
    ctl_fixture_prepare(f);
    bus_fixture_add_polkit(&f->bus, polkit);
    agent_fixture_section(f->agent, "web", "DeviceEC", "");
    ctl_fixture_start(f);
    ctl_login(f);
}

/* Calls it; an error of the daemon that is none of rights counts as granted. */
static bool is_granted(
    struct ctl_fixture *f, const char *user, const struct object *object, const struct bus_method *method)
{
    const struct bus_fixture_call call = {.path = object->path,
        .interface = object->class->interface->name,
        .member = method->name,
        .signature = method->in,
        .text = "corp"};
    CLEANUP(mem_freep) char *error = bus_fixture_call(&f->bus, user, &call);

    if (strncmp(error, "org.freedesktop.DBus.Error.AccessDenied ", 40) == 0) {
        if (!strstr(error, " may not "))
            fail_msg("%s by %s: no reason given: %s", method->name, user, error);
        return false;
    }
    if (*error && strncmp(error, BUS_ERROR, sizeof(BUS_ERROR) - 1) != 0)
        fail_msg("%s by %s: %s", method->name, user, error);
    return true;
}

static unsigned check_method(struct ctl_fixture *f, const struct object *object, const struct bus_method *method)
{
    bool for_all = method->right == BUS_ANYONE;
    const struct {
        const char *user;
        bool expected;
    } rows[] = {{BUS_FIXTURE_NOBODY, for_all}, {BUS_FIXTURE_MEMBER, true}, {"root", true}};

    print_message("%-14s", method->name);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        bool granted = is_granted(f, rows[i].user, object, method);

        print_message(" %s %s", rows[i].user, granted ? "may" : "may not");
        if (granted != rows[i].expected)
            fail_msg("%s %s %s", rows[i].user, granted ? "may" : "may not", method->name);
        if (strcmp(method->name, "Remove") == 0 && granted)
            break; /* it is gone for the next one */
    }
    print_message("\n");
    return 1;
}

static void check_all(struct ctl_fixture *f)
{
    char *job = NULL;
    struct object objects[] = {{&bus_job_class, NULL}, {&bus_watched_class, NULL},
        {&bus_server_class, buspath_make(BUS_SERVERS, "corp")},
        {&bus_enrollment_class, buspath_make(BUS_ENROLLMENTS, "web")}, {&bus_manager_class, mem_strdup(BUS_ROOT)}};
    unsigned n = 0, classes = 0;

    assert_int_equal(bus_fixture_as(&f->bus, NULL, "busctl call $R " BUS_MANAGER " Pulse | cut -d'\"' -f2"), 0);
    job = mem_strndup(bus_fixture_said(&f->bus), strcspn(bus_fixture_said(&f->bus), "\n"));
    objects[0].path = job;
    while (bus_classes[classes])
        classes++;
    assert_int_equal(classes, ARRAY_SIZE(objects));
    for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
        for (const struct bus_method *m = objects[i].class->interface->methods; m && m->name; m++)
            n += check_method(f, &objects[i], m);
    print_message("%u methods\n", n);
    assert_true(n >= 15);
    for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
        free(objects[i].path);
    ctl_fixture_stop(f, SIGKILL); /* what Reset has begun need not come to its end */
}

PRIVILEGED_TEST(bus_rights_of_every_method_without_polkit)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f = {0};

    start(&f, BUS_POLKIT_NONE);
    check_all(&f);
}

PRIVILEGED_TEST(bus_rights_of_every_method_with_the_real_polkit)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f = {0};

    start(&f, BUS_POLKIT_REAL);
    check_all(&f);
}

/* Reading is for everybody: the objects, their properties, what the manager tells, and the signals. */
PRIVILEGED_TEST(bus_is_read_whole_by_a_user_without_rights)
{
    static const char *const reads[] = {
        "busctl call $R org.freedesktop.DBus.ObjectManager GetManagedObjects",
        "busctl introspect $R && busctl tree " BUS_NAME,
        "busctl call $R " BUS_MANAGER " ListTemplates s corp",
        "busctl call $R " BUS_MANAGER " Plan x 0",
        "gdbus call --system --dest " BUS_NAME " --object-path " BUS_ROOT "/enrollments/web --method " BUS_ENROLLMENT
        ".Explain",
        "busctl get-property " BUS_NAME " " BUS_ROOT "/enrollments/web " BUS_ENROLLMENT " Certificate | grep BEGIN",
        "busctl introspect " BUS_NAME " " BUS_ROOT "/servers/corp " BUS_SERVER " | grep Uri",
    };
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f = {0};

    start(&f, BUS_POLKIT_NONE);
    for (size_t i = 0; i < ARRAY_SIZE(reads); i++)
        if (bus_fixture_as(&f.bus, BUS_FIXTURE_NOBODY, "%s", reads[i]) != 0)
            fail_msg("%s:\n%s", reads[i], bus_fixture_said(&f.bus));
    assert_int_not_equal(
        bus_fixture_as(&f.bus, BUS_FIXTURE_NOBODY,
            "dbus-send --system --print-reply --dest=" BUS_NAME " " BUS_ROOT " " BUS_MANAGER ".Reload"),
        0);
    assert_contains(bus_fixture_said(&f.bus), "org.freedesktop.DBus.Error.AccessDenied");
    assert_contains(
        bus_fixture_said(&f.bus), "may not configure: there is no polkit here that answers, so only root and");
}

PRIVILEGED_TEST(bus_name_cannot_be_taken_by_a_user)
{
    CLEANUP(ctl_fixture_clear) struct ctl_fixture f = {0};

    bus_fixture_need_root();
    ctl_fixture_prepare(&f);
    assert_int_not_equal(bus_fixture_as(&f.bus, BUS_FIXTURE_NOBODY,
                             "dbus-send --system --print-reply --dest=org.freedesktop.DBus / "
                             "org.freedesktop.DBus.RequestName string:" BUS_NAME " uint32:4"),
        0);
    assert_contains(bus_fixture_said(&f.bus), "AccessDenied");
}
