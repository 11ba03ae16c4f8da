/* fuzz_xcep.c - policies and requests for them, with and without envelope; what was read is written and read again.
 * cmake -S . -B build-fuzz -DCMAKE_C_COMPILER=clang -DAE_FUZZ=ON && cmake --build build-fuzz --target fuzz_xcep
 * build-fuzz/bin/fuzz_xcep -dict=tests/fuzz/xml.dict -max_len=30000 NEW_CORPUS_DIRECTORY ../shared/samples/xcep
 */
#include <stdlib.h>
#include <string.h>

#include "protocol/xcep/xcep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void response_around(const struct xcep_response *response)
{
    CLEANUP(bytes_clear) struct bytes first = {0};
    CLEANUP(bytes_clear) struct bytes second = {0};
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(xcep_response_clear) struct xcep_response again = {0};
    struct soap_header header = {0};

    /* A CA without addresses is read, and cannot be written. */
    for (size_t i = 0; i < response->n_cas; i++)
        if (response->cas[i].n_uris == 0)
            return;
    if (xcep_response_write(&header, response, &first, NULL) < 0 ||
        soap_parse(first.data, first.len, &message, NULL) < 0 || xcep_response_parse(message, &again, NULL) < 0 ||
        again.skipped.n || xcep_response_write(&header, &again, &second, NULL) < 0 || !bytes_equal(&first, &second))
        abort();
}

static void request_around(const struct xcep_request *request)
{
    CLEANUP(bytes_clear) struct bytes first = {0};
    CLEANUP(bytes_clear) struct bytes second = {0};
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(xcep_request_clear) struct xcep_request again = {0};
    struct soap_header header = {0};

    if (xcep_request_write(&header, NULL, request, &first, NULL) < 0 ||
        soap_parse(first.data, first.len, &message, NULL) < 0 || xcep_request_parse(message, &again, NULL) < 0 ||
        xcep_request_write(&header, NULL, &again, &second, NULL) < 0 || !bytes_equal(&first, &second))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(soap_message_freep) struct soap_message *message = NULL;
    CLEANUP(xcep_request_clear) struct xcep_request request = {0};
    CLEANUP(xcep_response_clear) struct xcep_response response = {0};
    CLEANUP(xcep_response_clear) struct xcep_response bare = {0};

    if (xcep_response_parse_bare(data, size, &bare, NULL) == 0)
        response_around(&bare);
    if (soap_parse(data, size, &message, NULL) < 0)
        return 0;
    if (xcep_request_parse(message, &request, NULL) == 0)
        request_around(&request);
    if (xcep_response_parse(message, &response, NULL) == 0)
        response_around(&response);
    return 0;
}
