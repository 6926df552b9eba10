/* mlp.c - three products and the gate between them. */
#include "model/mlp.h"

#include "model/linear.h"
#include "model/op_swiglu.h"
#include "model/rows.h"

#include <stdio.h>

enum { MAX_SUFFIX = 64 };

struct gate_job {
    float *product;
    const float *gate, *up;
    size_t width;
};

static void gate_rows(void *context, size_t row, size_t n_rows, int i_thread)
{
    const struct gate_job *job = context;
    const size_t first = row * job->width;

    (void)i_thread;
    bl_swiglu(job->product + first, job->gate + first, job->up + first, n_rows * job->width);
}

static bl_status project(float *y, size_t n, const float *x, size_t k, bool add, const char *name,
                         const bl_mlp *mlp, const bl_weights *weights, struct bl_err *err)
{
    char suffix[MAX_SUFFIX];
    bl_linear l = {
        .y = y, .ldy = n, .x = x, .ldx = k, .n_tokens = mlp->n_tokens, .n_rows = n, .add = add
    };
    bl_status rc;

    snprintf(suffix, sizeof(suffix), "%s%s", mlp->prefix, name);
    rc = bl_weights_find(&l.weight, weights, mlp->layer, suffix, n, k, err);
    return rc == BL_OK ? bl_linear_run(&l, weights, err) : rc;
}

bl_status bl_mlp_run(const bl_mlp *mlp, const bl_weights *weights, const bl_taps *taps,
                     struct bl_err *err)
{
    size_t hidden = weights->network->config->hidden_size, width = mlp->width;
    float *gate = mlp->inner, *up = gate + mlp->n_tokens * width;
    float *product = mlp->product ? mlp->product : gate;
    struct gate_job job = { product, gate, up, width };
    bl_activation seen = mlp->seen;
    bl_status rc =
        project(gate, width, mlp->x, hidden, false, "gate_proj.weight", mlp, weights, err);

    if (rc == BL_OK)
        rc = project(up, width, mlp->x, hidden, false, "up_proj.weight", mlp, weights, err);
    if (rc == BL_OK)
        rc = bl_rows_for(mlp->n_tokens, weights->n_threads, gate_rows, &job, err);
    seen.tap = BL_TAP_FFN_INNER;
    seen.layer = mlp->layer;
    seen.n_rows = mlp->n_tokens;
    seen.n_cols = seen.ld = width;
    seen.value = product;
    if (rc == BL_OK)
        rc = bl_taps_show(taps, &seen, err);
    if (rc == BL_OK)
        rc = project(mlp->y, hidden, product, width, mlp->add, "down_proj.weight", mlp, weights,
                     err);
    return rc;
}
