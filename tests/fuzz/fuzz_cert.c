/* fuzz_cert.c - certificates in DER, and in PEM, read and written again. Seeds: the sample certificates in both forms.
 * cmake -S . -B build-fuzz -DCMAKE_C_COMPILER=clang -DAE_FUZZ=ON && cmake --build build-fuzz --target fuzz_cert
 * build-fuzz/bin/fuzz_cert -max_len=16384 NEW_CORPUS_DIRECTORY SEEDS
 */
#include <stdlib.h>
#include <string.h>

#include "protocol/pki/cert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(cert_freep) struct cert *cert = NULL;
    CLEANUP(cert_list_clear) struct cert_list list = {0};
    CLEANUP(cert_list_clear) struct cert_list anchors = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(bytes_clear) struct bytes pem = {0};

    if (size && data[0] == '-') {
        (void)cert_list_from_pem((const char *)data, size, &list, &err);
        return 0;
    }
    if (cert_parse(data, size, &cert, &err) < 0) {
        if (cert || !err)
            abort();
        return 0;
    }
    if (cert->der.len != size || cert_to_pem(cert, &pem, NULL) < 0 ||
        cert_list_from_pem(bytes_text(&pem), pem.len, &list, NULL) < 0 || !cert_equal(list.items[0], cert))
        abort(); /* what we read, we write the same */
    cert_list_add(&anchors, cert_dup(cert));
    (void)cert_strength_check(cert, NULL);
    (void)cert_chain_verify(
        cert, &list, &anchors, cert->not_before, CERT_CHAIN_PARTIAL | CERT_CHAIN_STRONG, NULL, &err);
    return 0;
}
