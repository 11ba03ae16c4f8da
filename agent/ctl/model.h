/* model.h - what the daemon shows of itself, as one JSON tree. */
#pragma once

#include "agent/ctl/client.h"

/*
 * {"manager": {...}, "enrollments": [...], "servers": [...], "watched": [...], "jobs": [...]}: one object for each that
 * is on the bus, sorted by its "id", with every property under its name in lower case and dashes: NotAfter is
 * "not-after". Times are seconds since 1970, UTC; 0 and "" are: not known, none.
 * 0 with *model owned, or -1 as client_call.
 */
int model_read(struct client *client, json_t **model, struct err **errp);

/* The object of a list with this id; borrowed, or NULL. */
json_t *model_find(const json_t *model, const char *list, const char *id);
/* The same, or -1 with ERR_MISSING and the names that there are. */
int model_find_enrollment(const json_t *model, const char *id, json_t **out, struct err **errp);

const char *model_text(const json_t *object, const char *key); /* borrowed; "" where there is none */
int64_t model_number(const json_t *object, const char *key);   /* 0 where there is none */

/* "NotAfter" as "not-after", "LastError" as "last-error", "CA" as "ca". Returns owned. */
char *model_key(const char *property);
/* A copy of a list of dictionaries, as some methods give it, with such keys. Returns owned. */
json_t *model_rows(const json_t *list);
