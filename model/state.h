/*
 * state.h - a run between two layers: the tokens, and the residual stream of every one of them.
 *
 * The tokens are n_seqs independent sequences of n_positions each; row s * n_positions + p of
 * `hidden` is position p of sequence s. A state can be saved after any layer and loaded again: the
 * run goes on with the same bits.
 *
 * File (little-endian; a scratch file of this program, not an interchange format):
 *     0   8 bytes   "BLSTATE" and version byte 1
 *     8   u32 x 4   n_seqs, n_positions, hidden_size, n_layers_done
 *    24   u64 x 2   run_id: whatever the driver wants to find again (model, policy)
 *    40   u64 x 2   XXH3-128 of the tokens
 *    56   i32       tokens [n_seqs * n_positions]
 *         f32       hidden [n_seqs * n_positions][hidden_size]
 *         u64 x 2   XXH3-128 of everything before
 */
#ifndef BL_MODEL_STATE_H
#define BL_MODEL_STATE_H

#include "base/err.h"
#include "base/hash.h"
#include "base/sink.h"
#include "base/source.h"
#include "model/matrix.h"
#include "model/tape.h"

#include <stddef.h>
#include <stdint.h>

/* Where a run may be, and how much of it at a time. Zeroed: in memory, all tokens at once. */
typedef struct bl_room {
    uint32_t block_seqs; /* sequences whose activations exist at the same time; 0: all */
    const char *scratch; /* folder that takes what is kept for every token; NULL: memory */
} bl_room;

typedef struct bl_state {
    uint32_t n_seqs, n_positions, hidden_size;
    uint32_t n_layers_done; /* layers 0 .. n_layers_done - 1 are in hidden; 0: the embedding */
    size_t n_tokens;        /* n_seqs * n_positions */
    int32_t *token;         /* [n_tokens] */
    const uint32_t *start;  /* [n_tokens] first position that each token sees; NULL: 0. Borrowed */
    bl_matrix hidden;       /* [n_tokens][hidden_size] */
    bl_tape *tape;     /* what the next layer keeps for a backward pass; NULL: nothing. Borrowed */
    bl_room room;      /* its scratch is borrowed */
    bl_hash128 run_id; /* the driver's; zero unless set */
} bl_state;

/* Copies n_seqs * n_positions tokens; hidden is zero until bl_embed(). room: NULL for zeroed. */
BL_MUST_USE bl_status bl_state_init(bl_state *out, const int32_t *tokens, uint32_t n_seqs,
                                    uint32_t n_positions, uint32_t hidden_size, const bl_room *room,
                                    struct bl_err *err);
void bl_state_release(bl_state *state);

BL_MUST_USE bl_status bl_state_save(const bl_state *state, bl_sink *sink, struct bl_err *err);

/*
 * Fails with BL_E_FORMAT when the file is not a state, is cut, or a checksum is wrong. The caller
 * compares tokens and run_id with those of the run that it continues.
 */
BL_MUST_USE bl_status bl_state_load(bl_state *out, bl_source *source, const bl_room *room,
                                    struct bl_err *err);

#endif
