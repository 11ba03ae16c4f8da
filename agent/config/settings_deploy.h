/* settings_deploy.h - what a section says about exporting its certificate: formats, file names, modes, units. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "agent/config/settings.h"

/* What is put into the directory `export`. The names below are all that is ever written there. */
#define SETTINGS_FORMATS(X)                                                                                            \
    X(PEM, "pem")           /* cert.pem chain.pem fullchain.pem, and key.pem or, for a key in the token, key.uri */    \
    X(COMBINED, "combined") /* NAME.pem: certificate, chain, key; in one file, so replaced in one step */              \
    X(P12, "p12")           /* NAME.p12: the same as PKCS#12 */
#define X(name, text) SETTINGS_FORMAT_##name,
enum settings_format { SETTINGS_FORMATS(X) SETTINGS_FORMAT__MAX };
#undef X

#define SETTINGS_MODE_PUBLIC 0644 /* of certificates alone */
#define SETTINGS_RUN_AS      "nobody"

enum settings_format settings_format(const struct settings_certificate *c); /* _MAX: no such format */
/* Of a file with the private key: `mode`, else 0640 where a group is named and 0600 where none is. */
mode_t settings_key_mode(const struct settings_certificate *c);
bool settings_wants_deploy(const struct settings_certificate *c); /* there is something for autoenroll-deploy to do */
/* NAME.service and the like: nothing that systemctl could take for an option or a pattern. */
bool settings_good_unit(const char *unit);

/* Where autoenroll-deploy leaves results, and the daemon looks for them, unless the command lines say otherwise. Owned.
 */
#define SETTINGS_DEFAULT_STATE "/var/lib/autoenroll"
#define SETTINGS_RESULTS       "/var/lib/autoenroll-deploy"
char *settings_results(const char *state_dir);

/*
 * What `export`, `format`, `owner`, `group`, `mode`, `p12-password-file`, `reload`, `run` and `run-as` of all sections
 * say, and that it fits together. 0, or -1 with ERR_CONFIG.
 */
int settings_deploy_check(const struct settings *settings, struct err **errp);
