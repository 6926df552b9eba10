/* occurrences.h - how often a word stands in a text. */
#ifndef BL_TESTS_OCCURRENCES_H
#define BL_TESTS_OCCURRENCES_H

#include <string.h>

static inline size_t count(const char *text, const char *word)
{
    size_t n = 0;

    for (text = strstr(text, word); text; text = strstr(text + 1, word))
        n++;
    return n;
}

#endif
