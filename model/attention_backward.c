/*
 * attention_backward.c - what both kinds of attention share on the way back. One task is a sequence and
 * a key-value head with all its query heads: nobody else adds to its dk and dv.
 */
#include "model/attention.h"

#include "base/alloc.h"
#include "base/par.h"
#include "base/size.h"
#include "model/rows.h"

#include <string.h>

struct backward_job {
    const bl_attention_heads *heads;
    const bl_attention_heads_gradient *gradient;
    const bl_block *block;
    float *scratch; /* [n_threads][2][BL_ATTENTION_BLOCK][n_positions] */
    float *shared;  /* [T][n_heads][shared_dim], or NULL */
};

static void clear(float *x, size_t ld, size_t n_rows, size_t n)
{
    for (size_t t = 0; t < n_rows; t++)
        memset(x + t * ld, 0, n * sizeof(*x));
}

static void run_head(const struct backward_job *job, size_t head, size_t row, float *scratch)
{
    const bl_attention_heads *g = job->heads;
    const bl_attention_heads_gradient *to = job->gradient;
    const bl_block *b = job->block;
    const bl_attention_head h = bl_attention_head_of(g, head, row);
    const size_t kv = head / g->heads_per_kv, ld_own = g->n_heads * g->shared_dim;
    float *dq = to->dq + row * g->ldq + head * (g->own_dim + g->shared_dim);
    float *shared = job->shared ? job->shared + row * ld_own + head * g->shared_dim : NULL;
    const bl_attention_head_gradient d = {
        .part = { { dq, to->dk + row * g->ldk + kv * g->k_stride, g->ldq, g->ldk },
                  { dq + g->own_dim, shared, g->ldq, ld_own } },
        .dv = to->dv + row * g->ldv + kv * g->v_stride,
        .lddv = g->ldv,
        .dout = to->dout + row * g->ldout + head * g->v_dim,
        .lddout = g->ldout,
    };

    for (size_t first = 0, next, start; first < b->n_positions; first = next) {
        const size_t end = first - first % BL_ATTENTION_BLOCK + BL_ATTENTION_BLOCK;

        next = bl_attention_run_end(&start, b->start ? b->start + row : NULL, first,
                                    (size_t)bl_min_u64(end, b->n_positions));
        bl_attention_backward(&d, &h, start, first, next - first, scratch);
    }
}

static bl_status run_kv_head(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct backward_job *job = context;
    const bl_attention_heads *g = job->heads;
    const size_t n = job->block->n_positions, n_kv = g->n_heads / g->heads_per_kv, kv = i % n_kv;
    const size_t row = i / n_kv * n;
    float *scratch = job->scratch + (size_t)i_thread * 2 * BL_ATTENTION_BLOCK * n;

    (void)err;
    clear(job->gradient->dk + row * g->ldk + kv * g->k_stride, g->ldk, n, g->own_dim);
    clear(job->gradient->dv + row * g->ldv + kv * g->v_stride, g->ldv, n, g->v_dim);
    for (size_t head = kv * g->heads_per_kv; head < (kv + 1) * g->heads_per_kv; head++)
        run_head(job, head, row, scratch);
    return BL_OK;
}

static void add_shared(void *context, size_t row, size_t n_rows, int i_thread)
{
    const struct backward_job *job = context;
    const bl_attention_heads *g = job->heads;
    const size_t dim = g->shared_dim;

    (void)i_thread;
    for (size_t t = row; t < row + n_rows; t++) {
        float *out = job->gradient->dshared_k + t * g->ld_shared;

        memset(out, 0, dim * sizeof(*out));
        for (size_t h = 0; h < g->n_heads; h++)
            for (size_t j = 0; j < dim; j++)
                out[j] += job->shared[(t * g->n_heads + h) * dim + j];
    }
}

bl_status bl_attention_heads_backward(const bl_attention_heads_gradient *gradient,
                                      const bl_attention_heads *heads, const bl_block *block,
                                      int n_threads, struct bl_err *err)
{
    struct backward_job job = { .heads = heads, .gradient = gradient, .block = block };
    bl_status rc = BL_OK;

    job.scratch = bl_alloc((size_t)n_threads * 2 * BL_ATTENTION_BLOCK,
                           block->n_positions * sizeof(*job.scratch));
    if (heads->shared_k)
        job.shared =
            bl_calloc(block->n_tokens, heads->n_heads * heads->shared_dim * sizeof(*job.shared));
    if (!job.scratch || (heads->shared_k && !job.shared))
        rc = bl_fail_nomem(err, "attention scores");
    if (rc == BL_OK)
        rc = bl_par_for((size_t)block->n_seqs * (heads->n_heads / heads->heads_per_kv), n_threads,
                        run_kv_head, &job, err);
    if (rc == BL_OK && heads->shared_k)
        rc = bl_rows_for(block->n_tokens, n_threads, add_shared, &job, err);
    bl_free(job.scratch);
    bl_free(job.shared);
    return rc;
}
