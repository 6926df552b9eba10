/*
 * head.h - from the last hidden states to logits, over the vocabulary in slices.
 *
 * Tokens x vocabulary never exists: a slice of the head's rows is decoded, its logits are made for
 * one block of tokens at a time and handed to a callback, and dropped. Several models (or one
 * model's several variants) can pass in lockstep, slice by slice, so that they can be compared.
 */
#ifndef BL_MODEL_HEAD_H
#define BL_MODEL_HEAD_H

#include "model/state.h"
#include "model/weights.h"

enum { BL_HEAD_MAX_MODELS = 4, BL_HEAD_TOKENS = 128, BL_HEAD_ROWS = 1024 };

/* Rows [row, row + n_rows) of a head that lies elsewhere, to out[n_rows][hidden]. */
typedef bl_status (*bl_head_rows_fn)(void *context, float *out, uint64_t row, uint64_t n_rows,
                                     struct bl_err *err);

typedef struct bl_head {
    const bl_weights *weights;
    const bl_tensor *table; /* [vocab][hidden] */
    const float *x;         /* [n_tokens][hidden], after the final norm */
    bl_head_rows_fn read;   /* gives the rows in place of weights; table then has the shape only */
    void *read_context;
} bl_head;

/*
 * logits[m] is model m's [n_tokens][n_rows]: rows [row, row + n_rows) of the vocabulary for tokens
 * [token, token + n_tokens). Called from many threads, for a block of tokens one at a time and in
 * ascending row.
 */
typedef bl_status (*bl_logits_fn)(void *context, size_t token, size_t n_tokens, uint64_t row,
                                  uint64_t n_rows, const float *const *logits, struct bl_err *err);

/*
 * All n_models tables must have the same number of rows (BL_E_MISMATCH). Memory: a slab for each
 * model, and for each thread and model BL_HEAD_TOKENS x BL_HEAD_ROWS floats.
 */
BL_MUST_USE bl_status bl_head_run(const bl_head *head, size_t n_models, size_t n_tokens,
                                  bl_logits_fn fn, void *context, struct bl_err *err);

/* lm_head.weight, or the embedding when the two are tied. */
BL_MUST_USE bl_status bl_head_table(const bl_tensor **out, const bl_weights *weights,
                                    struct bl_err *err);

/*
 * out[n][hidden] = RMSNorm(hidden; model.norm.weight) of the rows rows[n], or of rows 0 .. n - 1
 * when rows is NULL.
 */
BL_MUST_USE bl_status bl_final_norm(float *out, const bl_state *state, const size_t *rows, size_t n,
                                    const bl_weights *weights, struct bl_err *err);

/* The same with another norm vector w[hidden]. */
BL_MUST_USE bl_status bl_final_norm_with(float *out, const bl_state *state, const size_t *rows,
                                         size_t n, const float *w, const bl_weights *weights,
                                         struct bl_err *err);

#endif
