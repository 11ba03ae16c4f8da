#include "agent/request/differ.h"

#include <string.h>

#include "protocol/base/printable.h"
#include "protocol/xcep/flags.h"

static void add(struct strlist *differences, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct strlist *differences, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(mem_freep) char *shown = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    shown = printable_text(text);
    strlist_add(differences, shown);
}

/* Names that would look the same to a person are the same, however their values are encoded. */
static void compare_subject(const struct bytes *wanted, const struct cert *held, struct strlist *differences)
{
    CLEANUP(mem_freep) char *text = name_to_text(wanted->data, wanted->len, NULL);

    if (text && strcmp(text, held->subject) != 0)
        add(differences, "the configured subject is '%s' and that of the certificate '%s'", text, held->subject);
}

/* As they are written in a certificate: an address may be configured in another form. */
static int as_written(const struct san_list *list, struct san_list *out, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes der = {0};

    return san_encode(list, &der, errp) < 0 ? -1 : san_decode(der.data, der.len, out, errp);
}

static bool has_type(const struct san_list *list, enum san_type type)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].type == type)
            return true;
    return false;
}

static void compare_san(const struct san_list *wanted, const struct san_list *held, struct strlist *differences)
{
    for (size_t i = 0; i < wanted->n; i++) {
        const struct san *san = &wanted->items[i];

        if (!san_has(held, san->type, san->value))
            add(differences, "%s %s is configured and not in the certificate", san_type_name(san->type), san->value);
    }
    for (size_t i = 0; i < held->n; i++) {
        const struct san *san = &held->items[i];

        if (has_type(wanted, san->type) && !san_has(wanted, san->type, san->value))
            add(differences, "%s %s is in the certificate and not configured", san_type_name(san->type), san->value);
    }
}

static int compare(const struct template *template, const struct job_names *names, const struct machine *machine,
    const struct cert *held, struct strlist *differences, struct err **errp)
{
    CLEANUP(subject_clear) struct subject wanted = {0};
    CLEANUP(san_list_clear) struct san_list san = {0};

    if (subject_build(template, names, machine, NULL, &wanted, errp) < 0)
        return -1;
    if (wanted.san.n && as_written(&wanted.san, &san, errp) < 0)
        return -1;
    if (names->subject && wanted.name.len)
        compare_subject(&wanted.name, held, differences);
    compare_san(&san, &held->san, differences);
    return 0;
}

char *differ_names(const struct template *template, const struct job_names *names, const struct machine *machine,
    const struct cert *held)
{
    uint32_t ours = XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT | XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT_ALT_NAME;
    CLEANUP(strlist_clear) struct strlist differences = {0};
    CLEANUP(err_freep) struct err *err = NULL;

    if (!(template->subject_name_flags & ours))
        return NULL;
    if (compare(template, names, machine, held, &differences, &err) < 0)
        add(&differences, "the configured names cannot be requested: %s", err_text(err));
    return differences.n ? strlist_join(&differences, "; ") : NULL;
}
