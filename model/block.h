/*
 * block.h - the tokens of a state in blocks of whole sequences, so that what a layer needs beside
 * the hidden states exists for one block at a time.
 */
#ifndef BL_MODEL_BLOCK_H
#define BL_MODEL_BLOCK_H

#include "model/state.h"

typedef struct bl_block {
    size_t first; /* the state's token that is the block's token 0 */
    uint32_t n_seqs, n_positions, hidden_size;
    size_t n_tokens;       /* n_seqs * n_positions */
    const uint32_t *start; /* [n_tokens] or NULL: bl_state's */
    bl_tape *tape;         /* NULL, or bl_state's: then there is one block */
    float *hidden;         /* [n_tokens][hidden_size]: the state's own memory, or a copy */
} bl_block;

typedef bl_status (*bl_block_fn)(void *context, bl_block *block, struct bl_err *err);

/*
 * Every block in ascending order, one at a time. What fn changes in `hidden` is the state's new
 * value. Memory: one block of hidden states where the state is spilled.
 */
BL_MUST_USE bl_status bl_blocks_for(bl_state *state, bl_block_fn fn, void *context,
                                    struct bl_err *err);

/* Tokens of the longest block. */
size_t bl_block_tokens(const bl_state *state);

#endif
