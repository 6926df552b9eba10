/*
 * op_rope.h - rotary position embedding (arXiv 2104.09864).
 *
 * A vector of dim values is dim/2 pairs; pair i at position p turns by the angle p * inv_freq[i]:
 *     (a, b) -> (a cos - b sin, a sin + b cos)
 * Interleaved: pair i is values (2i, 2i + 1). Half-split: values (i, i + dim/2).
 */
#ifndef BL_MODEL_OP_ROPE_H
#define BL_MODEL_OP_ROPE_H

#include "base/err.h"
#include "base/real.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cos and sin of every position of a sequence, times the magnitude. */
typedef struct bl_rope {
    uint32_t dim;
    bool interleaved;
    size_t n_positions;
    bl_real *cos, *sin; /* [n_positions][dim / 2] */
} bl_rope;

BL_MUST_USE bl_status bl_rope_init(bl_rope *out, uint32_t dim, bool interleaved,
                                   const double *inv_freq, double magnitude, size_t n_positions,
                                   struct bl_err *err);
void bl_rope_release(bl_rope *rope);

/* Rotate x[n_heads][dim], vectors head_stride apart, all at one position, in place. */
void bl_rope_rotate(bl_real *x, size_t n_heads, size_t head_stride, const bl_rope *rope,
                    size_t position);

/* The backward pass, in place of dy: the rotation by the negative angle, times the magnitude. */
void bl_rope_rotate_backward(bl_real *dy, size_t n_heads, size_t head_stride, const bl_rope *rope,
                             size_t position);

#endif
