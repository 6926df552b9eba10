/*
 * op_attention.h - causal attention of one head over one sequence, a block of queries at a time.
 *
 *     s[i][t] = scale * q[i] . k[t]   for start <= t <= i
 *     o[i]    = sum_t softmax(s[i])[t] v[t]
 *
 * q and k may lie in two parts whose products add up (latent attention: each head's own
 * dimensions, and rotated ones whose k all heads share). Scores exist for one block of queries
 * only, so memory is linear in the length of the sequence.
 */
#ifndef BL_MODEL_OP_ATTENTION_H
#define BL_MODEL_OP_ATTENTION_H

#include <stddef.h>

enum { BL_ATTENTION_BLOCK = 64 }; /* queries; a constant, so that results depend on nothing else */

typedef struct bl_attention_part {
    const float *q, *k; /* [n][dim] each */
    size_t ldq, ldk;    /* elements from row to row */
    size_t dim;
} bl_attention_part;

typedef struct bl_attention_head {
    bl_attention_part part[2];
    size_t n_parts;
    const float *v; /* [n][v_dim] */
    size_t ldv, v_dim;
    float *out; /* [n][v_dim] */
    size_t ldout;
    float scale;
} bl_attention_head;

/*
 * Queries [first, first + n_queries) against keys start .. their own; start <= first.
 * scores: scratch of n_queries * (first + n_queries - start) floats, n_queries <= BL_ATTENTION_BLOCK.
 */
void bl_attention(const bl_attention_head *head, size_t start, size_t first, size_t n_queries,
                  float *scores);

#endif
