#include "agent/daemon/bus.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bus_fixture.h"

/* A small program on the bus: a manager and some things. */
struct thing {
    char *name;
    int64_t when;
    bool broken;
};
struct program {
    struct bus_fixture fixture;
    struct event_base *base;
    struct bus *bus;
    struct thing things[3];
    size_t n;
    struct bus_call *held;
    unsigned dropped, hit;
    struct bytes log;
    unsigned ups;
};

/* --- its rows --- */

static int add(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    (void)self;
    (void)about;
    if (strcmp(bus_arg_text(call, 0), "fail") == 0) {
        err_set(errp, ERR_NETWORK, "no <way> to %s",
            bus_option_has(call, "place") ? bus_option_text(call, "place") : "\xff");
        return err_hint(errp, "plug it in");
    }
    bus_put_text(out, bus_arg_text(call, 0));
    bus_put_time(out, bus_arg_time(call, 1) + bus_option_bool(call, "more"));
    return 0;
}

static int hit(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    struct program *p = self;

    (void)about;
    (void)out;
    (void)errp;
    p->hit++;
    assert_contains(bus_call_caller(call), "uid ");
    return 0;
}

static void dropped(void *ctx)
{
    struct program *p = ctx;

    p->dropped++;
    p->held = NULL;
}

static int hold(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp)
{
    struct program *p = self;

    (void)about;
    (void)out;
    (void)errp;
    bus_call_hold(call, dropped, p);
    p->held = call;
    return BUS_LATER;
}

static void get_many(void *self, const void *about, struct bus_out *out)
{
    (void)self;
    (void)about;
    bus_begin_array(out, "a{sv}");
    bus_begin_array(out, "{sv}");
    bus_entry_u32(out, "Number", 7);
    bus_entry_texts(out, "Texts", &(struct strlist){0});
    bus_end(out);
    bus_end(out);
}

static const struct bus_option add_options[] = {{"more", 'b', "one more"}, {"place", 's', "a \"place\" & more"}, {0}};
static const struct bus_method manager_methods[] = {
    {"Add", "sxa{sv}", "text number options", "sx", "text sum", BUS_ANYONE, add, "Adds.", add_options},
    {"Hit", "", "", "", "", BUS_CONFIGURE, hit, "Hits.", NULL},
    {"Hold", "", "", "", "", BUS_ANYONE, hold, "Answers later.", NULL},
    {0},
};
static const struct bus_property manager_properties[] = {
    {"Many", "aa{sv}", get_many, .flags = BUS_CONSTANT, .doc = "Many"},
    {0},
};
static const struct bus_interface manager_interface = {
    .name = BUS_MANAGER, .doc = "A manager.", .methods = manager_methods, .properties = manager_properties};

static const struct bus_property thing_properties[] = {
    {"Name", BUS_MEMBER(struct thing, name, "s", char *), .flags = BUS_CONSTANT, .doc = "Its name"},
    {"When", BUS_MEMBER(struct thing, when, "x", int64_t), .doc = "A time"},
    {"Broken", BUS_MEMBER(struct thing, broken, "b", bool), .flags = BUS_BULKY, .doc = "It does not work"},
    {0},
};
static const struct bus_signal thing_signals[] = {
    {"Fell", "su", "where times", "It fell."},
    {0},
};
static const struct bus_interface thing_interface = {
    .name = BUS_NAME ".Thing", .doc = "A thing.", .properties = thing_properties, .signals = thing_signals};

static void *find_manager(void *self, const char *id)
{
    (void)id;
    return self;
}

static void each_manager(void *self, void (*call)(void *ctx, const char *id, void *about), void *ctx)
{
    call(ctx, "", self);
}

static void *find_thing(void *self, const char *id)
{
    struct program *p = self;

    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->things[i].name, id) == 0)
            return &p->things[i];
    return NULL;
}

static void each_thing(void *self, void (*call)(void *ctx, const char *id, void *about), void *ctx)
{
    struct program *p = self;

    for (size_t i = 0; i < p->n; i++)
        call(ctx, p->things[i].name, &p->things[i]);
}

static const struct bus_class manager_class = {
    .interface = &manager_interface, .find = find_manager, .each = each_manager};
static const struct bus_class thing_class = {
    .kind = "things", .interface = &thing_interface, .find = find_thing, .each = each_thing};
static const struct bus_class *const classes[] = {&manager_class, &thing_class, NULL};

/* --- running it --- */

static void up(void *self, bool owned)
{
    struct program *p = self;

    p->ups += owned;
}

static void hear_log(void *self, bool wrong, const char *text)
{
    struct program *p = self;

    (void)bytes_printf(&p->log, NULL, "%s%s\n", wrong ? "wrong: " : "", text);
}

static void begin(struct program *p)
{
    const struct bus_config config = {
        .bus = "system", .classes = classes, .self = p, .up = up, .log = hear_log, .base = p->base};
    CLEANUP(err_freep) struct err *err = NULL;

    assert_ok(bus_new(&config, &p->bus, &err) == 0, err);
}

static void turn_for(struct program *p, int ms)
{
    struct timeval limit = {ms / 1000, ms % 1000 * 1000};

    (void)event_base_loopexit(p->base, &limit);
    (void)event_base_dispatch(p->base);
}

static void turn_until(struct program *p, bool wanted)
{
    for (int i = 0; i < 500 && bus_is_up(p->bus) != wanted; i++)
        turn_for(p, 20);
    assert_true(bus_is_up(p->bus) == wanted);
}

static void start(struct program *p, enum bus_polkit polkit)
{
    *p = (struct program){.n = 2};
    bus_fixture_start(&p->fixture, polkit);
    p->base = event_base_new();
    p->things[0] = (struct thing){.name = mem_strdup("one"), .when = 11};
    p->things[1] = (struct thing){.name = mem_strdup("two-2"), .when = 22};
    begin(p);
    turn_until(p, true);
}

static void clear(struct program *p)
{
    bus_free(p->bus);
    event_base_free(p->base);
    for (size_t i = 0; i < ARRAY_SIZE(p->things); i++)
        free(p->things[i].name);
    bytes_clear(&p->log);
    bus_fixture_clear(&p->fixture);
}

/* Runs @command as @user and serves meanwhile; its exit status, and what it said in the fixture. */
static int ask_as(struct program *p, const char *user, const char *command)
{
    CLEANUP(mem_freep) char *out = mem_printf("%s/asked", p->fixture.dir);
    pid_t pid = fork();
    int status = 0;

    assert_true(pid >= 0);
    if (pid == 0) {
        status = bus_fixture_as(&p->fixture, user, "%s", command);
        testing_write(out, bytes_text(&p->fixture.out), p->fixture.out.len);
        _exit(status);
    }
    while (waitpid(pid, &status, WNOHANG) == 0)
        turn_for(p, 5);
    testing_read(out, &p->fixture.out);
    return WEXITSTATUS(status);
}

static int ask(struct program *p, const char *command)
{
    return ask_as(p, NULL, command);
}

static const char *said(const struct program *p)
{
    return bus_fixture_said(&p->fixture);
}

#define HIT     "gdbus call --system --dest " BUS_NAME " --object-path " BUS_ROOT " --method " BUS_MANAGER ".Hit"
#define MANAGER "busctl call $R " BUS_MANAGER " "

/* --- calls --- */

TEST(bus_call_is_decoded_and_answered)
{
    CLEANUP(clear) struct program p;

    start(&p, BUS_POLKIT_NONE);
    assert_int_equal(ask(&p, MANAGER "Add 'sxa{sv}' word 41 1 more b true"), 0);
    assert_string_equal(said(&p), "sx \"word\" 42\n");
}

TEST(bus_error_has_its_kind_chain_and_hint)
{
    CLEANUP(clear) struct program p;

    start(&p, BUS_POLKIT_NONE);
    assert_int_not_equal(ask(&p, "dbus-send --system --print-reply --dest=" BUS_NAME " " BUS_ROOT " " BUS_MANAGER
                                 ".Add string:fail int64:1 dict:string:string: "),
        0);
    assert_int_not_equal(ask(&p, "gdbus call --system --dest " BUS_NAME " --object-path " BUS_ROOT
                                 " --method " BUS_MANAGER ".Add fail 1 '{\"place\": <\"the moon\">}'"),
        0);
    assert_contains(said(&p), BUS_ERROR "Network: no <way> to the moon\nhint: plug it in");
}

TEST(bus_text_that_is_no_utf8_is_shown_as_such)
{
    CLEANUP(clear) struct program p;

    start(&p, BUS_POLKIT_NONE);
    assert_int_not_equal(ask(&p, MANAGER "Add 'sxa{sv}' fail 1 0"), 0);
    assert_contains(said(&p), "no <way> to \\xff");
}

TEST(bus_option_that_is_unknown_is_an_error_that_names_the_known_ones)
{
    CLEANUP(clear) struct program p;

    start(&p, BUS_POLKIT_NONE);
    assert_int_not_equal(ask(&p, MANAGER "Add 'sxa{sv}' word 1 1 les b true"), 0);
    assert_contains(said(&p), "Add has no option 'les'");
    assert_contains(said(&p), "its options are: more, place");
    assert_int_not_equal(ask(&p, MANAGER "Add 'sxa{sv}' word 1 1 more s yes"), 0);
    assert_contains(said(&p), "option 'more' of Add has type 'b'");
    assert_int_not_equal(ask(&p, MANAGER "Add 'sxa{sv}' word 1 2 more b true more b true"), 0);
    assert_contains(said(&p), "stands twice");
}

TEST(bus_says_what_is_not_there)
{
    static const struct {
        const char *command, *error;
    } rows[] = {
        {MANAGER "Nothing", "has no method " BUS_MANAGER ".Nothing"},
        {MANAGER "Add s word", "the arguments of Add are 'sxa{sv}', not 's'"},
        {"busctl call " BUS_NAME " " BUS_ROOT "/things/none " BUS_NAME ".Thing X", "there is no object"},
        {"busctl get-property " BUS_NAME " " BUS_ROOT "/things/one " BUS_NAME ".Thing X", "there is no property X"},
        {"busctl get-property " BUS_NAME " " BUS_ROOT "/things/one " BUS_NAME ".Other X", "no interface " BUS_NAME},
        {"busctl set-property " BUS_NAME " " BUS_ROOT "/things/one " BUS_NAME ".Thing When x 1", "can only be read"},
        {"busctl call " BUS_NAME " " BUS_ROOT "/things/one org.freedesktop.DBus.ObjectManager GetManagedObjects",
            "the object manager is " BUS_ROOT},
    };
    CLEANUP(clear) struct program p;

    start(&p, BUS_POLKIT_NONE);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_not_equal(ask(&p, rows[i].command), 0);
        assert_contains(said(&p), rows[i].error);
    }
}

TEST(bus_call_may_be_answered_later)
{
    CLEANUP(clear) struct program p;
    CLEANUP(err_freep) struct err *why = NULL;
    pid_t pid;
    int status;

    start(&p, BUS_POLKIT_NONE);
    pid = fork();
    if (pid == 0)
        _exit(bus_fixture_as(&p.fixture, NULL, MANAGER "Hold"));
    for (int i = 0; i < 500 && !p.held; i++)
        turn_for(&p, 20);
    assert_non_null(p.held);
    assert_int_equal(ask(&p, MANAGER "Add 'sxa{sv}' word 1 0"), 0); /* others are served meanwhile */
    (void)err_set(&why, ERR_BUSY, "not now");
    bus_call_done(p.held, why);
    while (waitpid(pid, &status, WNOHANG) == 0)
        turn_for(&p, 5);
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_int_equal(p.dropped, 0);
}

TEST(bus_call_that_is_held_is_dropped_with_the_bus)
{
    CLEANUP(clear) struct program p;
    pid_t pid;

    start(&p, BUS_POLKIT_NONE);
    pid = fork();
    if (pid == 0)
        _exit(bus_fixture_as(&p.fixture, NULL, MANAGER "Hold"));
    for (int i = 0; i < 500 && !p.held; i++)
        turn_for(&p, 20);
    bus_fixture_kill(&p.fixture);
    turn_until(&p, false);
    assert_int_equal(p.dropped, 1);
    (void)waitpid(pid, NULL, 0);
}

/* --- what is told without asking --- */

TEST(bus_introspection_is_well_formed_documented_and_ends)
{
    CLEANUP(clear) struct program p;

    start(&p, BUS_POLKIT_NONE);
    assert_int_equal(ask(&p, "timeout 10 busctl tree --list " BUS_NAME), 0);
    assert_string_equal(said(&p), "/\n/org\n/org/autoenroll\n" BUS_ROOT "\n" BUS_ROOT "/things\n" BUS_ROOT
                                  "/things/one\n" BUS_ROOT "/things/two_2d2\n");
    assert_int_equal(ask(&p, "gdbus introspect --system --dest " BUS_NAME " --object-path " BUS_ROOT
                             " --xml | xmllint --noout - && busctl introspect $R"),
        0);
    assert_contains(said(&p), ".Add");
    assert_contains(said(&p), "sxa{sv}");
    assert_int_equal(ask(&p, "dbus-send --system --print-reply=literal --dest=" BUS_NAME " " BUS_ROOT
                             " org.freedesktop.DBus.Introspectable.Introspect"),
        0);
    assert_contains(said(&p), "<arg name=\"sum\" type=\"x\" direction=\"out\"/>");
    assert_contains(said(&p), "Option 'place' (s): a &quot;place&quot; &amp; more");
    assert_contains(said(&p), "Needs the right " BUS_NAME ".configure.");
    assert_contains(said(&p), "EmitsChangedSignal\" value=\"const\"");
}

TEST(bus_managed_objects_are_all_there_is_but_for_what_is_bulky)
{
    CLEANUP(clear) struct program p;

    start(&p, BUS_POLKIT_NONE);
    assert_int_equal(ask(&p, "busctl call $R org.freedesktop.DBus.ObjectManager GetManagedObjects"), 0);
    assert_string_equal(said(&p),
        "a{oa{sa{sv}}} 2 "
        "\"" BUS_ROOT "/things/one\" 1 \"" BUS_NAME ".Thing\" 2 \"Name\" s \"one\" \"When\" x 11 "
        "\"" BUS_ROOT "/things/two_2d2\" 1 \"" BUS_NAME ".Thing\" 2 \"Name\" s \"two-2\" \"When\" x 22\n");
    assert_int_equal(ask(&p, "busctl call " BUS_NAME " " BUS_ROOT
                             "/things/one org.freedesktop.DBus.Properties GetAll s " BUS_NAME ".Thing"),
        0);
    assert_string_equal(said(&p), "a{sv} 3 \"Name\" s \"one\" \"When\" x 11 \"Broken\" b false\n");
    assert_int_equal(ask(&p, "busctl get-property $R " BUS_MANAGER " Many"), 0);
    assert_string_equal(said(&p), "aa{sv} 1 2 \"Number\" u 7 \"Texts\" as 0\n");
}

/* What gdbus monitor sees while @act does something. */
static void watch(struct program *p, void (*act)(struct program *p))
{
    CLEANUP(mem_freep) char *path = mem_printf("%s/seen", p->fixture.dir);
    pid_t pid = fork();

    if (pid == 0) {
        (void)bus_fixture_as(
            &p->fixture, NULL, "timeout 60 dbus-monitor --system \"sender='" BUS_NAME "',type='signal'\" >'%s'", path);
        _exit(0);
    }
    while (testing_shell(NULL, "grep -q NameAcquired '%s' 2>/dev/null", path) != 0)
        turn_for(p, 20);
    turn_for(p, 100);
    act(p);
    turn_for(p, 300);
    testing_read(path, &p->fixture.out);
    (void)testing_shell(NULL, "pkill -P %d timeout; true", (int)pid);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

static void change_things(struct program *p)
{
    p->things[0].when = 12;
    bus_emit(p->bus, &thing_class, "one", "Fell", "the roof", 3u);
    bus_changed(p->bus, &thing_class, "one");
    bus_changed(p->bus, &thing_class, "two-2"); /* nothing has */
    p->things[2] = (struct thing){.name = mem_strdup("three"), .when = 33};
    p->n = 3;
    bus_added(p->bus, &thing_class, "three");
    bus_changed(p->bus, &thing_class, "three");
}

static size_t count(const char *text, const char *word)
{
    size_t n = 0;

    for (const char *at = text; (at = strstr(at, word)); at++)
        n++;
    return n;
}

TEST(bus_tells_each_change_once_and_only_what_changed)
{
    CLEANUP(clear) struct program p;
    const char *changed, *fell;

    start(&p, BUS_POLKIT_NONE);
    watch(&p, change_things);
    changed = strstr(said(&p), "member=PropertiesChanged");
    fell = strstr(said(&p), "member=Fell");
    assert_non_null(changed);
    assert_true(fell > changed); /* who hears it and looks sees what it is about */
    assert_int_equal(count(said(&p), "member=PropertiesChanged"), 1);
    assert_int_equal(count(said(&p), "member=InterfacesAdded"), 1);
    assert_contains(said(&p), "int64 12");
    assert_contains(said(&p), "string \"the roof\"\n   uint32 3");
    assert_int_equal(count(said(&p), "\"Broken\""), 0);
}

static void lose_a_thing(struct program *p)
{
    free(p->things[1].name);
    p->things[1].name = NULL;
    p->n = 1;
    bus_compare(p->bus, &thing_class);
}

TEST(bus_compare_tells_what_has_gone)
{
    CLEANUP(clear) struct program p;

    start(&p, BUS_POLKIT_NONE);
    watch(&p, lose_a_thing);
    assert_contains(said(&p), "member=InterfacesRemoved");
    assert_contains(said(&p), "object path \"" BUS_ROOT "/things/two_2d2\"");
    assert_int_equal(count(said(&p), "/things/one\""), 0);
}

/* --- the bus itself --- */

TEST(bus_that_goes_away_is_come_back_to)
{
    CLEANUP(clear) struct program p;

    start(&p, BUS_POLKIT_NONE);
    bus_fixture_kill(&p.fixture);
    turn_until(&p, false);
    turn_for(&p, 1000);
    bus_fixture_restart(&p.fixture);
    turn_until(&p, true);
    assert_int_equal(p.ups, 2);
    assert_int_equal(ask(&p, MANAGER "Add 'sxa{sv}' word 1 0"), 0);
    assert_int_equal(count(bytes_text(&p.log), "wrong: the bus has gone"), 1);
    assert_contains(bytes_text(&p.log), "the bus is there");
}

TEST(bus_name_that_somebody_has_is_waited_for_and_told_once)
{
    CLEANUP(clear) struct program p;
    struct bus *first;

    start(&p, BUS_POLKIT_NONE);
    first = p.bus;
    begin(&p);
    turn_for(&p, 1500);
    assert_false(bus_is_up(p.bus));
    assert_int_equal(count(bytes_text(&p.log), "another program on the bus is " BUS_NAME), 1);
    bus_free(first);
    turn_until(&p, true);
}

TEST(bus_that_is_silent_holds_nobody_up)
{
    CLEANUP(clear) struct program p;

    start(&p, BUS_POLKIT_NONE);
    bus_free(p.bus);
    assert_int_equal(kill(p.fixture.pid, SIGSTOP), 0);
    begin(&p);
    turn_for(&p, 300);
    assert_false(bus_is_up(p.bus));
    assert_int_equal(kill(p.fixture.pid, SIGCONT), 0);
    turn_until(&p, true);
}

/* --- rights --- */

TEST(bus_right_is_that_of_whoever_runs_as_we_do)
{
    CLEANUP(clear) struct program p;

    start(&p, BUS_POLKIT_NONE);
    assert_int_equal(ask(&p, HIT), 0);
    assert_int_equal(p.hit, 1);
    assert_contains(bytes_text(&p.log), "Hit of '" BUS_NAME "' asked for by uid");
}

static void assert_rights(struct program *p, bool member)
{
    assert_int_not_equal(ask_as(p, BUS_FIXTURE_NOBODY, HIT), 0);
    assert_contains(said(p), "may not configure");
    assert_int_equal(ask_as(p, BUS_FIXTURE_NOBODY, MANAGER "Add 'sxa{sv}' word 1 0"), 0);
    assert_int_equal(ask_as(p, BUS_FIXTURE_MEMBER, HIT), member ? 0 : 1);
    assert_int_equal(ask_as(p, "root", HIT), 0);
    assert_int_equal(p->hit, member ? 2 : 1);
}

PRIVILEGED_TEST(bus_rights_without_polkit_are_those_of_the_group)
{
    CLEANUP(clear) struct program p = {0};

    bus_fixture_need_root();
    start(&p, BUS_POLKIT_NONE);
    assert_rights(&p, true);
}

PRIVILEGED_TEST(bus_rights_are_what_the_real_polkit_says)
{
    CLEANUP(clear) struct program p = {0};

    bus_fixture_need_root();
    start(&p, BUS_POLKIT_REAL);
    assert_rights(&p, true);
    assert_int_not_equal(ask_as(&p, BUS_FIXTURE_NOBODY, HIT), 0);
    assert_contains(said(&p), "polkit's action " BUS_NAME ".configure is not granted");
}

PRIVILEGED_TEST(bus_rights_are_those_of_the_group_where_polkit_is_silent)
{
    CLEANUP(clear) struct program p = {0};
    int status;
    pid_t pid;

    bus_fixture_need_root();
    start(&p, BUS_POLKIT_SILENT);
    pid = fork();
    if (pid == 0)
        _exit(bus_fixture_as(&p.fixture, BUS_FIXTURE_NOBODY, HIT));
    turn_for(&p, 1000);
    assert_int_equal(ask_as(&p, BUS_FIXTURE_NOBODY, MANAGER "Add 'sxa{sv}' word 1 0"), 0);
    assert_int_equal(waitpid(pid, &status, WNOHANG), 0); /* it still waits, and holds up nobody */
    while (waitpid(pid, &status, WNOHANG) == 0)
        turn_for(&p, 5);
    assert_int_not_equal(status, 0);
    assert_rights(&p, true);
}
