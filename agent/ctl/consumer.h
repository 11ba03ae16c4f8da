/* consumer.h - a working configuration for whoever is to use a certificate. */
#pragma once

#include <jansson.h>

#include "protocol/base/bytes.h"

/* Names of all, one after another; NULL ends them. Borrowed for ever. */
const char *consumer_name(size_t i);

/*
 * The configuration for @consumer, with the real paths and key of @enrollment (model.h), and as comments what else must
 * be done. Appended to @out. 0, or -1 with ERR_USAGE (no such consumer) or ERR_MISSING (there is no certificate yet).
 */
int consumer_write(const char *consumer, const json_t *enrollment, struct bytes *out, struct err **errp);
