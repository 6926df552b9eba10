/*
 * embed.h - from token ids to the first hidden states: rows of the embedding.
 */
#ifndef BL_MODEL_EMBED_H
#define BL_MODEL_EMBED_H

#include "model/state.h"
#include "model/weights.h"

/* hidden = rows of model.embed_tokens.weight. BL_E_USAGE for an id past the vocabulary. */
BL_MUST_USE bl_status bl_embed(bl_state *state, const bl_weights *weights, struct bl_err *err);

/*
 * out[n_tokens][ld], the first n_cols of each row set, from any table of the vocabulary. Each
 * stretch of rows that holds a token is read once, in ascending order.
 */
BL_MUST_USE bl_status bl_embed_rows(float *out, size_t ld, const int32_t *tokens, size_t n_tokens,
                                    const bl_tensor *table, const bl_weights *weights,
                                    struct bl_err *err);

#endif
