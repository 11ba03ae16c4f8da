/* msext.h - Microsoft extensions and attributes, as OpenSSL ASN.1 templates. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "protocol/base/bytes.h"
#include "protocol/base/opt.h"

/*
 * All of these read and write the value alone: the content of extnValue, or the one value of an attribute. A _parse
 * refuses bytes behind the value, embedded zeros and control characters (ERR_INVALID), overwrites its output on
 * success only, and gives owned things. A _write overwrites @out. Both return 0 or -1.
 */
#define MSEXT_MAX_TEXT  1024 /* longest text in any of them, in bytes of UTF-8 */
#define MSEXT_MAX_ITEMS 256  /* most object identifiers, or name/value pairs, in one */

/* 1.3.6.1.4.1.311.20.2: BMPString; reads SEQUENCE { UTF8String } too. */
int msext_template_name_write(const char *name, struct bytes *out, struct err **errp);
int msext_template_name_parse(const void *der, size_t len, char **name, struct err **errp);

/* 1.3.6.1.4.1.311.21.7 */
struct template_info {
    char *oid; /* owned */
    struct opt_u32 major;
    struct opt_u32 minor;
};
int msext_template_info_write(const struct template_info *info, struct bytes *out, struct err **errp);
int msext_template_info_parse(const void *der, size_t len, struct template_info *info, struct err **errp);
void template_info_clear(struct template_info *info);

/* 1.3.6.1.4.1.311.21.10 application policies, shaped like certificatePolicies (qualifiers are skipped). */
int msext_policies_write(const struct strlist *oids, struct bytes *out, struct err **errp);
int msext_policies_parse(const void *der, size_t len, struct strlist *oids, struct err **errp);

/* 2.5.29.37 */
int msext_eku_write(const struct strlist *oids, struct bytes *out, struct err **errp);
int msext_eku_parse(const void *der, size_t len, struct strlist *oids, struct err **errp);

/* 2.5.29.15; bits as KU_* of OpenSSL: 0x80 digitalSignature, 0x20 keyEncipherment, ... 0x8000 decipherOnly. */
int msext_key_usage_write(uint32_t bits, struct bytes *out, struct err **errp);
int msext_key_usage_parse(const void *der, size_t len, uint32_t *bits, struct err **errp);
char *msext_key_usage_text(uint32_t bits); /* "digitalSignature keyEncipherment"; returns owned */

/* 2.5.29.14 and everything else that is one OCTET STRING. */
int msext_octets_write(const void *data, size_t len, struct bytes *out, struct err **errp);
int msext_octets_parse(const void *der, size_t len, struct bytes *out, struct err **errp);

/* 1.3.6.1.4.1.311.25.2: "S-1-5-21-...". */
int msext_sid_write(const char *sid, struct bytes *out, struct err **errp);
int msext_sid_parse(const void *der, size_t len, char **sid, struct err **errp);

/* 1.3.6.1.4.1.311.13.2.3: "10.0.22631.2", IA5String. */
int msext_os_version_write(const char *version, struct bytes *out, struct err **errp);
int msext_os_version_parse(const void *der, size_t len, char **version, struct err **errp);

/* 1.3.6.1.4.1.311.21.20; a client of ours sends id 0. */
struct client_info {
    uint32_t client_id;
    char *machine; /* owned; DNS name */
    char *user;    /* owned; DOMAIN\account */
    char *process; /* owned */
};
int msext_client_info_write(const struct client_info *info, struct bytes *out, struct err **errp);
int msext_client_info_parse(const void *der, size_t len, struct client_info *info, struct err **errp);
void client_info_clear(struct client_info *info);

/* 1.3.6.1.4.1.311.13.2.2; the signature in it is always empty. */
struct enrollment_csp {
    uint32_t key_spec; /* 1 exchange, 2 signature, 0 a CNG provider */
    char *name;        /* owned */
};
int msext_csp_write(const struct enrollment_csp *csp, struct bytes *out, struct err **errp);
int msext_csp_parse(const void *der, size_t len, struct enrollment_csp *csp, struct err **errp);
void enrollment_csp_clear(struct enrollment_csp *csp);

/* 1.3.6.1.4.1.311.13.2.1 */
struct name_value {
    char *name;  /* owned */
    char *value; /* owned */
};
struct name_values {
    struct name_value *items;
    size_t n;
};
/* One pair, the form on the wire. */
int msext_name_value_write(const char *name, const char *value, struct bytes *out, struct err **errp);
/* One pair or SEQUENCE OF pairs; appends to @pairs. */
int msext_name_values_parse(const void *der, size_t len, struct name_values *pairs, struct err **errp);
void name_values_add(struct name_values *pairs, const char *name, const char *value); /* copies */
/* The value of the first pair of that name, compared without regard to case; borrowed, or NULL. */
const char *name_values_find(const struct name_values *pairs, const char *name);
void name_values_clear(struct name_values *pairs);
