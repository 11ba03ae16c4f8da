/* fuzz_decode.c - whatever a file holds, decode ends, and what it prints is harmless text and well-formed JSON.
 * cmake -S . -B build-fuzz -DCMAKE_C_COMPILER=clang -DAE_FUZZ=ON && cmake --build build-fuzz --target fuzz_decode
 * build-fuzz/bin/fuzz_decode -max_len=20000 NEW_CORPUS_DIRECTORY ../shared/samples/wstep
 * ../shared/samples/wstep/composed-pki
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/decode.h"
#include "protocol/base/printable.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(int (*how)(const struct node *root, FILE *out, struct err **errp), const struct node *tree)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (!out || how(tree, out, NULL) < 0 || fclose(out) != 0 || strlen(text) != len)
        abort();
    return text;
}

/* What is printed has nothing in it that is not allowed, but for its own line ends. */
static void check_harmless(char *text)
{
    char *position = NULL;

    for (char *line = strtok_r(text, "\n", &position); line; line = strtok_r(NULL, "\n", &position)) {
        CLEANUP(mem_freep) char *again = printable(line, strlen(line), (unsigned)strlen(line) + 1);

        if (strcmp(line, again) != 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(node_freep) struct node *tree = node_new();
    CLEANUP(bytes_clear) struct bytes input = {0};
    CLEANUP(err_freep) struct err *err = NULL;
    CLEANUP(mem_freep) char *text = NULL;
    CLEANUP(mem_freep) char *json_text = NULL;
    json_t *json;

    bytes_set(&input, data, size);
    if (decode(tree, &input, &err) < 0 && !err)
        abort();
    text = print(node_print, tree);
    check_harmless(text);
    json_text = print(node_print_json, tree);
    json = json_loads(json_text, JSON_REJECT_DUPLICATES, NULL);
    if (!json)
        abort();
    json_decref(json);
    return 0;
}
