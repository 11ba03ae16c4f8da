/* show_soap.h - describes envelopes, policies, security tokens and faults as a tree. */
#pragma once

#include "agent/ctl/node.h"

/*
 * Describes an XML message: an envelope with its headers and body, or a bare body. A password is never shown, only that
 * there is one. What can be read is shown also where the rest cannot.
 *
 * Return 0 or -1 (ERR_INVALID).
 */
int show_soap(struct node *to, const struct bytes *xml, struct err **errp);
