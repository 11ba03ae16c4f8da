/* fuzz_csr.c - PKCS#10 requests, read and verified. Seeds: the PKCS#10 of the sample requests.
 * cmake -S . -B build-fuzz -DCMAKE_C_COMPILER=clang -DAE_FUZZ=ON && cmake --build build-fuzz --target fuzz_csr
 * build-fuzz/bin/fuzz_csr -max_len=16384 NEW_CORPUS_DIRECTORY SEEDS
 */
#include <stdlib.h>
#include <string.h>

#include "protocol/pki/csr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(csr_freep) struct csr *csr = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(bytes_clear) struct bytes subject = {0};

    if (csr_parse(data, size, &csr, &err) < 0) {
        if (csr || !err || err_code(err) == 0)
            abort();
        return 0;
    }
    if (csr->der.len != size)
        abort();
    if (!strstr(csr->subject, "=#") && name_parse(csr->subject, &subject, NULL) < 0)
        abort(); /* the text of a name is a name, but for values that are not text */
    (void)csr_verify(csr, true, &err);
    return 0;
}
