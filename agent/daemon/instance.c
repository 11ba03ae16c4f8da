#include "agent/daemon/instance.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timex.h>

#include "agent/config/file.h"
#include "agent/job/fields.h"

#define INSTANCE_VERSION 1
#define INSTANCE_MAX     4096
#define TAG_LEN          4
#define MAX_IDENTITY     256
#define CLOCK_TOLERANCE  300 /* seconds that a clock may be set back without being wrong */
#define BOARD_FILE       "/sys/class/dmi/id/product_uuid"

LOCAL_FIELDS(instance_fields, instance, FIELD_U32(instance, version), FIELD_BYTES_REQ(instance, tag, TAG_LEN),
    FIELD_TIME(instance, last_seen), FIELD_BOOL(instance, clean), FIELD_TEXT(instance, machine_id, MAX_IDENTITY),
    FIELD_TEXT(instance, board, MAX_IDENTITY), FIELD_U64(instance, seed), FIELD_BOOL(instance, synchronised));

void instance_clear(struct instance *instance)
{
    fields_clear(&instance_fields, instance);
}

/* --- the machine --- */

/* One line of a file, lower case; NULL where there is none. */
static char *read_line(const char *path)
{
    CLEANUP(bytes_clear) struct bytes text = {0};
    size_t n;

    if (file_read(path, MAX_IDENTITY, &text, NULL) != FILE_READ)
        return NULL;
    n = strspn(bytes_text(&text), "0123456789abcdefABCDEF-");
    return n ? mem_strndup(bytes_text(&text), n) : NULL;
}

void machine_identity_read(const char *id_file, const char *runtime_dir, struct machine_identity *out)
{
    CLEANUP(mem_freep) char *handed = runtime_dir ? mem_printf("%s/board", runtime_dir) : NULL;

    out->machine_id = read_line(id_file);
    out->board = read_line(BOARD_FILE);
    if (!out->board && handed)
        out->board = read_line(handed);
}

void machine_identity_clear(struct machine_identity *identity)
{
    free(identity->machine_id);
    free(identity->board);
    *identity = (struct machine_identity){0};
}

static bool differs(const char *a, const char *b)
{
    return a && b && strcasecmp(a, b) != 0;
}

bool instance_is_foreign(const struct instance *instance, const struct machine_identity *machine)
{
    return differs(instance->machine_id, machine->machine_id) || differs(instance->board, machine->board);
}

static bool take(char **to, const char *from)
{
    if (!from || (*to && strcasecmp(*to, from) == 0))
        return false;
    free(*to);
    *to = mem_strdup(from);
    return true;
}

bool instance_bind(struct instance *instance, const struct machine_identity *machine)
{
    bool id = take(&instance->machine_id, machine->machine_id);
    bool board = take(&instance->board, machine->board);

    return id || board;
}

/* --- the clock --- */

/* 1: the kernel says that something keeps the clock right; 0: that nothing does */
static bool is_synchronised(void)
{
    struct timex asked = {0};
    int state = adjtimex(&asked);

    return state >= 0 && state != TIME_ERROR && !(asked.status & STA_UNSYNC);
}

struct instance_clock instance_see(struct instance *instance, int64_t now)
{
    struct instance_clock clock = {.back = now < instance->last_seen - CLOCK_TOLERANCE || now < AE_BUILD_TIME};
    bool synchronised = is_synchronised();

    if (synchronised)
        instance->synchronised = true;
    clock.unsure = instance->synchronised && !synchronised;
    if (clock.back && synchronised && now >= AE_BUILD_TIME) {
        clock.back = false; /* it was the time before that was wrong */
        instance->last_seen = now;
    }
    if (now > instance->last_seen)
        instance->last_seen = now;
    return clock;
}

/* --- on disk --- */

static int draw(void *out, size_t len, struct err **errp)
{
    if (getrandom(out, len, 0) != (ssize_t)len)
        return err_set(errp, ERR_INTERNAL, "no random bytes: %m");
    return 0;
}

int instance_renew(struct instance *instance, struct err **errp)
{
    uint8_t tag[TAG_LEN];

    if (draw(tag, sizeof(tag), errp) < 0 || draw(&instance->seed, sizeof(instance->seed), errp) < 0)
        return -1;
    instance->version = INSTANCE_VERSION;
    instance->clean = true;
    bytes_set(&instance->tag, tag, sizeof(tag));
    return 0;
}

int instance_load(struct instance *instance, const char *path, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes text = {0};
    int outcome = file_read(path, INSTANCE_MAX, &text, errp);

    if (outcome < 0)
        return -1;
    if (outcome == FILE_MISSING)
        return instance_renew(instance, errp);
    if (fields_read(&instance_fields, text.data, text.len, instance, errp) < 0) {
        err_wrap(errp, "reading '%s'", path);
        return err_hint(errp, "it says which keys in the token are ours; restore it from a backup of the state "
                              "directory");
    }
    if (!instance->seed) /* of a version that knew none */
        return draw(&instance->seed, sizeof(instance->seed), errp);
    return 0;
}

int instance_save(const struct instance *instance, const char *path, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes text = {0};

    if (fields_write(&instance_fields, instance, true, &text, errp) < 0)
        return -1;
    return file_replace(path, text.data, text.len, 0600, errp);
}
