/* name.h - distinguished names between text and DER. */
#pragma once

#include <stddef.h>

#include "protocol/base/bytes.h"

#define NAME_MAX_TEXT 4096 /* longest text of a distinguished name that we take */
#define NAME_MAX_RDNS 32   /* most relative names in one, and most attributes in one of those */

/*
 * Reads RFC 4514 text, "CN=web01,OU=Web\, external,O=Example": the leftmost part is the most specific and comes last
 * in the DER. Attributes by short name in any case (CN O OU C ST L STREET DC UID SN GN T serialNumber E emailAddress
 * ..., the table in name.c) or dotted OID; "+" for several in one; escapes by "\" and two hex digits or one character;
 * "#" and hex is the DER of a value. White space around "," "+" "=" is skipped. "" is the empty name, 30 00.
 * Values become PrintableString where they can (C, serialNumber), IA5String (DC, emailAddress) or UTF8String.
 *
 * @der  overwritten
 * Return 0 or -1 (ERR_INVALID; names the part that is wrong).
 */
int name_parse(const char *rfc4514, struct bytes *der, struct err **errp);

/*
 * The RFC 4514 text of a Name in DER, for a person and for name_parse: valid UTF-8, every control, direction and
 * invisible character escaped. "" for an empty name. Returns owned, NULL (ERR_INVALID) when @der is no Name.
 */
char *name_to_text(const void *der, size_t len, struct err **errp);
