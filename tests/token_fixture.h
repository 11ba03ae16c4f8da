/* token_fixture.h - a private SoftHSM or TPM token for one test. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/key/token.h"
#include "tests/testing.h"

/* Skips the test, saying what is missing, where the programs or libraries are not installed. */
enum token_backend { TOKEN_BACKEND_SOFTHSM, TOKEN_BACKEND_TPM };

struct token_fixture {
    enum token_backend backend;
    char *dir;       /* removed at exit */
    char *store;     /* what the token's keys are in; renaming it takes the token away (SoftHSM) */
    char *state_dir; /* for locks and the memory of PINs */
    char *module;
    struct secret *pin;
    struct token_place place; /* borrows the above */
};

/*
 * Makes the token, label "tpm" or "soft". Sets the environment that the module needs in this process, so there is one
 * of each backend in a process. The TPM's process ends with this one.
 */
void token_fixture_start(struct token_fixture *f, enum token_backend backend);
void token_fixture_clear(struct token_fixture *f); /* frees what it holds; the token stays until the process ends */

/* Takes the token away, as a person pulls it out, and brings it back. */
void token_fixture_take_away(struct token_fixture *f);
void token_fixture_bring_back(struct token_fixture *f);

/* TPM: how often a wrong PIN was counted. */
unsigned token_fixture_lockout_counter(const struct token_fixture *f);

/* The number of objects that pkcs11-tool (another program, after login) sees in the token. */
unsigned token_fixture_count_objects(const struct token_fixture *f);
