/*
 * tokenizer_build.h - fill the tables of a bl_tokenizer_file one token and one merge at a time,
 * whatever file they come from. What must hold for any source is checked here: texts are UTF-8
 * without NUL, each text and each id stands once, ids are in proportion to the tokens, a merge
 * joins two known tokens to a third and stands once.
 *
 * The order: new, measure every token, room, every token, merges, every merge, check_merges, end.
 */
#ifndef BL_FORMATS_TOKENIZER_BUILD_H
#define BL_FORMATS_TOKENIZER_BUILD_H

#include "base/map.h"
#include "base/text.h"
#include "formats/tokenizer/tokenizer_file.h"

typedef struct bl_tokenizer_builder {
    bl_tokenizer_file *file;
    const char *key; /* of what is read now, for sentences; the caller moves it on to the merges */
    bl_map id_of;    /* text -> id of every token so far; its keys are the file's texts */
    uint64_t n_tokens, n_bytes, max_id; /* measured */
    char *pool;                         /* where the next text goes */
    bl_text joined;                     /* of the merge that is looked up */
} bl_tokenizer_builder;                 /* zero-initialise */

/*
 * A file without tokens, whose special ids are -1. key: where its tokens are, a text that outlives
 * the builder. On failure there is nothing to release.
 */
BL_MUST_USE bl_status bl_tokenizer_build_new(bl_tokenizer_builder *b, const char *name,
                                             const char *key, struct bl_err *err);

/* Release all but the file, or with it (failed); the file goes to *out otherwise. */
void bl_tokenizer_build_end(bl_tokenizer_file **out, bl_tokenizer_builder *b, bool failed);

/* Announce a token of n bytes. Fails with BL_E_FORMAT for an id of BL_TOKENIZER_MAX_IDS or more. */
BL_MUST_USE bl_status bl_tokenizer_build_measure(bl_tokenizer_builder *b, const char *text,
                                                 size_t n, uint64_t id, struct bl_err *err);

/* Allocate for what was measured, and n_added added tokens, which the caller fills. */
BL_MUST_USE bl_status bl_tokenizer_build_room(bl_tokenizer_builder *b, uint32_t n_added,
                                              struct bl_err *err);
BL_MUST_USE bl_status bl_tokenizer_build_token(bl_tokenizer_builder *b, const char *text, size_t n,
                                               uint32_t id, struct bl_err *err);

BL_MUST_USE bl_status bl_tokenizer_build_merges(bl_tokenizer_builder *b, uint64_t n,
                                                struct bl_err *err);
/* The merge of this rank, of tokens that were added before. */
BL_MUST_USE bl_status bl_tokenizer_build_merge(bl_tokenizer_builder *b, uint32_t rank,
                                               const char *left, size_t n_left, const char *right,
                                               size_t n_right, struct bl_err *err);
/* The same from "left right": n bytes with one space in them. */
BL_MUST_USE bl_status bl_tokenizer_build_spaced_merge(bl_tokenizer_builder *b, uint32_t rank,
                                                      const char *both, size_t n,
                                                      struct bl_err *err);
/* Fails with BL_E_FORMAT when a pair has two ranks. */
BL_MUST_USE bl_status bl_tokenizer_build_check_merges(const bl_tokenizer_builder *b,
                                                      struct bl_err *err);

#endif
