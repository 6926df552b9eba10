/*
 * linear.c - see linear.h. Every product is made of the same BLAS calls, on tiles of BL_LINEAR_TOKENS
 * tokens and the rows between two multiples of BL_LINEAR_ROWS; the ways differ in who decodes what:
 *
 *   by rows   a thread decodes the rows of a tile into its own buffer, which stays in its cache,
 *             and multiplies them with all tokens: nothing waits for anything
 *   by slabs  all threads decode a slab, then share its tiles of rows and tokens: for matrices of
 *             too few rows to go round
 *   held      the matrix is decoded already
 *
 * A matrix that is learned is nobody's file: its tiles are larger (tiles.h).
 */
#include "model/linear.h"

#include "base/alloc.h"
#include "base/linalg.h"
#include "base/par.h"
#include "base/size.h"
#include "model/hold.h"
#include "model/op_linear.h"
#include "model/slab.h"
#include "model/tiles.h"

enum { ROUNDS = 4 /* tiles for each thread that go round well enough */ };

struct product {
    const bl_linear *linear;
    const bl_weights *weights;
    const float *values; /* rows [row, end) of the weight */
    uint64_t row, end;
    uint64_t tile_rows;
    size_t n_token_tiles;
    float *tile; /* by rows: [n_threads][tile_rows][n_cols] */
};

/* Rows of a tile: BL_LINEAR_ROWS, or as many as a slab has. Depends on the tensor alone. */
static uint64_t tile_rows_of(const bl_tensor *w)
{
    return bl_min_u64(BL_LINEAR_ROWS, bl_slab_rows(w));
}

/* Tile i of rows [row, end): up to the next multiple of the tile's size. */
static void find_tile(uint64_t *first, uint64_t *n, const struct product *p, size_t i)
{
    uint64_t start = (p->row / p->tile_rows + i) * p->tile_rows;

    *first = bl_max_u64(start, p->row);
    *n = bl_min_u64(start + p->tile_rows, p->end) - *first;
}

static size_t count_tiles(const struct product *p)
{
    return (size_t)(bl_ceil_div_u64(p->end, p->tile_rows) - p->row / p->tile_rows);
}

static void multiply(const bl_linear *l, size_t token_tile, const float *w, uint64_t row,
                     uint64_t n_rows)
{
    size_t k = (size_t)l->weight->n_cols, token = token_tile * BL_LINEAR_TOKENS;
    size_t n_tokens = (size_t)bl_min_u64(BL_LINEAR_TOKENS, l->n_tokens - token);

    bl_sgemm_nt(n_tokens, (size_t)n_rows, k, 1.0f, l->x + token * l->ldx, l->ldx, w, k,
                l->add ? 1.0f : 0.0f, l->y + token * l->ldy + (row - l->row), l->ldy);
}

static bl_status multiply_rows(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct product *p = context;
    float *tile = p->tile + (size_t)i_thread * p->tile_rows * p->linear->weight->n_cols;
    uint64_t row, n_rows;
    bl_status rc;

    find_tile(&row, &n_rows, p, i);
    rc = bl_weights_read(tile, p->weights, p->linear->weight, row, n_rows, err);
    for (size_t t = 0; t < p->n_token_tiles && rc == BL_OK; t++)
        multiply(p->linear, t, tile, row, n_rows);
    return rc;
}

static bl_status run_by_rows(struct product *p, struct bl_err *err)
{
    size_t n_values = (size_t)(p->tile_rows * p->linear->weight->n_cols), n_tiles = count_tiles(p);
    size_t n_threads = (size_t)bl_min_u64((uint64_t)p->weights->n_threads, n_tiles);
    bl_status rc;

    p->tile = bl_alloc(n_threads, n_values * sizeof(*p->tile));
    if (!p->tile)
        return bl_fail_nomem(err, p->linear->weight->name);
    rc = bl_par_for(n_tiles, p->weights->n_threads, multiply_rows, p, err);
    bl_free(p->tile);
    return rc;
}

static bl_status multiply_tile(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct product *p = context;
    uint64_t row, n_rows;

    (void)i_thread;
    (void)err;
    find_tile(&row, &n_rows, p, i / p->n_token_tiles);
    multiply(p->linear, i % p->n_token_tiles,
             p->values + (row - p->row) * p->linear->weight->n_cols, row, n_rows);
    return BL_OK;
}

static bl_status run_decoded(struct product *p, struct bl_err *err)
{
    return bl_par_for(count_tiles(p) * p->n_token_tiles, p->weights->n_threads, multiply_tile, p,
                      err);
}

static bl_status run_by_slabs(struct product *p, struct bl_err *err)
{
    const bl_tensor *w = p->linear->weight;
    uint64_t end = p->end, rows = bl_slab_rows(w) / p->tile_rows * p->tile_rows;
    float *slab =
        bl_alloc((size_t)bl_min_u64(rows, end - p->row), (size_t)w->n_cols * sizeof(*slab));
    bl_status rc = BL_OK;

    if (!slab)
        return bl_fail_nomem(err, w->name);
    p->values = slab;
    for (uint64_t row = p->row; row < end && rc == BL_OK; row = p->end) {
        p->row = row;
        p->end = bl_min_u64(end, row - row % rows + rows);
        rc = bl_slab_decode(slab, p->weights, w, row, p->end - row, err);
        if (rc == BL_OK)
            rc = run_decoded(p, err);
    }
    bl_free(slab);
    return rc;
}

/* Y and a learned W. */
struct learned {
    const bl_linear *linear;
    const float *w; /* rows from linear->row on */
    bl_tiles tiles; /* of Y */
};

static bl_status multiply_learned(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct learned *p = context;
    const bl_linear *l = p->linear;
    const bl_tile t = bl_tiles_at(&p->tiles, i);
    const size_t k = (size_t)l->weight->n_cols;

    (void)i_thread;
    (void)err;
    bl_linear_tile(l->y + t.row * l->ldy + t.col, l->ldy, l->x + t.row * l->ldx, l->ldx, t.n_rows,
                   p->w + t.col * k, t.n_cols, k, l->add);
    return BL_OK;
}

static bl_status run_learned(const bl_linear *linear, const float *w, int n_threads,
                             struct bl_err *err)
{
    struct learned p = { .linear = linear,
                         .w = w + linear->row * linear->weight->n_cols,
                         .tiles = bl_tiles_cut(linear->n_tokens, (size_t)linear->n_rows) };

    return bl_par_for(p.tiles.n, n_threads, multiply_learned, &p, err);
}

bl_status bl_linear_run(const bl_linear *linear, const bl_weights *weights, struct bl_err *err)
{
    const bl_tensor *w = linear->weight;
    struct product p = { .linear = linear,
                         .weights = weights,
                         .row = linear->row,
                         .end = linear->row + linear->n_rows,
                         .tile_rows = tile_rows_of(w) };
    const float *whole = NULL;
    bl_status rc = BL_OK;

    if (linear->n_tokens == 0 || linear->n_rows == 0)
        return BL_OK;
    p.n_token_tiles = (size_t)bl_ceil_div_u64(linear->n_tokens, BL_LINEAR_TOKENS);
    if (weights->resident && bl_resident_get(weights->resident, w)->value)
        return run_learned(linear, bl_resident_get(weights->resident, w)->value, weights->n_threads,
                           err);
    if (weights->hold) {
        rc = bl_hold_get(&whole, weights->hold, weights, w, err);
        p.values = whole ? whole + linear->row * w->n_cols : NULL;
        return rc == BL_OK ? run_decoded(&p, err) : rc;
    }
    if (p.n_token_tiles == 1 || count_tiles(&p) >= ROUNDS * (size_t)weights->n_threads)
        return run_by_rows(&p, err);
    return run_by_slabs(&p, err);
}

void bl_linear_add_bias(float *y, size_t ldy, size_t n_tokens, const float *bias, size_t n)
{
    for (size_t t = 0; t < n_tokens; t++, y += ldy)
        for (size_t i = 0; i < n; i++)
            y[i] += bias[i];
}
