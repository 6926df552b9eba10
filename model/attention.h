/*
 * attention.h - the attention half of a layer: hidden += Wo Attention(RMSNorm(hidden)).
 *
 * Two kinds, told apart by the network's data: multi-head latent attention (attention_mla.c) and
 * grouped-query attention (attention_gqa.c). Both go through the heads in groups, so that q, k and
 * v of all heads never exist at once. Sequences do not see each other.
 *
 * Memory: bl_attention_floats() for every token of the block; for each thread one block of scores,
 * BL_ATTENTION_BLOCK (op_attention.h) * n_positions floats.
 */
#ifndef BL_MODEL_ATTENTION_H
#define BL_MODEL_ATTENTION_H

#include "model/op_attention.h"
#include "model/op_rope.h"
#include "model/block.h"
#include "model/taps.h"
#include "model/weights.h"

enum { BL_ATTENTION_GROUP = 16 }; /* query heads that are computed together */

/* Floats for every token of a block, at most, beside its hidden states. */
size_t bl_attention_floats(const bl_network *network);

BL_MUST_USE bl_status bl_attention_mla(bl_block *block, uint32_t layer, const bl_weights *weights,
                                       const bl_taps *taps, struct bl_err *err);

BL_MUST_USE bl_status bl_attention_gqa(bl_block *block, uint32_t layer, const bl_weights *weights,
                                       const bl_taps *taps, struct bl_err *err);

/* q, k and v of a group of heads for all tokens, rotated, and where their result goes. */
typedef struct bl_attention_heads {
    uint32_t n_heads;      /* query heads in the group */
    uint32_t heads_per_kv; /* query heads that share a k and a v */
    const float *q;        /* [T][n_heads][own_dim + shared_dim] */
    size_t ldq;
    const float *k; /* per kv head k_stride apart: own_dim values */
    size_t ldk, k_stride, own_dim;
    const float *shared_k; /* [T][shared_dim]: one k for all heads, or NULL */
    size_t ld_shared, shared_dim;
    const float *v; /* per kv head v_stride apart: v_dim values */
    size_t ldv, v_stride, v_dim;
    float *out; /* [T][n_heads][v_dim] */
    size_t ldout;
    float scale;
} bl_attention_heads;

/* Causal attention of every head of the group over every sequence of the block. */
BL_MUST_USE bl_status bl_attention_heads_run(const bl_attention_heads *heads, const bl_block *block,
                                             int n_threads, struct bl_err *err);

/* Head `head` of the group over the sequence that begins at token `row`. */
bl_attention_head bl_attention_head_of(const bl_attention_heads *heads, size_t head, size_t row);

/* The end of the run of queries [i, end) that see keys from the same *start on (starts NULL: 0). */
size_t bl_attention_run_end(size_t *start, const uint32_t *starts, size_t i, size_t end);

/* Gradients of the heads of a group, laid out as the group itself unless said otherwise. */
typedef struct bl_attention_heads_gradient {
    float *dq, *dk, *dv; /* set */
    float *dshared_k;    /* [T][shared_dim], rows ld_shared apart: set; where the group has one */
    const float *dout;   /* given; out is as the forward pass left it */
} bl_attention_heads_gradient;

/*
 * dk and dv have the strides of k and v. Memory: 2 blocks of scores a thread, and where there is a
 * shared k the gradient that every head gives it, T * n_heads * shared_dim.
 */
BL_MUST_USE bl_status bl_attention_heads_backward(const bl_attention_heads_gradient *gradient,
                                                  const bl_attention_heads *heads,
                                                  const bl_block *block, int n_threads,
                                                  struct bl_err *err);

/* The gradient of bl_attention_rotate(), in place. */
BL_MUST_USE bl_status bl_attention_rotate_backward(float *dx, size_t lddx, size_t n_heads,
                                                   size_t head_stride, const bl_rope *rope,
                                                   const bl_block *block, int n_threads,
                                                   struct bl_err *err);

/* Rotate x[T][n_heads][dim] (heads head_stride apart, tokens ldx) by each token's position. */
BL_MUST_USE bl_status bl_attention_rotate(float *x, size_t ldx, size_t n_heads, size_t head_stride,
                                          const bl_rope *rope, const bl_block *block, int n_threads,
                                          struct bl_err *err);

/* hidden += Wo out, with out[T][n_heads * v_dim] of all heads. */
BL_MUST_USE bl_status bl_attention_output(bl_block *block, const float *out, uint32_t layer,
                                          const bl_weights *weights, const bl_taps *taps,
                                          struct bl_err *err);

#endif
