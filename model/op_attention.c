/* op_attention.c - two matrix products around a softmax. */
#include "model/op_attention.h"

#include "model/op_softmax.h"

#include <string.h>

/* p[n_queries][n_keys]: the softmax of every query's scores, 0 for the keys behind it. */
static void probabilities(bl_real *p, const bl_attention_head *head, size_t start, size_t first,
                          size_t n_queries)
{
    const size_t n_keys = first + n_queries - start;

    for (size_t i = 0; i < head->n_parts; i++) {
        const bl_attention_part *part = &head->part[i];

        bl_gemm_nt(n_queries, n_keys, part->dim, head->scale, part->q + first * part->ldq,
                   part->ldq, part->k + start * part->ldk, part->ldk, i == 0 ? 0 : 1, p, n_keys);
    }
    for (size_t i = 0; i < n_queries; i++) {
        const size_t n_seen = first + i + 1 - start;

        bl_softmax(p + i * n_keys, n_seen);
        memset(p + i * n_keys + n_seen, 0, (n_keys - n_seen) * sizeof(*p));
    }
}

void bl_attention(const bl_attention_head *head, size_t start, size_t first, size_t n_queries,
                  bl_real *scores)
{
    const size_t n_keys = first + n_queries - start;

    probabilities(scores, head, start, first, n_queries);
    bl_gemm_nn(n_queries, head->v_dim, n_keys, 1, scores, n_keys, head->v + start * head->ldv,
               head->ldv, 0, head->out + first * head->ldout, head->ldout);
}

static bl_real dot(const bl_real *a, const bl_real *b, size_t n)
{
    bl_real sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* ds = p (dp - sum_t p dp), where the sum is out . dout; ds comes in place of dp. */
static void softmax_backward(bl_real *ds, const bl_real *p, size_t n, bl_real sum)
{
    for (size_t t = 0; t < n; t++)
        ds[t] = p[t] * (ds[t] - sum);
}

void bl_attention_backward(const bl_attention_head_gradient *gradient,
                           const bl_attention_head *head, size_t start, size_t first,
                           size_t n_queries, bl_real *scratch)
{
    const size_t n_keys = first + n_queries - start;
    const bl_real *dout = gradient->dout + first * gradient->lddout;
    bl_real *p = scratch, *ds = p + n_queries * n_keys;

    probabilities(p, head, start, first, n_queries);
    bl_gemm_tn(n_keys, head->v_dim, n_queries, 1, p, n_keys, dout, gradient->lddout, 1,
               gradient->dv + start * gradient->lddv, gradient->lddv);
    bl_gemm_nt(n_queries, n_keys, head->v_dim, 1, dout, gradient->lddout,
               head->v + start * head->ldv, head->ldv, 0, ds, n_keys);
    for (size_t i = 0; i < n_queries; i++)
        softmax_backward(
            ds + i * n_keys, p + i * n_keys, n_keys,
            dot(head->out + (first + i) * head->ldout, dout + i * gradient->lddout, head->v_dim));
    for (size_t i = 0; i < head->n_parts; i++) {
        const bl_attention_part *part = &head->part[i];
        const size_t lddq = gradient->part[i].lddq, lddk = gradient->part[i].lddk;

        bl_gemm_nn(n_queries, part->dim, n_keys, head->scale, ds, n_keys,
                   part->k + start * part->ldk, part->ldk, 0, gradient->part[i].dq + first * lddq,
                   lddq);
        bl_gemm_tn(n_keys, part->dim, n_queries, head->scale, ds, n_keys,
                   part->q + first * part->ldq, part->ldq, 1, gradient->part[i].dk + start * lddk,
                   lddk);
    }
}
