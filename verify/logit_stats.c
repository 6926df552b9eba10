/* logit_stats.c - see logit_stats.h. */
#include "verify/logit_stats.h"

#include "base/alloc.h"
#include "base/clones.h"
#include "base/size.h"
#include "model/op_exp.h"
#include "model/op_softmax.h"

#include <assert.h>
#include <math.h>

enum { N_LANES = 8, CHUNK = 512 };

bl_status bl_logit_stats_init(bl_logit_stats *out, size_t n_models, const int32_t *target,
                              size_t n_tokens, struct bl_err *err)
{
    bl_logit_stats s = { .n_tokens = n_tokens, .n_models = n_models, .target = target };

    s.token = bl_calloc(n_tokens, n_models * sizeof(*s.token));
    if (n_models > 1)
        s.cross = bl_calloc(n_tokens, sizeof(*s.cross));
    if (!s.token || (n_models > 1 && !s.cross)) {
        bl_logit_stats_release(&s);
        return bl_fail_nomem(err, "token scores");
    }
    for (size_t i = 0; i < n_tokens * n_models; i++)
        s.token[i].max = -INFINITY;
    *out = s;
    return BL_OK;
}

void bl_logit_stats_release(bl_logit_stats *stats)
{
    bl_free(stats->token);
    bl_free(stats->cross);
    *stats = (bl_logit_stats){ 0 };
}

/* Sums over one chunk: of e[i], and of e[i] (p[i] - q[i]) when q is there. */
BL_CLONES
static void sum_chunk(double *sum, double *cross, const float *e, const float *p, const float *q,
                      size_t n)
{
    double lane[N_LANES] = { 0 }, difference[N_LANES] = { 0 };
    size_t i = 0;

    for (; i + N_LANES <= n; i += N_LANES)
        for (size_t j = 0; j < N_LANES; j++)
            lane[j] += (double)e[i + j];
    for (size_t k = i; k < n; k++)
        lane[k % N_LANES] += (double)e[k];
    for (size_t j = 0; j < N_LANES; j++)
        *sum += lane[j];
    if (!q)
        return;
    for (i = 0; i + N_LANES <= n; i += N_LANES)
        for (size_t j = 0; j < N_LANES; j++)
            difference[j] += (double)e[i + j] * ((double)p[i + j] - (double)q[i + j]);
    for (; i < n; i++)
        difference[i % N_LANES] += (double)e[i] * ((double)p[i] - (double)q[i]);
    for (size_t j = 0; j < N_LANES; j++)
        *cross += difference[j];
}

BL_CLONES
static void exponentials(float *e, const float *z, float max, size_t n)
{
    for (size_t i = 0; i < n; i++)
        e[i] = bl_exp(z[i] - max);
}

/* A larger maximum: what was summed so far shrinks by e^(old - new). */
static void raise_max(bl_logit_sum *s, double *cross, const float *z, size_t n, uint64_t row)
{
    float old = s->max, top = bl_largest(z, n);
    size_t i = 0;

    if (!(top > old))
        return;
    while (z[i] != top)
        i++;
    s->max = top;
    s->argmax = (uint32_t)(row + i);
    if (old > -INFINITY) {
        double shrink = exp((double)old - (double)s->max);

        s->sum *= shrink;
        if (cross)
            *cross *= shrink;
    }
}

/* One slice of one token: z of this model, and q to compare with (or NULL). */
static void add_slice(bl_logit_sum *s, double *cross, const float *z, const float *q, size_t n,
                      uint64_t row, int64_t target)
{
    float e[CHUNK];

    raise_max(s, cross, z, n, row);
    if (target >= (int64_t)row && target < (int64_t)(row + n))
        s->target = z[(uint64_t)target - row];
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t step = (size_t)bl_min_u64(CHUNK, n - i);

        exponentials(e, z + i, s->max, step);
        sum_chunk(&s->sum, cross, e, z + i, q ? q + i : NULL, step);
    }
}

bl_status bl_logit_stats_add(void *context, size_t token, size_t n_tokens, uint64_t row,
                             uint64_t n_rows, const float *const *logits, struct bl_err *err)
{
    bl_logit_stats *stats = context;
    const size_t n = (size_t)n_rows, n_models = stats->n_models;

    (void)err;
    assert(n_models <= 2);
    for (size_t t = 0; t < n_tokens; t++) {
        bl_logit_sum *s = stats->token + (token + t) * stats->n_models;
        double *cross = stats->cross ? stats->cross + token + t : NULL;
        int64_t target = stats->target[token + t];

        for (size_t m = 0; m < n_models; m++)
            add_slice(s + m, m == 0 ? cross : NULL, logits[m] + t * n,
                      m == 0 && cross ? logits[1] + t * n : NULL, n, row, target);
    }
    return BL_OK;
}

bl_status bl_logit_beside_add(void *beside, size_t token, size_t n_tokens, uint64_t row,
                              uint64_t n_rows, const float *const *logits, struct bl_err *err)
{
    const bl_logit_beside *b = beside;
    bl_status rc = BL_OK;

    for (size_t i = 0; i < b->n && rc == BL_OK; i++) {
        const float *const pair[2] = { logits[0], logits[1 + i] };

        assert(b->stats[i].n_models == 2);
        rc = bl_logit_stats_add(&b->stats[i], token, n_tokens, row, n_rows, pair, err);
    }
    return rc;
}

double bl_logit_stats_nll(const bl_logit_stats *stats, size_t token, size_t model)
{
    const bl_logit_sum *s = stats->token + token * stats->n_models + model;

    return log(s->sum) + ((double)s->max - (double)s->target);
}

double bl_logit_stats_kl(const bl_logit_stats *stats, size_t token)
{
    const bl_logit_sum *p = stats->token + token * stats->n_models, *q = p + 1;
    double lse_p = log(p->sum) + (double)p->max, lse_q = log(q->sum) + (double)q->max;

    return stats->cross[token] / p->sum - (lse_p - lse_q);
}

bool bl_logit_stats_same_top(const bl_logit_stats *stats, size_t token)
{
    const bl_logit_sum *p = stats->token + token * stats->n_models;

    return p[0].argmax == p[1].argmax;
}
