/* bus.h - our objects on D-Bus: tables, rights, introspection. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/job/buspath.h"
#include "protocol/base/bytes.h"
#include "protocol/base/err.h"

/*
 * A program on the bus is described by rows: classes of objects, each with one interface of methods, properties and
 * signals. The bus checks signature, options and right of a call, has the row's handler do it, and turns an err into a
 * D-Bus error; it answers Introspect, Properties, ObjectManager and Peer from the same rows. Objects are not kept: they
 * are found by the class's own lists whenever somebody asks.
 *
 * Everything is asynchronous: a bus that is silent or gone, a polkit that hangs and a client that reads nothing never
 * hold up the loop.
 */
struct bus;
struct bus_call; /* one call of a method, with its arguments */
struct bus_out;  /* where values are written */

/* What a caller must be allowed to: row name, polkit's action, what it is for a person. */
#define BUS_RIGHTS(X)                                                                                                  \
    X(ANYONE, NULL, "be read")                                                                                         \
    X(RENEW, BUS_NAME ".renew", "renew")                                                                               \
    X(ENROLL, BUS_NAME ".enroll", "enroll")                                                                            \
    X(CONFIGURE, BUS_NAME ".configure", "configure")
#define X(name, action, text) BUS_##name,
enum bus_right { BUS_RIGHTS(X) BUS_RIGHT__MAX };
#undef X

#define BUS_GROUP "autoenroll-admin" /* may do everything where there is no polkit */

/*
 * Does what was asked. @self is the config's, @about what the class's find gave. Reads arguments, calls one function,
 * writes the reply to @out, which must come out as the row says.
 * 0, or -1, or BUS_LATER: bus_call_hold was called, and bus_call_done follows.
 */
#define BUS_LATER 1
typedef int bus_handler(void *self, void *about, struct bus_call *call, struct bus_out *out, struct err **errp);

/* What may stand in an argument a{sv}: s, b, x or u. An unknown name is an error that names these. */
struct bus_option {
    const char *name;
    char type;
    const char *doc;
};
/* Names are separated by blanks, one for each complete type. Rows end with {0}. */
struct bus_method {
    const char *name;
    const char *in, *in_names;
    const char *out, *out_names;
    enum bus_right right;
    bus_handler *call;
    const char *doc;
    const struct bus_option *options; /* of the last argument, when that is a{sv}; NULL: none */
};

enum bus_property_flags {
    BUS_CONSTANT = 1, /* as long as the object is there */
    BUS_BULKY = 2,    /* given by Get and GetAll, and left out of GetManagedObjects and InterfacesAdded */
};
/* Either @get, or the member of @about at @offset: char * for s (NULL is ""), int64_t x, uint32_t u, bool b, struct
 * strlist as. */
struct bus_property {
    const char *name, *signature;
    void (*get)(void *self, const void *about, struct bus_out *out);
    size_t offset;
    unsigned flags;
    const char *doc;
};
#define BUS_MEMBER(type, member, sig, c_type)                                                                          \
    .signature = (sig),                                                                                                \
    .offset = offsetof(type, member) + 0 * sizeof(char[_Generic(((type *)0)->member, c_type : 1, default               \
                                                                : -1)])
#define BUS_MEMBER_TEXTS(type, member) BUS_MEMBER(type, member, "as", struct strlist)

struct bus_signal {
    const char *name, *in, *in_names;
    const char *doc;
};

struct bus_interface {
    const char *name, *doc;
    const struct bus_method *methods; /* each NULL: none */
    const struct bus_property *properties;
    const struct bus_signal *signals;
};

struct bus_class {
    const char *kind; /* objects are at BUS_ROOT/KIND/ID; NULL: the one at BUS_ROOT */
    const struct bus_interface *interface;
    bool many; /* thousands: nothing is kept of each, and a change tells every property that can change */
    void *(*find)(void *self, const char *id); /* what the object is about, or NULL; the root's with "" */
    void (*each)(void *self, void (*call)(void *ctx, const char *id, void *about), void *ctx);
};

struct bus_config {
    const char *bus;                        /* "system" or "session", or a D-Bus address */
    const struct bus_class *const *classes; /* the root first, NULL at the end; borrowed */
    void *self;
    struct event_base *base;
    void (*up)(void *self, bool owned); /* the name is ours, or is not any more; may be NULL */
    void (*log)(
        void *self, bool wrong, const char *text); /* who did what, and what is wrong with the bus; may be NULL */
};

/*
 * Begins to connect. A bus that is not there, or goes away, or a name that somebody else has is tried again with
 * growing intervals, up to BUS_RETRY_MAX seconds, and told in the log once.
 * 0, or -1 with ERR_INTERNAL.
 */
#define BUS_RETRY_MAX 30
int bus_new(const struct bus_config *config, struct bus **out, struct err **errp);
void bus_free(struct bus *bus); /* NULL is fine; calls that are held are dropped; what is queued is sent first */
DEFINE_FREEP(struct bus, bus_free)
bool bus_is_up(const struct bus *bus);

/* --- news. They are told once in a turn of the loop, in this order; a property only when its value is another. --- */

void bus_added(struct bus *bus, const struct bus_class *class, const char *id);
void bus_changed(struct bus *bus, const struct bus_class *class, const char *id);
void bus_removed(struct bus *bus, const struct bus_class *class, const char *id);
/* Compares what was told of a class that is not `many` with what there is: objects that came, went and changed. */
void bus_compare(struct bus *bus, const struct bus_class *class);
/* Arguments as the row says: const char * for s, int64_t x, uint32_t u. What changed before is told before. */
void bus_emit(struct bus *bus, const struct bus_class *class, const char *id, const char *signal, ...);

/* --- arguments --- */

const char *bus_arg_text(const struct bus_call *call, size_t i); /* borrowed */
int64_t bus_arg_time(const struct bus_call *call, size_t i);
int bus_arg_take_fd(struct bus_call *call, size_t i); /* owned by the caller from now on; -1: taken already */
bool bus_option_has(const struct bus_call *call, const char *name);
const char *bus_option_text(const struct bus_call *call, const char *name); /* borrowed; NULL: not given */
bool bus_option_bool(const struct bus_call *call, const char *name);        /* false: not given */
const char *bus_call_caller(const struct bus_call *call); /* "uid 0" of a call with a right, else its name on the bus */

/*
 * Keeps the call beyond the handler, which returns BUS_LATER then. Later bus_call_done, which frees it: @why NULL:
 * done, with an empty reply. @dropped is called instead when the bus or the caller's connection is gone.
 */
void bus_call_hold(struct bus_call *call, void (*dropped)(void *ctx), void *ctx);
void bus_call_done(struct bus_call *call, const struct err *why); /* takes @call, borrows @why */

/* --- values. Text that is no UTF-8 is written as printable() shows it; NULL is "". --- */

void bus_put_text(struct bus_out *out, const char *text);
void bus_put_bool(struct bus_out *out, bool value);
void bus_put_u32(struct bus_out *out, uint32_t value);
void bus_put_time(struct bus_out *out, int64_t value);
void bus_put_path(struct bus_out *out, const char *kind, const char *id); /* NULL, NULL: the root's */
void bus_put_bytes(struct bus_out *out, const struct bytes *bytes);       /* ay */
void bus_put_texts(struct bus_out *out, const struct strlist *texts);     /* as */
/* Everything up to bus_end is inside it. @signature: of an array's elements or of a variant's value, else NULL.
 */
void bus_begin_array(struct bus_out *out, const char *signature);
void bus_begin_struct(struct bus_out *out);
void bus_begin_variant(struct bus_out *out, const char *signature);
void bus_begin_entry(struct bus_out *out); /* of a dictionary: a key, then a value */
void bus_end(struct bus_out *out);
/* Entries of an a{sv}. */
void bus_entry_text(struct bus_out *out, const char *key, const char *text);
void bus_entry_bool(struct bus_out *out, const char *key, bool value);
void bus_entry_u32(struct bus_out *out, const char *key, uint32_t value);
void bus_entry_time(struct bus_out *out, const char *key, int64_t value);
void bus_entry_texts(struct bus_out *out, const char *key, const struct strlist *texts);
