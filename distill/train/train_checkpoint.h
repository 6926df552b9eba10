/*
 * train_checkpoint.h - a training's state as one file: weights, moments, the step, what was logged, and
 * the recipe that it belongs to.
 *
 *   "BLTRAIN1", u64 step, u64 records, u64 scored tokens, u32 bytes of the recipe, u32 parameters
 *   the recipe's text; the records, 8 numbers each; XXH3-128 of all so far
 *   of each parameter: u64 values, u32 bytes of a value (4: F32, 2: BF16), u32 length of the name, the
 *   name; weights, m, v; XXH3-128 of these
 *
 * Little-endian. Written through base/sink.h: there whole, or not there. What is read is checked against
 * the parameters that are there, so a file of another model changes nothing before it is refused.
 */
#ifndef BL_DISTILL_TRAIN_CHECKPOINT_H
#define BL_DISTILL_TRAIN_CHECKPOINT_H

#include "base/err.h"
#include "distill/train/adamw.h"
#include "distill/train/student.h"

#include <stddef.h>
#include <stdint.h>

/* What is logged of a step. Means over its scored tokens, in nats. */
typedef struct bl_train_record {
    uint64_t step;     /* steps done; 0: before the first */
    uint64_t n_tokens; /* scored so far */
    double loss, ce, kd, lr, grad_norm;
    double eval_ce; /* of the held-out text; NaN: not evaluated */
} bl_train_record;

typedef struct bl_train_state {
    bl_parameter *const *parameter; /* borrowed */
    size_t n_parameters;
    bl_adamw *adamw; /* borrowed */
    char *recipe;    /* owned, as the records are */
    uint64_t step, n_tokens;
    bl_train_record *record;
    size_t n_records, n_room;
} bl_train_state;

/* Replaces what is there. */
BL_MUST_USE bl_status bl_train_checkpoint_write(const char *path, const bl_train_state *state,
                                                struct bl_err *err);

/* What a checkpoint says of itself; no weights are read. The caller frees recipe and records. */
BL_MUST_USE bl_status bl_train_checkpoint_head(bl_train_state *out, const char *path,
                                               struct bl_err *err);

/*
 * Into the state: weights, moments, step and records. BL_E_FORMAT or BL_E_MISMATCH when it is damaged;
 * weights and moments then have no meaning.
 */
BL_MUST_USE bl_status bl_train_checkpoint_read(bl_train_state *state, const char *path,
                                               struct bl_err *err);

BL_MUST_USE bl_status bl_train_state_add(bl_train_state *state, const bl_train_record *record,
                                         struct bl_err *err);
void bl_train_state_release(bl_train_state *state); /* recipe and records */

#endif
