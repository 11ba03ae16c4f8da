/* differ.h - says how the names that would be requested now differ from those of a certificate. */
#pragma once

#include "agent/request/subject.h"

/*
 * Only where @template wants the names from us: else the CA knows them better, and NULL. Alternative names are compared
 * as far as the configuration has some of their kind: a CA may add others. What cannot be requested at all, since this
 * machine does not know its own name, is a difference too.
 *
 * Returns owned: one sentence for a person, printable; or NULL when nothing differs.
 */
char *differ_names(const struct template *template, const struct job_names *names, const struct machine *machine,
    const struct cert *held);
