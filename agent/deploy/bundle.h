/* bundle.h - the files of one certificate, in the format that its section wants. */
#pragma once

#include "agent/config/settings_deploy.h"
#include "agent/deploy/source.h"
#include "agent/deploy/target.h"

/*
 * Everything is written anew from what was decoded; nothing is copied as it came. The files and names are those that
 * settings_deploy.h lists; what another setting of the section has left there (key.pem where the key is in the token
 * now) is in out->gone.
 *
 * @out  borrows texts of @section. 0, or -1: ERR_CONFIG, ERR_STORE (the password file), ERR_INTERNAL.
 */
int bundle_make(
    const struct settings_certificate *section, const struct source *source, struct target *out, struct err **errp);
