/*
 * room.h - how much memory a forward pass takes, and how to make it fit: in how many tokens at a
 * time, and what goes to a scratch file. The formula, in floats (docs/performance.md):
 *
 *     every model:   T * hidden, unless spilled; as much for each copy
 *     one layer:     the largest of
 *         attention  B * bl_attention_floats() + threads * 64 * positions
 *         dense MLP  B * (hidden + 2 * intermediate)
 *         experts    T * hidden unless spilled, + T * 4 * chosen, and the largest of
 *                    B * experts;  R * 2 * (hidden + width);  B * 2 * shared width
 *                    (R: bl_moe_rows())
 *     its weights:   a slab, or with several blocks the half layer's matrices decoded
 *     spilled:       B * hidden, twice
 *     heads:         rows * hidden of every model, a slab of each, threads * 128 * 1024; as many
 *                    scored rows at a time as the largest layer leaves room for
 *
 * T: all tokens, B: those of a block.
 */
#ifndef BL_MODEL_ROOM_H
#define BL_MODEL_ROOM_H

#include "model/network.h"
#include "model/state.h"

enum { BL_ROOM_MAX_MODELS = 4 };

/* What a pass is asked to do. */
typedef struct bl_room_job {
    const bl_network *network[BL_ROOM_MAX_MODELS];
    size_t n_models;
    uint32_t n_seqs, n_positions;
    size_t n_scored; /* positions whose logits are made */
    int n_threads;
    uint32_t n_copies; /* of every token's hidden state that the caller keeps, as the state is */
} bl_room_job;

/* Bytes at the worst moment, beside what the process holds before; spilled: bytes of scratch. */
uint64_t bl_room_bytes(const bl_room_job *job, const bl_room *room, uint64_t *spilled);

/*
 * Scored positions that pass through the heads at a time: all, or what fits where a layer did, in
 * whole blocks of the head (BL_HEAD_TOKENS), so that no logit depends on it.
 */
size_t bl_room_head_rows(const bl_room_job *job, const bl_room *room);

/*
 * The roomiest way that takes at most `bytes`: all at once, else in blocks, else in blocks with
 * scratch (which may be NULL: not allowed). BL_E_USAGE, saying what is needed, when none does.
 */
BL_MUST_USE bl_status bl_room_choose(bl_room *out, const bl_room_job *job, uint64_t bytes,
                                     const char *scratch, struct bl_err *err);

/*
 * The way that takes least: a sequence at a time, or all at once, which can take less, as blocks
 * keep their weights decoded.
 */
bl_room bl_room_least(const bl_room_job *job, const char *scratch);

#endif
