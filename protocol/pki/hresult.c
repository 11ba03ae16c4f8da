#include "protocol/pki/hresult.h"

#include "protocol/base/bytes.h"
#include "protocol/base/mem.h"

static const struct hresult table[] = {
#define X(number, name, actions, meaning, todo) {number, #name, actions, meaning, todo},
    HRESULTS(X)
#undef X
};

/* What is not in the table: the system below may recover, everything else is for a person. */
static const struct hresult unknown_win32 = {0, "", HRESULT_LATER, "an error of the server's operating system",
    "Wait; if it stays so, ask the CA's administrator to look into the server's event log."};
static const struct hresult unknown_other = {0, "", HRESULT_ADMIN, "an error that is not in our table",
    "Ask the CA's administrator to look into the CA's event log."};

const struct hresult *hresult_find(uint32_t code)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (table[i].code == code)
            return &table[i];
    return code >> 16 == 0x8007 ? &unknown_win32 : &unknown_other;
}

char *hresult_describe(uint32_t code)
{
    const struct hresult *found = hresult_find(code);

    return mem_printf("0x%08X%s%s: %s", code, *found->name ? " " : "", found->name, found->meaning);
}
