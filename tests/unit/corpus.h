/*
 * corpus.h - the files of a corpus, each with its verdict: FOLDER/expected.tsv has a line for each,
 * its name, a tab, and what a refusal must say.
 */
#ifndef BL_TESTS_CORPUS_H
#define BL_TESTS_CORPUS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

/* Call check(name, said) for every line; how many there were. */
static inline int corpus_for_each(const char *expected,
                                  void (*check)(const char *name, const char *said))
{
    FILE *f = fopen(expected, "r");
    char line[256];
    int n = 0;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        char *said = strchr(line, '\t');

        assert_non_null(said);
        *said++ = '\0';
        said[strcspn(said, "\n")] = '\0';
        check(line, said);
        n++;
    }
    fclose(f);
    return n;
}

#endif
