/* fault.h - one refusal: HTTP status, SOAP fault, and the detail of an enrollment service. */
#pragma once

#include "protocol/wstep/wstep.h"

/* A request was refused and a struct fault says how: the positive outcome of whatever handles a request. */
#define FAULT 1

/* {0} is none. Everything owned. */
struct fault {
    int status; /* of HTTP */
    struct soap_fault soap;
    bool has_detail;
    struct wstep_fault_detail detail;
};
void fault_clear(struct fault *fault);

/* Fills in @fault, which was {0}. Returns FAULT. */
int fault_set(struct fault *fault, int status, enum soap_fault_code code, enum soap_subcode subcode, const char *fmt,
    ...) __attribute__((format(printf, 5, 6)));
/* The same with an HRESULT as detail, and no request that it belongs to. Returns FAULT. */
int fault_set_hresult(struct fault *fault, int status, enum soap_subcode subcode, uint32_t hresult, const char *text);

/* Writes it as the answer to the message with @relates_to (NULL: it had no id). 0 or -1. */
int fault_write(const struct fault *fault, const char *relates_to, struct bytes *out, struct err **errp);
