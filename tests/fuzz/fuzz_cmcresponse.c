/* fuzz_cmcresponse.c - what a client gets from a CA, read and verified. Seeds: the DER of the sample responses.
 * cmake -S . -B build-fuzz -DCMAKE_C_COMPILER=clang -DAE_FUZZ=ON && cmake --build build-fuzz --target fuzz_cmcresponse
 * build-fuzz/bin/fuzz_cmcresponse -max_len=16384 NEW_CORPUS_DIRECTORY SEEDS
 */
#include <stdlib.h>

#include "protocol/pki/cmc_response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(cmc_response_freep) struct cmc_response *response = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    const struct cert *signer = NULL, *leaf;

    if (cmc_response_parse(data, size, &response, &err) < 0) {
        if (response || !err)
            abort();
        return 0;
    }
    if (cmc_response_verify(response, NULL, &signer, &err) == 0 && !signer && !response->certs_only)
        abort(); /* a signature that verifies has a signer */
    leaf = cmc_response_leaf(response, NULL, NULL);
    if (leaf && response->status == CMC_ISSUED && cmc_response_check_leaf(response, leaf, NULL) < 0)
        abort(); /* what the hash names is what it checks */
    return 0;
}
