/* fuzz_payload.c - whatever a server may be sent, read and verified. Seeds: the DER of the sample requests.
 * cmake -S . -B build-fuzz -DCMAKE_C_COMPILER=clang -DAE_FUZZ=ON && cmake --build build-fuzz --target fuzz_payload
 * build-fuzz/bin/fuzz_payload -max_len=16384 NEW_CORPUS_DIRECTORY SEEDS
 */
#include <stdlib.h>

#include "protocol/pki/payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(payload_freep) struct payload *payload = NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    if (payload_parse(data, size, &payload, &err) < 0) {
        if (payload || !err || err_code(err) == 0)
            abort(); /* a refusal gives nothing out and says why, with a code */
        return 0;
    }
    if (payload_verify(payload, &err) < 0) {
        if (!err || err_code(err) == 0)
            abort();
        return 0;
    }
    if (!payload->csr || (payload->csr->old_cert && !payload_cert_signer(payload)))
        abort(); /* what verifies is a request, and a renewal has the old certificate's signature */
    return 0;
}
