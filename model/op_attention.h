/*
 * op_attention.h - causal attention of one head over one sequence, a block of queries at a time.
 *
 *     s[i][t] = scale * q[i] . k[t]   for start <= t <= i
 *     o[i]    = sum_t softmax(s[i])[t] v[t]
 *
 * q and k may lie in two parts whose products add up (latent attention: each head's own
 * dimensions, and rotated ones whose k all heads share). Scores exist for one block of queries
 * only, so memory is linear in the length of the sequence; the backward pass makes them again.
 */
#ifndef BL_MODEL_OP_ATTENTION_H
#define BL_MODEL_OP_ATTENTION_H

#include "base/real.h"

enum { BL_ATTENTION_BLOCK = 64 }; /* queries; a constant, so that results depend on nothing else */

typedef struct bl_attention_part {
    const bl_real *q, *k; /* [n][dim] each */
    size_t ldq, ldk;      /* elements from row to row */
    size_t dim;
} bl_attention_part;

typedef struct bl_attention_head {
    bl_attention_part part[2];
    size_t n_parts;
    const bl_real *v; /* [n][v_dim] */
    size_t ldv, v_dim;
    bl_real *out; /* [n][v_dim] */
    size_t ldout;
    bl_real scale;
} bl_attention_head;

/*
 * Queries [first, first + n_queries) against keys start .. their own; start <= first.
 * scores: scratch of n_queries * (first + n_queries - start), n_queries <= BL_ATTENTION_BLOCK.
 */
void bl_attention(const bl_attention_head *head, size_t start, size_t first, size_t n_queries,
                  bl_real *scores);

/* Gradients of a head: dout is given; dq is set for the queries, dk and dv are added to. */
typedef struct bl_attention_head_gradient {
    struct {
        bl_real *dq, *dk; /* [n][dim] */
        size_t lddq, lddk;
    } part[2];
    bl_real *dv; /* [n][v_dim] */
    size_t lddv;
    const bl_real *dout; /* [n][v_dim] */
    size_t lddout;
} bl_attention_head_gradient;

/* With head->out as the forward pass left it. scratch: twice that of bl_attention(). */
void bl_attention_backward(const bl_attention_head_gradient *gradient,
                           const bl_attention_head *head, size_t start, size_t first,
                           size_t n_queries, bl_real *scratch);

#endif
