/* complete.h - what may stand at a place of the command line, for the completions of shells. */
#pragma once

#include "agent/ctl/verb.h"

/*
 * @words  the command line so far without the program's name; the last one is being typed, and may be ""
 * Prints a line for each word that could stand there: the word, a tab, what it is. "@files" as a word: names of files.
 * Silent where it does not know, or there is no daemon. Returns 0.
 */
int complete_words(struct ctl *ctl, char **words, size_t n);
