/* linear.c - see linear.h. */
#include "model/linear.h"

#include "base/alloc.h"
#include "base/linalg.h"
#include "base/par.h"
#include "base/size.h"
#include "model/slab.h"

enum { TILE_TOKENS = 256, TILE_ROWS = 128 };

struct product {
    const bl_linear *linear;
    const float *slab; /* rows [row, end) of the weight */
    uint64_t row, end;
    size_t n_token_tiles;
};

static bl_status multiply_tile(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct product *p = context;
    const bl_linear *l = p->linear;
    size_t k = (size_t)l->weight->n_cols;
    size_t token = i % p->n_token_tiles * TILE_TOKENS;
    size_t n_tokens = bl_min_u64(TILE_TOKENS, l->n_tokens - token);
    uint64_t row = p->row + i / p->n_token_tiles * TILE_ROWS;
    size_t n_rows = bl_min_u64(TILE_ROWS, p->end - row);

    (void)i_thread;
    (void)err;
    bl_sgemm_nt(n_tokens, n_rows, k, 1.0f, l->x + token * l->ldx, l->ldx,
                p->slab + (row - p->row) * k, k, l->add ? 1.0f : 0.0f,
                l->y + token * l->ldy + (row - l->row), l->ldy);
    return BL_OK;
}

bl_status bl_linear_run(const bl_linear *linear, const bl_weights *weights, struct bl_err *err)
{
    const bl_tensor *w = linear->weight;
    uint64_t end = linear->row + linear->n_rows;
    size_t slab_rows = (size_t)bl_min_u64(linear->n_rows, bl_slab_rows(w));
    struct product p = { .linear = linear };
    bl_status rc = BL_OK;
    float *slab;

    if (linear->n_tokens == 0)
        return BL_OK;
    slab = bl_alloc(slab_rows, (size_t)w->n_cols * sizeof(*slab));
    if (!slab)
        return bl_fail_nomem(err, w->name);
    p.slab = slab;
    p.n_token_tiles = (size_t)bl_ceil_div_u64(linear->n_tokens, TILE_TOKENS);
    for (uint64_t row = linear->row; row < end && rc == BL_OK; row = p.end) {
        p.row = row;
        p.end = bl_slab_end(w, row, end);
        rc = bl_slab_decode(slab, weights, w, row, p.end - row, err);
        if (rc == BL_OK)
            rc = bl_par_for(p.n_token_tiles * (size_t)bl_ceil_div_u64(p.end - row, TILE_ROWS),
                            weights->n_threads, multiply_tile, &p, err);
    }
    bl_free(slab);
    return rc;
}

void bl_linear_add_bias(float *y, size_t ldy, size_t n_tokens, const float *bias, size_t n)
{
    for (size_t t = 0; t < n_tokens; t++, y += ldy)
        for (size_t i = 0; i < n; i++)
            y[i] += bias[i];
}
