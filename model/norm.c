/* norm.c - see norm.h. */
#include "model/norm.h"

#include "base/alloc.h"
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
