/* linear_backward.c - see linear_backward.h. */
#include "model/linear_backward.h"

#include "base/alloc.h"
#include "base/par.h"
#include "base/size.h"
#include "model/op_linear.h"
#include "model/tiles.h"

enum { BIAS_COLS = 64 };

/* One of the products. */
struct product {
    float *out; /* dX[n_tokens][n_in], dW[n_out][n_in], db[n_out] */
    size_t ldout;
    const float *dy, *other; /* other: W or X */
    size_t lddy, ld_other, n_tokens, n_out;
    bl_tiles tiles; /* of the result */
    bool add;
};

static bl_status dx_tile(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct product *p = context;
    const bl_tile t = bl_tiles_at(&p->tiles, i);

    (void)i_thread;
    (void)err;
    bl_linear_tile_dx(p->out + t.row * p->ldout + t.col, p->ldout, p->dy + t.row * p->lddy, p->lddy,
                      t.n_rows, p->other + t.col, p->n_out, t.n_cols, p->ld_other, p->add);
    return BL_OK;
}

static bl_status dw_tile(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct product *p = context;
    const bl_tile t = bl_tiles_at(&p->tiles, i);

    (void)i_thread;
    (void)err;
    bl_linear_tile_dw(p->out + t.row * p->ldout + t.col, p->dy + t.row, p->lddy, p->other + t.col,
                      p->ld_other, p->n_tokens, t.n_rows, t.n_cols, p->ldout);
    return BL_OK;
}

static bl_status db_tile(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct product *p = context;
    const size_t first = i * BIAS_COLS;

    (void)i_thread;
    (void)err;
    bl_linear_tile_db(p->out + first, p->dy + first, p->lddy, p->n_tokens,
                      (size_t)bl_min_u64(BIAS_COLS, p->n_out - first));
    return BL_OK;
}

bl_status bl_linear_dx(float *dx, size_t lddx, const float *dy, size_t lddy, size_t n_tokens,
                       const float *w, size_t n_out, size_t n_in, bool add, int n_threads,
                       struct bl_err *err)
{
    struct product p = { .out = dx,
                         .ldout = lddx,
                         .dy = dy,
                         .other = w,
                         .lddy = lddy,
                         .ld_other = n_in,
                         .n_out = n_out,
                         .tiles = bl_tiles_cut(n_tokens, n_in),
                         .add = add };

    return bl_par_for(p.tiles.n, n_threads, dx_tile, &p, err);
}

bl_status bl_linear_dw(float *dw, const float *dy, size_t lddy, const float *x, size_t ldx,
                       size_t n_tokens, size_t n_out, size_t n_in, int n_threads,
                       struct bl_err *err)
{
    struct product p = { .out = dw,
                         .ldout = n_in,
                         .dy = dy,
                         .other = x,
                         .lddy = lddy,
                         .ld_other = ldx,
                         .n_tokens = n_tokens,
                         .tiles = bl_tiles_cut(n_out, n_in) };

    return bl_par_for(p.tiles.n, n_threads, dw_tile, &p, err);
}

static bl_status add_bias_gradient(const bl_linear_backward *l, const bl_weights *weights,
                                   struct bl_err *err)
{
    const bl_tensor *bias;
    struct product p = {
        .dy = l->dy, .lddy = l->n_out, .n_tokens = l->n_tokens, .n_out = l->n_out
    };
    bl_status rc = bl_weights_find(&bias, weights, l->layer, l->bias, 1, l->n_out, err);

    if (rc != BL_OK)
        return rc;
    p.out = bl_resident_get(weights->resident, bias)->gradient;
    return bl_par_for((size_t)bl_ceil_div_u64(l->n_out, BIAS_COLS), weights->n_threads, db_tile, &p,
                      err);
}

bl_status bl_linear_backward_run(const bl_linear_backward *l, const bl_weights *weights,
                                 struct bl_err *err)
{
    const bl_tensor *tensor;
    const bl_learned *learned;
    float *decoded = NULL;
    bl_status rc = bl_weights_find(&tensor, weights, l->layer, l->weight, l->n_out, l->n_in, err);

    if (rc != BL_OK)
        return rc;
    learned = bl_resident_get(weights->resident, tensor);
    if (!learned->value) {
        decoded = bl_alloc(l->n_out, l->n_in * sizeof(*decoded));
        if (!decoded)
            return bl_fail_nomem(err, tensor->name);
        bl_resident_read(decoded, weights->resident, tensor, 0, tensor->n_rows);
    }
    rc = bl_linear_dx(l->dx, l->lddx, l->dy, l->n_out, l->n_tokens,
                      decoded ? decoded : learned->value, l->n_out, l->n_in, l->add,
                      weights->n_threads, err);
    bl_free(decoded);
    if (rc == BL_OK)
        rc = bl_linear_dw(learned->gradient, l->dy, l->n_out, l->x, l->ldx, l->n_tokens, l->n_out,
                          l->n_in, weights->n_threads, err);
    return rc == BL_OK && l->bias ? add_bias_gradient(l, weights, err) : rc;
}
