#include "agent/worker/trust.h"

#include <stdio.h>

void trust_clear(struct trust *trust)
{
    bytes_clear(&trust->pem);
    cert_list_clear(&trust->anchors);
}

static int read_file(const char *path, struct bytes *out, struct err **errp)
{
    FILE *file = fopen(path, "re");
    char buffer[4096];
    size_t n;
    int r = 0;

    if (!file)
        return err_set(errp, ERR_CONFIG, "opening it: %m");
    while (r == 0 && (n = fread(buffer, 1, sizeof(buffer), file)) > 0)
        r = bytes_append(out, buffer, n, errp);
    if (r == 0 && ferror(file))
        r = err_set(errp, ERR_CONFIG, "reading it: %m");
    (void)fclose(file);
    return r;
}

int trust_read(const char *path, struct trust *trust, struct err **errp)
{
    CLEANUP(trust_clear) struct trust read = {.pem = {.limit = TRUST_MAX_FILE}};
    CLEANUP(err_freep) struct err *why = NULL;

    if (!path) {
        err_set(errp, ERR_CONFIG, "no ca-file is configured");
        return err_hint(errp, "name the PEM file with the root CA's certificate in the policy server's section");
    }
    if (read_file(path, &read.pem, &why) < 0 ||
        cert_list_from_pem(bytes_text(&read.pem), read.pem.len, &read.anchors, &why) < 0) {
        err_set(errp, ERR_CONFIG, "ca-file '%s': %s", path, err_text(why));
        return err_hint(
            errp, "the file must be readable for the worker and hold the root CA's certificate in PEM form");
    }
    *trust = read;
    read = (struct trust){0};
    return 0;
}
