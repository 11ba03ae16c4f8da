#include "agent/job/deploy_result.h"

#include <string.h>

#define MAX_NAME    64
#define MAX_STEPS   64
#define MAX_LINES   64
#define SHOWN_LINES 5 /* of the output, in the text for a person */

LOCAL_FIELDS(result_fields, deploy_result, FIELD_U32(deploy_result, version),
    FIELD_TEXT_REQ(deploy_result, name, MAX_NAME), FIELD_TEXT(deploy_result, thumbprint, 64),
    FIELD_U32(deploy_result, generation), FIELD_TEXT(deploy_result, orders, 64), FIELD_TIME(deploy_result, when),
    FIELD_BOOL(deploy_result, ok), FIELD_TEXTS(deploy_result, steps, MAX_STEPS, DEPLOY_RESULT_MAX_TEXT),
    FIELD_TEXT(deploy_result, error, DEPLOY_RESULT_MAX_TEXT), FIELD_TEXT(deploy_result, hint, DEPLOY_RESULT_MAX_TEXT),
    FIELD_TEXTS(deploy_result, output, MAX_LINES, DEPLOY_RESULT_MAX_TEXT), FIELD_U32(deploy_result, tries));

FIELDS(deploy_report_fields, deploy_report, FIELD_LIST(deploy_report, items, n, deploy_result, result_fields, 256));

int deploy_result_write(const struct deploy_result *result, struct bytes *out, struct err **errp)
{
    return fields_write(&result_fields, result, true, out, errp);
}

int deploy_result_read(const struct bytes *text, struct deploy_result *out, struct err **errp)
{
    struct deploy_result read;

    if (fields_read(&result_fields, text->data, text->len, &read, errp) < 0)
        return -1;
    if (read.version == DEPLOY_RESULT_VERSION) {
        *out = read;
        return 0;
    }
    err_set(errp, ERR_INVALID, "a result of version %u", read.version);
    deploy_result_clear(&read);
    return err_hint(errp, "autoenroll-deploy and autoenrolld are of different versions: install them together");
}

void deploy_result_clear(struct deploy_result *result)
{
    fields_clear(&result_fields, result);
}

char *deploy_result_text(const struct deploy_result *result)
{
    CLEANUP(mem_freep) char *steps = strlist_join(&result->steps, "; ");
    CLEANUP(strlist_clear) struct strlist last = {0};
    CLEANUP(mem_freep) char *output = NULL;
    size_t n = result->output.n;

    if (result->ok)
        return *steps ? mem_strdup(steps) : mem_strdup("nothing had to be done");
    for (size_t i = n > SHOWN_LINES ? n - SHOWN_LINES : 0; i < n; i++)
        strlist_add(&last, result->output.items[i]);
    output = strlist_join(&last, " | ");
    return mem_printf("%s%s%s%s%s%s%s", steps, *steps ? "; then " : "", result->error ? result->error : "failed",
        result->hint ? ". Hint: " : "", result->hint ? result->hint : "", *output ? ". It printed: " : "", output);
}
