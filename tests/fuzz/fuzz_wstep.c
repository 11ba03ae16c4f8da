/* fuzz_wstep.c - enrollment requests, responses and faults; what was read is written and read again.
 * cmake -S . -B build-fuzz -DCMAKE_C_COMPILER=clang -DAE_FUZZ=ON && cmake --build build-fuzz --target fuzz_wstep
 * build-fuzz/bin/fuzz_wstep -dict=tests/fuzz/xml.dict -max_len=20000 NEW_CORPUS_DIRECTORY ../shared/samples/wstep
 */
#include <stdlib.h>
#include <string.h>

#include "protocol/wstep/wstep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request_around(const struct wstep_request *request)
{
    CLEANUP(bytes_clear) struct bytes first = {0};
    CLEANUP(bytes_clear) struct bytes second = {0};
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(wstep_request_clear) struct wstep_request again = {0};
    struct soap_header header = {0};

    for (size_t i = 0; i < request->n_context; i++)
        if (strpbrk(request->context[i].name, ":\r\n") || strpbrk(request->context[i].value, "\r\n"))
            abort();
    if (request->kind == WSTEP_ISSUE && request->token_type == WSTEP_OTHER)
        return;
    if (wstep_request_write(&header, NULL, request, &first, NULL) < 0 ||
        soap_parse(first.data, first.len, &message, NULL) < 0 || wstep_request_parse(message, &again, NULL) < 0 ||
        again.kind != request->kind || wstep_request_write(&header, NULL, &again, &second, NULL) < 0 ||
        !bytes_equal(&first, &second))
        abort();
}

static void response_around(const struct wstep_response *response)
{
    CLEANUP(bytes_clear) struct bytes first = {0};
    CLEANUP(bytes_clear) struct bytes second = {0};
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(wstep_response_clear) struct wstep_response again = {0};
    struct soap_header header = {0};

    if (response->outcome == WSTEP_PENDING && !response->reference_uri)
        return;
    if (wstep_response_write(&header, response, &first, NULL) < 0 ||
        soap_parse(first.data, first.len, &message, NULL) < 0 || wstep_response_parse(message, &again, NULL) < 0 ||
        again.outcome != response->outcome || wstep_response_write(&header, &again, &second, NULL) < 0 ||
        !bytes_equal(&first, &second))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(wstep_request_clear) struct wstep_request request = {0};
    CLEANUP(wstep_response_clear) struct wstep_response response = {0};
    CLEANUP(wstep_response_clear) struct wstep_response bare = {0};
    CLEANUP(wstep_fault_detail_clear) struct wstep_fault_detail detail = {0};

    if (wstep_response_parse_bare(data, size, &bare, NULL) == 0)
        response_around(&bare);
    if (soap_parse(data, size, &message, NULL) < 0)
        return 0;
    if (wstep_request_parse(message, &request, NULL) == 0)
        request_around(&request);
    if (wstep_response_parse(message, &response, NULL) == 0)
        response_around(&response);
    (void)wstep_fault_detail_parse(message, &detail, NULL);
    return 0;
}
