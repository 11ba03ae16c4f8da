#include "agent/request/subject.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/xcep/flags.h"

void subject_clear(struct subject *subject)
{
    bytes_clear(&subject->name);
    san_list_clear(&subject->san);
}

/* What %{WORD} may be, and what to do where the machine does not know it. */
static const struct expansion {
    const char *word;
    size_t offset;
    const char *hint;
} expansions[] = {
    {"fqdn", offsetof(struct machine, fqdn),
        "give the machine a full name (hostnamectl set-hostname web01.example.com, or a line in /etc/hosts), or write "
        "the name in the [certificate] section"},
    {"hostname", offsetof(struct machine, hostname), "set the machine's name in /etc/hostname"},
    {"machine-id", offsetof(struct machine, id), "run systemd-machine-id-setup"},
};

static const char *expand_word(const char *word, size_t len, const struct machine *machine, struct err **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(expansions); i++) {
        const struct expansion *e = &expansions[i];
        const char *value;

        if (strlen(e->word) != len || strncmp(e->word, word, len) != 0)
            continue;
        value = *(char *const *)(const void *)((const char *)machine + e->offset);
        if (!value) {
            err_set(errp, ERR_CONFIG, "%%{%s}: this machine's own configuration does not say it", e->word);
            err_hint(errp, "%s", e->hint);
        }
        return value;
    }
    err_set(errp, ERR_CONFIG, "%%{%.*s} is not known", (int)len, word);
    err_hint(errp, "known are %%{fqdn}, %%{hostname} and %%{machine-id}");
    return NULL;
}

/* Returns owned, or NULL with ERR_CONFIG. */
static char *expand(const char *text, const struct machine *machine, struct err **errp)
{
    CLEANUP(bytes_clear) struct bytes out = {.limit = NAME_MAX_TEXT};

    while (*text) {
        const char *start = strstr(text, "%{");
        const char *end = start ? strchr(start, '}') : NULL;
        const char *value;

        if (bytes_append(&out, text, start ? (size_t)(start - text) : strlen(text), errp) < 0)
            return NULL;
        if (!start)
            break;
        if (!end) {
            err_set(errp, ERR_CONFIG, "'%s': %%{ without }", text);
            return NULL;
        }
        value = expand_word(start + 2, (size_t)(end - start - 2), machine, errp);
        if (!value || bytes_append_text(&out, value, errp) < 0)
            return NULL;
        text = end + 1;
    }
    return mem_strdup(bytes_text(&out));
}

static int add_names(struct san_list *san, enum san_type type, const struct strlist *names,
    const struct machine *machine, struct err **errp)
{
    for (size_t i = 0; i < names->n; i++) {
        CLEANUP(mem_freep) char *value = expand(names->items[i], machine, errp);

        if (!value)
            return err_wrap(errp, "%s = %s", san_type_name(type), names->items[i]);
        if (!san_has(san, type, value))
            san_add(san, type, value);
    }
    return 0;
}

static int configured_subject(
    const struct job_names *names, const struct machine *machine, struct bytes *der, struct err **errp)
{
    CLEANUP(mem_freep) char *text = NULL;

    if (!names->subject)
        return 0;
    text = expand(names->subject, machine, errp);
    if (!text || name_parse(text, der, errp) < 0) {
        err_wrap(errp, "subject = %s", names->subject);
        return err_hint(errp, "write it as in \"CN=web01.example.com,O=Example\"");
    }
    return 0;
}

static int configured(const struct template *template, const struct job_names *names, const struct machine *machine,
    struct subject *out, struct err **errp)
{
    const struct {
        enum san_type type;
        const struct strlist *list;
    } lists[] = {{SAN_DNS, &names->dns}, {SAN_IP, &names->ip}, {SAN_URI, &names->uri}, {SAN_EMAIL, &names->email},
        {SAN_UPN, &names->upn}};

    if (configured_subject(names, machine, &out->name, errp) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        if (add_names(&out->san, lists[i].type, lists[i].list, machine, errp) < 0)
            return -1;
    if (out->name.len || out->san.n)
        return 0;
    err_set(errp, ERR_CONFIG, "template '%s' wants the names from us, and none are configured", template->name);
    return err_hint(errp, "write a [certificate] section for this template with subject = and dns =, for example "
                          "subject = CN=%%{fqdn} and dns = %%{fqdn}");
}

int subject_build(const struct template *template, const struct job_names *names, const struct machine *machine,
    const struct cert *old, struct subject *out, struct err **errp)
{
    CLEANUP(subject_clear) struct subject made = {0};
    uint32_t flags = template->subject_name_flags;

    if (flags & (XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT | XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT_ALT_NAME)) {
        if (old) {
            bytes_copy(&made.name, &old->subject_der);
            san_list_copy(&made.san, &old->san);
        } else if (configured(template, names, machine, &made, errp) < 0) {
            return -1;
        }
        if (!(flags & XCEP_NAME_ENROLLEE_SUPPLIES_SUBJECT))
            bytes_clear(&made.name); /* only the alternative names are ours to give */
    }
    *out = made;
    made = (struct subject){0};
    return 0;
}
