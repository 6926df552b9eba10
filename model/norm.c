/* norm.c - see norm.h. */
#include "model/norm.h"

#include "base/alloc.h"
#include "base/size.h"
#include "model/op_rmsnorm.h"
#include "model/rows.h"

static void norm_rows(void *context, size_t row, size_t n_rows, int i_thread)
{
    const bl_norm *j = context;

    (void)i_thread;
    bl_rmsnorm(j->y + row * j->ldy, j->ldy, j->x + row * j->ldx, j->ldx, j->w, n_rows, j->n,
               j->eps);
}

bl_status bl_norm_run(const bl_norm *norm, int n_threads, struct bl_err *err)
{
    bl_norm job = *norm;

    return bl_rows_for(norm->n_rows, n_threads, norm_rows, &job, err);
}

bl_status bl_norm_block(float *out, const bl_block *block, uint32_t layer, const char *suffix,
                        const bl_weights *weights, struct bl_err *err)
{
    size_t n = block->hidden_size;
    bl_norm norm = { .y = out,
                     .ldy = n,
                     .x = block->hidden,
                     .ldx = n,
                     .n_rows = block->n_tokens,
                     .n = n,
                     .eps = weights->network->norm_eps };
    float *w = NULL;
    bl_status rc = bl_weights_vector(&w, weights, layer, suffix, n, err);

    norm.w = w;
    if (rc == BL_OK)
        rc = bl_norm_run(&norm, weights->n_threads, err);
    bl_free(w);
    return rc;
}

struct backward_job {
    const bl_norm_backward *norm;
    const float *w;
    float *dw; /* [blocks of rows][n] */
};

static void backward_rows(void *context, size_t row, size_t n_rows, int i_thread)
{
    const struct backward_job *job = context;
    const bl_norm_backward *b = job->norm;

    (void)i_thread;
    bl_rmsnorm_backward(b->dx + row * b->lddx, b->lddx, job->dw + row / BL_ROWS_BLOCK * b->n,
                        b->dy + row * b->lddy, b->lddy, b->x + row * b->ldx, b->ldx, job->w, n_rows,
                        b->n, b->eps);
}

/* The learned vector and its gradient. */
static bl_status find_learned(float **w, float **gradient, const bl_norm_backward *b,
                              const bl_weights *weights, struct bl_err *err)
{
    const bl_tensor *tensor;
    bl_status rc = b->layer < 0 ? bl_ckpt_expect(&tensor, weights->ckpt, b->suffix, 1, b->n, err)
                                : bl_weights_find(&tensor, weights, (uint32_t)b->layer, b->suffix,
                                                  1, b->n, err);

    if (rc != BL_OK)
        return rc;
    *gradient = bl_resident_get(weights->resident, tensor)->gradient;
    return bl_weights_global_vector(w, weights, tensor->name, b->n, err);
}

bl_status bl_norm_backward_run(const bl_norm_backward *norm, const bl_weights *weights,
                               struct bl_err *err)
{
    const size_t n_blocks = (size_t)bl_ceil_div_u64(norm->n_rows, BL_ROWS_BLOCK);
    struct backward_job job = { .norm = norm };
    float *w = NULL, *gradient = NULL;
    bl_status rc = find_learned(&w, &gradient, norm, weights, err);

    if (rc != BL_OK)
        return rc;
    job.w = w;
    job.dw = bl_calloc(n_blocks, norm->n * sizeof(*job.dw));
    rc = job.dw ? bl_rows_for(norm->n_rows, weights->n_threads, backward_rows, &job, err)
                : bl_fail_nomem(err, norm->suffix);
    for (size_t i = 0; rc == BL_OK && i < n_blocks; i++)
        for (size_t j = 0; j < norm->n; j++)
            gradient[j] += job.dw[i * norm->n + j];
    bl_free(job.dw);
    bl_free(w);
    return rc;
}
