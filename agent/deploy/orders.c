#include "agent/deploy/orders.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/deploy/bundle.h"
#include "agent/deploy/hook.h"
#include "agent/deploy/trust.h"
#include "protocol/base/digest.h"

#define SYSTEMD_RUNS "/run/systemd/system" /* as sd_booted(3) has it */

static const char *const systemctls[] = {"/usr/bin/systemctl", "/bin/systemctl"};

static const char *text_of(const char *text)
{
    return text ? text : "";
}

char *orders_hash(const struct settings_certificate *s)
{
    CLEANUP(mem_freep) char *units = strlist_join(&s->reload, " ");
    CLEANUP(mem_freep)
    char *all = mem_printf("%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n", text_of(s->export), text_of(s->format),
        text_of(s->owner), text_of(s->group), text_of(s->mode), text_of(s->p12_password_file), units, text_of(s->run),
        text_of(s->run_as));

    return digest_sha256_hex(all, strlen(all));
}

static void note(struct deploy_result *result, char *text)
{
    strlist_add(&result->steps, text);
    free(text);
}

/* --- the steps --- */

static int export(const struct orders *o, const struct source *source, struct deploy_result *result, struct err **errp)
{
    CLEANUP(target_clear) struct target target = {0};

    if (!o->section->export)
        return 0;
    if (bundle_make(o->section, source, &target, errp) < 0 || target_put(&target, errp) < 0)
        return err_wrap(errp, "exporting to %s", o->section->export);
    note(result, mem_printf("generation %u is in %s", source->generation, o->section->export));
    return 0;
}

static int find_systemctl(const struct orders *o, const char **out, struct err **errp)
{
    if (o->systemctl) {
        *out = o->systemctl;
        return 0;
    }
    if (access(SYSTEMD_RUNS, F_OK) < 0) {
        err_set(errp, ERR_CONFIG, "systemd does not run here, so that nothing can be reloaded through it");
        return err_hint(errp, "use 'run = PROGRAM' with a script that reloads the service, or --systemctl");
    }
    for (size_t i = 0; i < ARRAY_SIZE(systemctls); i++)
        if (access(systemctls[i], X_OK) == 0) {
            *out = systemctls[i];
            return 0;
        }
    return err_set(errp, ERR_CONFIG, "there is no systemctl");
}

static int reload_one(const struct orders *o, const char *unit, struct deploy_result *result, struct err **errp)
{
    CLEANUP(mem_freep) char *program = NULL;
    const char *argv[] = {NULL, "--no-ask-password", "try-reload-or-restart", "--", unit, NULL};
    struct hook hook = {.argv = argv, .limit = o->limit};
    const char *found = NULL;

    if (find_systemctl(o, &found, errp) < 0 || trust_program(found, &program, errp) < 0)
        return -1;
    argv[0] = program;
    if (hook_run(&hook, &result->output, errp) < 0)
        return -1;
    note(result, mem_printf("%s is reloaded", unit));
    return 0;
}

static int reload(const struct orders *o, struct deploy_result *result, struct err **errp)
{
    for (size_t i = 0; i < o->section->reload.n; i++)
        if (reload_one(o, o->section->reload.items[i], result, errp) < 0)
            return err_wrap(errp, "reloading %s", o->section->reload.items[i]);
    return 0;
}

/* What a program is told on standard input; the names are those of the members. */
struct change {
    char *name, *thumbprint, *serial, *subject, *issuer, *key_uri, *export, *format;
    uint32_t generation;
    int64_t not_before, not_after;
};
LOCAL_FIELDS(change_fields, change, FIELD_TEXT(change, name, 4096), FIELD_U32(change, generation),
    FIELD_TEXT(change, thumbprint, 4096), FIELD_TEXT(change, serial, 4096), FIELD_TEXT(change, subject, 16384),
    FIELD_TEXT(change, issuer, 16384), FIELD_TIME(change, not_before), FIELD_TIME(change, not_after),
    FIELD_TEXT(change, key_uri, 4096), FIELD_TEXT(change, export, 4096), FIELD_TEXT(change, format, 64));

static int tell(const struct orders *o, const struct source *source, struct bytes *out, struct err **errp)
{
    const struct cert *cert = source->cert;
    const struct change change = {.name = o->section->name,
        .thumbprint = cert->sha256,
        .serial = cert->serial,
        .subject = cert->subject,
        .issuer = cert->issuer,
        .key_uri = source->key_uri,
        .export = o->section->export,
        .format = o->section->export ? o->section->format : NULL,
        .generation = source->generation,
        .not_before = cert->not_before,
        .not_after = cert->not_after};

    return fields_write(&change_fields, &change, false, out, errp);
}

/* Names, numbers and hexadecimal digits: nothing that a shell could take for more. */
static void environment_of(const struct orders *o, const struct source *source, struct strlist *out)
{
    const struct cert *cert = source->cert;
    char *const all[] = {mem_printf("AUTOENROLL_NAME=%s", o->section->name),
        mem_printf("AUTOENROLL_GENERATION=%u", source->generation),
        mem_printf("AUTOENROLL_THUMBPRINT=%s", cert->sha256), mem_printf("AUTOENROLL_SERIAL=%s", cert->serial),
        mem_printf("AUTOENROLL_NOT_AFTER=%" PRId64, cert->not_after)};

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        strlist_add(out, all[i]);
        free(all[i]);
    }
    (void)MEM_APPEND(out->items, out->n);
}

static int run(const struct orders *o, const struct source *source, struct deploy_result *result, struct err **errp)
{
    CLEANUP(mem_freep) char *program = NULL;
    CLEANUP(bytes_clear) struct bytes input = {0};
    CLEANUP(strlist_clear) struct strlist environment = {0};
    const char *argv[] = {NULL, NULL};
    const char *user = o->section->run_as ? o->section->run_as : geteuid() == 0 ? SETTINGS_RUN_AS : NULL;
    struct hook hook = {.argv = argv, .input = &input, .user = user, .limit = o->limit};

    if (!o->section->run)
        return 0;
    if (trust_program(o->section->run, &program, errp) < 0 || tell(o, source, &input, errp) < 0)
        return err_wrap(errp, "run");
    environment_of(o, source, &environment);
    argv[0] = program;
    hook.environment = (const char *const *)environment.items;
    if (hook_run(&hook, &result->output, errp) < 0)
        return err_wrap(errp, "running it as %s", user ? user : "who we are");
    note(result, mem_printf("%s was run", o->section->run));
    return 0;
}

int orders_carry_out(
    const struct orders *orders, const struct source *source, struct deploy_result *result, struct err **errp)
{
    if (export(orders, source, result, errp) < 0 || reload(orders, result, errp) < 0)
        return -1;
    return run(orders, source, result, errp);
}
