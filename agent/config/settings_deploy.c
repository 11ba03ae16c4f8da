#include "agent/config/settings_deploy.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MAX_UNIT 255

static const char *const format_names[] = {
#define X(name, text) text,
    SETTINGS_FORMATS(X)
#undef X
};

enum settings_format settings_format(const struct settings_certificate *c)
{
    enum settings_format format = 0;

    while (format < SETTINGS_FORMAT__MAX && strcmp(c->format, format_names[format]) != 0)
        format++;
    return format;
}

mode_t settings_key_mode(const struct settings_certificate *c)
{
    if (!c->mode)
        return c->group ? 0640 : 0600;
    return (mode_t)strtoul(c->mode, NULL, 8);
}

bool settings_wants_deploy(const struct settings_certificate *c)
{
    return c->export || c->reload.n || c->run;
}

bool settings_good_unit(const char *unit)
{
    size_t len = strlen(unit);

    if (len == 0 || len > MAX_UNIT || !(isalnum((unsigned char)*unit) || *unit == '_'))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)unit[i]) && !strchr(":_.\\@-", unit[i]))
            return false;
    return true;
}

char *settings_results(const char *state_dir)
{
    if (strcmp(state_dir, SETTINGS_DEFAULT_STATE) == 0)
        return mem_strdup(SETTINGS_RESULTS);
    return mem_printf("%s/deploy", state_dir);
}

static int wrong(const struct settings_certificate *c, const char *key, const char *why, struct err **errp)
{
    return err_set(errp, ERR_CONFIG, "[certificate \"%s\"]: %s %s", c->name, key, why);
}

static int check_path(const struct settings_certificate *c, const char *key, const char *path, struct err **errp)
{
    if (!path || (path[0] == '/' && !strstr(path, "/../")))
        return 0;
    wrong(c, key, "is no absolute path", errp);
    return err_hint(errp, "write it from the root on, without '..': %s = /...", key);
}

/* What everybody could read is no private key. */
static int check_mode(const struct settings_certificate *c, struct err **errp)
{
    char *end;
    unsigned long mode;

    if (!c->mode)
        return 0;
    mode = strtoul(c->mode, &end, 8);
    if (!isdigit((unsigned char)*c->mode) || *end || mode > 0777 || !(mode & 0400)) {
        wrong(c, "mode", "is no file mode", errp);
        return err_hint(errp, "write it in octal: mode = 0640");
    }
    if (!(mode & 0117))
        return 0;
    wrong(c, "mode", "is too open for a private key", errp);
    return err_hint(errp, "name a group and write mode = 0640; certificates alone are readable for everybody anyway");
}

static int check_format(const struct settings_certificate *c, struct err **errp)
{
    enum settings_format format = settings_format(c);

    if (format == SETTINGS_FORMAT__MAX) {
        wrong(c, "format", "is unknown", errp);
        return err_hint(errp, "write pem, combined or p12");
    }
    if (format != SETTINGS_FORMAT_PEM && !c->file_key) {
        wrong(c, "format", "puts the private key into a file, and the key is in the token", errp);
        return err_hint(errp, "write 'format = pem', which names the key in the token, or 'key = file' where the "
                              "template lets the key out");
    }
    if (format == SETTINGS_FORMAT_P12 && !c->p12_password_file) {
        wrong(c, "format", "= p12 needs a password", errp);
        return err_hint(errp, "write it into a file that only root can read: p12-password-file = /etc/...");
    }
    return 0;
}

static int check_hooks(const struct settings_certificate *c, struct err **errp)
{
    for (size_t i = 0; i < c->reload.n; i++)
        if (!settings_good_unit(c->reload.items[i])) {
            wrong(c, "reload", "names no systemd unit", errp);
            return err_hint(errp, "write units as systemctl takes them: reload = nginx.service");
        }
    if (c->run_as && !c->run) {
        wrong(c, "run-as", "is there without 'run'", errp);
        return err_hint(errp, "name the program: run = /usr/local/sbin/...");
    }
    return 0;
}

static int check_one(const struct settings_certificate *c, struct err **errp)
{
    if (check_path(c, "export", c->export, errp) < 0 || check_path(c, "run", c->run, errp) < 0 ||
        check_path(c, "p12-password-file", c->p12_password_file, errp) < 0 || check_mode(c, errp) < 0)
        return -1;
    return check_format(c, errp) < 0 ? -1 : check_hooks(c, errp);
}

/* The names of format pem are the same for every section. */
static int check_pair(const struct settings_certificate *a, const struct settings_certificate *b, struct err **errp)
{
    if (!a->export || !b->export || strcmp(a->export, b->export) != 0 || settings_format(a) != SETTINGS_FORMAT_PEM ||
        settings_format(b) != SETTINGS_FORMAT_PEM)
        return 0;
    err_set(errp, ERR_CONFIG, "[certificate \"%s\"] and [certificate \"%s\"] export to the same directory", a->name,
        b->name);
    return err_hint(errp, "give each its own: files of 'format = pem' have the same names in both");
}

int settings_deploy_check(const struct settings *settings, struct err **errp)
{
    for (size_t i = 0; i < settings->n_certificates; i++) {
        if (check_one(&settings->certificates[i], errp) < 0)
            return -1;
        for (size_t k = 0; k < i; k++)
            if (check_pair(&settings->certificates[k], &settings->certificates[i], errp) < 0)
                return -1;
    }
    return 0;
}
