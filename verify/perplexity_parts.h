/*
 * perplexity_parts.h - a text cut into sequences by a rule, and scores of them as statistics: what
 * runs of one model, of two, and of one under many routing policies share. Internal to verify/.
 */
#ifndef BL_VERIFY_PERPLEXITY_PARTS_H
#define BL_VERIFY_PERPLEXITY_PARTS_H

#include "verify/perplexity.h"

/* The text cut into sequences, and what is scored of them. */
typedef struct bl_ppl_cut {
    int32_t *token;  /* [n_seqs][ctx] */
    size_t *row;     /* [n_scored] places in token whose next token is scored */
    int32_t *target; /* [n_scored] that next token */
    size_t *place;   /* [n_scored] where that is in the text */
    size_t *first;   /* [n_seqs + 1] where each sequence's scores begin */
} bl_ppl_cut;

/* ctx, n_chunks, n_scored: all that can be known before the first weight is read, or what is wrong with it. */
BL_MUST_USE bl_status bl_ppl_check(bl_ppl_result *r, size_t n_models, size_t n_tokens,
                                   const bl_ppl_options *options, struct bl_err *err);

/* After it: room for the scores; on failure r is released by the caller. */
BL_MUST_USE bl_status bl_ppl_allocate(bl_ppl_result *r, struct bl_err *err);

/* And the sequences. Nothing is set on failure. */
BL_MUST_USE bl_status bl_ppl_cut_text(bl_ppl_cut *out, bl_ppl_result *r, const int32_t *tokens,
                                      size_t n_tokens, const bl_ppl_options *options,
                                      struct bl_err *err);
void bl_ppl_cut_release(bl_ppl_cut *cut); /* zeroed is allowed */

/* nll of every model, and of two kl and the count of same_top, become the other numbers. */
BL_MUST_USE bl_status bl_ppl_finish(bl_ppl_result *r, const bl_ppl_cut *cut, struct bl_err *err);

#endif
