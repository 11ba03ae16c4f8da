#include "server-ref/fault.h"

#include <stdarg.h>

void fault_clear(struct fault *fault)
{
    soap_fault_clear(&fault->soap);
    wstep_fault_detail_clear(&fault->detail);
    *fault = (struct fault){0};
}

int fault_set(
    struct fault *fault, int status, enum soap_fault_code code, enum soap_subcode subcode, const char *fmt, ...)
{
    CLEANUP(mem_freep) char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = mem_vprintf(fmt, ap);
    va_end(ap);
    fault->status = status;
    soap_fault_init(&fault->soap, code, subcode, text);
    return FAULT;
}

int fault_set_hresult(struct fault *fault, int status, enum soap_subcode subcode, uint32_t hresult, const char *text)
{
    fault_set(fault, status, SOAP_SENDER, subcode, "%s", text);
    fault->has_detail = true;
    fault->detail.has_error_code = true;
    fault->detail.error_code = hresult;
    fault->detail.invalid_request = (struct opt_bool){true, true};
    return FAULT;
}

int fault_write(const struct fault *fault, const char *relates_to, struct bytes *out, struct err **errp)
{
    CLEANUP(soap_header_clear) struct soap_header header = {.relates_to = mem_strdup_opt(relates_to)};
    const char *action = fault->soap.code == SOAP_RECEIVER ? SOAP_ACTION_SERVER_FAULT : SOAP_ACTION_FAULT;

    header.action = mem_strdup(fault->has_detail ? WSTEP_ACTION_FAULT : action);
    if (fault->has_detail)
        return wstep_fault_write(&header, &fault->soap, &fault->detail, out, errp);
    return soap_fault_write(&header, &fault->soap, out, errp);
}
