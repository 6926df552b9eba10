/* op_attention.c - two matrix products around a softmax. */
#include "model/op_attention.h"

#include "base/linalg.h"
#include "model/op_softmax.h"

#include <string.h>

void bl_attention(const bl_attention_head *head, size_t start, size_t first, size_t n_queries,
                  float *scores)
{
    const size_t n_keys = first + n_queries - start;

    for (size_t p = 0; p < head->n_parts; p++) {
        const bl_attention_part *part = &head->part[p];

        bl_sgemm_nt(n_queries, n_keys, part->dim, head->scale, part->q + first * part->ldq,
                    part->ldq, part->k + start * part->ldk, part->ldk, p == 0 ? 0.0f : 1.0f, scores,
                    n_keys);
    }
    for (size_t i = 0; i < n_queries; i++) {
        float *s = scores + i * n_keys;
        size_t n_seen = first + i + 1 - start;

        bl_softmax(s, n_seen);
        memset(s + n_seen, 0, (n_keys - n_seen) * sizeof(*s));
    }
    bl_sgemm_nn(n_queries, head->v_dim, n_keys, 1.0f, scores, n_keys, head->v + start * head->ldv,
                head->ldv, 0.0f, head->out + first * head->ldout, head->ldout);
}
