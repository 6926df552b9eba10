/*
 * tokenizer_added.h - finding added tokens in text; private to model/tokenizer.
 */
#ifndef BL_MODEL_TOKENIZER_ADDED_H
#define BL_MODEL_TOKENIZER_ADDED_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_added_entry {
    char *text; /* owned by the set */
    size_t n;
    int32_t id;
    bool lstrip, rstrip; /* the token takes the white space before or behind it along */
} bl_added_entry;

/* A set of texts to look for. Immutable once sealed: threads may share it. */
typedef struct bl_added_set {
    bl_added_entry *entry; /* sorted by text once sealed */
    size_t n;
    bool begins[256]; /* bytes that a text begins with */
} bl_added_set;       /* zero-initialise */

typedef struct bl_added_match {
    size_t begin, end; /* in bytes, stripped white space included */
    size_t resume;     /* where the search goes on: the reference does not skip what it stripped */
    int32_t id;
} bl_added_match;

/* Room for n entries; add at most that many (text is copied, not empty); then seal. */
BL_MUST_USE bl_status bl_added_init(bl_added_set *set, size_t n, struct bl_err *err);
BL_MUST_USE bl_status bl_added_add(bl_added_set *set, const char *text, size_t n,
                                   bl_added_entry flags, struct bl_err *err);
void bl_added_seal(bl_added_set *set);
void bl_added_release(bl_added_set *set);

/*
 * The leftmost match at or behind from, the longest there. floor: the end of the match before it,
 * which stripping to the left does not cross.
 */
bool bl_added_find(bl_added_match *match, const bl_added_set *set, const char *text, size_t n,
                   size_t from, size_t floor);

#endif
