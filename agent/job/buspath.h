/* buspath.h - the names and paths of our objects on D-Bus, from and to ids. */
#pragma once

#include "protocol/base/mem.h"

#define BUS_NAME  "org.autoenroll.Agent1"  /* on the bus; interfaces and errors begin with it */
#define BUS_ROOT  "/org/autoenroll/Agent1" /* the manager; the others are at BUS_ROOT/KIND/ID */
#define BUS_ERROR BUS_NAME ".Error."       /* and the name of an enum err_kind */

#define BUS_MANAGER    BUS_NAME ".Manager"
#define BUS_ENROLLMENT BUS_NAME ".Enrollment"
#define BUS_SERVER     BUS_NAME ".PolicyServer"
#define BUS_WATCHED    BUS_NAME ".Watched"
#define BUS_JOB        BUS_NAME ".Job"

#define BUS_ENROLLMENTS "enrollments"
#define BUS_SERVERS     "servers"
#define BUS_WATCHES     "watched"
#define BUS_JOBS        "jobs"

/*
 * An id as one element of an object path: letters and digits stay, each other byte is "_" and its two hexadecimal
 * digits, so that "web-1" is "web_2d1"; nothing is "_". Returns owned.
 */
char *buspath_escape(const char *id);
/* The inverse. Returns owned, or NULL when nothing is escaped so. */
char *buspath_unescape(const char *element);

/* BUS_ROOT/KIND/ID. Returns owned. */
char *buspath_make(const char *kind, const char *id);
/* The id of an object of @kind. Returns owned, or NULL when @path is none. */
char *buspath_id(const char *path, const char *kind);
