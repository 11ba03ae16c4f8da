#include "protocol/xcep/flags.h"

#include <stddef.h>
#include <string.h>

#include "protocol/base/mem.h"

#define X(name, mask) {#name, mask},
const struct flag_name flags_private_key[] = {XCEP_PRIVATE_KEY_FLAGS(X){NULL, 0}};
const struct flag_name flags_subject_name[] = {XCEP_SUBJECT_NAME_FLAGS(X){NULL, 0}};
const struct flag_name flags_enrollment[] = {XCEP_ENROLLMENT_FLAGS(X){NULL, 0}};
const struct flag_name flags_general[] = {XCEP_GENERAL_FLAGS(X){NULL, 0}};
#undef X

static void add_version(struct strlist *names, const char *whose, uint32_t version)
{
    CLEANUP(mem_freep) char *name = NULL;

    if (!version)
        return;
    name = mem_printf("%s_VERSION_%u", whose, (unsigned)version);
    strlist_add(names, name);
}

char *flags_describe(const struct flag_name *table, uint32_t value)
{
    CLEANUP(strlist_clear) struct strlist names = {0};
    uint32_t rest = value;

    for (const struct flag_name *flag = table; flag->name; flag++) {
        if (value & flag->mask)
            strlist_add(&names, flag->name);
        rest &= ~flag->mask;
    }
    if (table == flags_private_key) {
        add_version(&names, "CLIENT", XCEP_KEY_CLIENT_VERSION(value));
        add_version(&names, "CA", XCEP_KEY_CA_VERSION(value));
        rest &= ~UINT32_C(0x0f0f0000);
    }
    if (rest) {
        CLEANUP(mem_freep) char *unknown = mem_printf("0x%x", (unsigned)rest);

        strlist_add(&names, unknown);
    }
    return names.n ? strlist_join(&names, " | ") : mem_strdup("0");
}
