/* block.c - see block.h. */
#include "model/block.h"

#include "base/alloc.h"
#include "base/size.h"

static uint32_t seqs_per_block(const bl_state *state)
{
    return state->room.block_seqs ? (uint32_t)bl_min_u64(state->room.block_seqs, state->n_seqs)
                                  : state->n_seqs;
}

size_t bl_block_tokens(const bl_state *state)
{
    return (size_t)seqs_per_block(state) * state->n_positions;
}

static bl_status run_block(bl_state *state, bl_block *block, float *copy, bl_block_fn fn,
                           void *context, struct bl_err *err)
{
    bl_status rc = BL_OK;

    block->hidden = copy ? copy : state->hidden.values + block->first * state->hidden_size;
    if (copy)
        rc = bl_matrix_read(copy, &state->hidden, block->first, block->n_tokens, err);
    if (rc == BL_OK)
        rc = fn(context, block, err);
    if (rc == BL_OK && copy)
        rc = bl_matrix_write(&state->hidden, block->first, block->n_tokens, copy, err);
    return rc;
}

bl_status bl_blocks_for(bl_state *state, bl_block_fn fn, void *context, struct bl_err *err)
{
    uint32_t n = seqs_per_block(state);
    float *copy = NULL;
    bl_status rc = BL_OK;

    if (state->hidden.file) {
        copy = bl_alloc(bl_block_tokens(state), state->hidden_size * sizeof(*copy));
        if (!copy)
            return bl_fail_nomem(err, "a block of hidden states");
    }
    for (uint32_t seq = 0; seq < state->n_seqs && rc == BL_OK; seq += n) {
        bl_block block = { .first = (size_t)seq * state->n_positions,
                           .n_seqs = (uint32_t)bl_min_u64(n, state->n_seqs - seq),
                           .n_positions = state->n_positions,
                           .hidden_size = state->hidden_size };

        block.n_tokens = (size_t)block.n_seqs * block.n_positions;
        block.tape = state->tape;
        block.start = state->start ? state->start + block.first : NULL;
        rc = run_block(state, &block, copy, fn, context, err);
    }
    bl_free(copy);
    return rc;
}
