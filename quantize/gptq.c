/* gptq.c - see gptq.h. */
#include "quantize/gptq.h"

#include "base/alloc.h"
#include "base/clones.h"
#include "base/linalg.h"

#include <assert.h>
#include <string.h>

enum { ROWS = BL_GPTQ_ROWS, COLS = BL_GPTQ_COLS };

uint64_t bl_gptq_tile_bytes(size_t max_cols)
{
    return (uint64_t)max_cols * ROWS * (3 * sizeof(float) + 1) +
           (ROWS + COLS) * (uint64_t)COLS * sizeof(float);
}

void bl_gptq_tile_release(bl_gptq_tile *tile)
{
    bl_free(tile->w);
    bl_free(tile->offset);
    bl_free(tile->step);
    bl_free(tile->push);
    bl_free(tile->u);
    bl_free(tile->code);
    *tile = (bl_gptq_tile){ 0 };
}

bl_status bl_gptq_tile_init(bl_gptq_tile *out, size_t max_cols, struct bl_err *err)
{
    bl_gptq_tile t = { .max_cols = max_cols };

    t.w = bl_calloc(max_cols, ROWS * sizeof(*t.w));
    t.offset = bl_calloc(max_cols, ROWS * sizeof(*t.offset));
    t.step = bl_calloc(max_cols, ROWS * sizeof(*t.step));
    t.push = bl_alloc(COLS, ROWS * sizeof(*t.push));
    t.u = bl_alloc(COLS, COLS * sizeof(*t.u));
    t.code = bl_calloc(max_cols, ROWS);
    if (!t.w || !t.offset || !t.step || !t.push || !t.u || !t.code) {
        bl_gptq_tile_release(&t);
        return bl_fail_nomem(err, "a tile of rows");
    }
    *out = t;
    return BL_OK;
}

/* to[k][ROWS] = from[n][n_cols], transposed and in order; n rows of the source stay in the cache. */
static void transpose(float *to, const uint32_t *order, const float *from, size_t n, size_t n_cols)
{
    for (size_t k = 0; k < n_cols; k++, to += ROWS)
        for (size_t r = 0; r < n; r++)
            to[r] = from[r * n_cols + order[k]];
}

void bl_gptq_tile_set(bl_gptq_tile *tile, const bl_gptq_factor *factor, size_t row, size_t n,
                      const float *w, const float *offset, const float *step)
{
    assert(row + n <= ROWS && n <= BL_GPTQ_SET_ROWS && factor->n <= tile->max_cols);
    transpose(tile->w + row, factor->order, w, n, factor->n);
    transpose(tile->offset + row, factor->order, offset, n, factor->n);
    transpose(tile->step + row, factor->order, step, n, factor->n);
}

/* push[ROWS] += sum over n columns j of d[j][ROWS] * u[j]. */
BL_CLONES
static void add_pushes(float *restrict push, const float *restrict d, const float *restrict u,
                       size_t n)
{
    for (size_t at = 0; at < ROWS; at += ROWS / 2) {
        float sum[ROWS / 2];

        for (size_t r = 0; r < ROWS / 2; r++)
            sum[r] = push[at + r];
        for (size_t j = 0; j < n; j++)
            for (size_t r = 0; r < ROWS / 2; r++)
                sum[r] += d[j * ROWS + at + r] * u[j];
        for (size_t r = 0; r < ROWS / 2; r++)
            push[at + r] = sum[r];
    }
}

/* u[k][j] = U_jk of the block [begin, end). */
static void copy_block(float *u, const bl_gptq_factor *f, size_t begin, size_t end)
{
    for (size_t j = begin; j < end; j++)
        for (size_t k = begin; k < j; k++)
            u[(k - begin) * COLS + (j - begin)] = f->unit[j * f->n + k];
}

/* Columns [begin, end), those after them being done. */
static void run_block(bl_gptq_tile *t, const bl_gptq_factor *f, const bl_code_grid *grid,
                      size_t begin, size_t end, size_t n_rows)
{
    float value[ROWS], v[ROWS];

    memset(t->push, 0, (size_t)COLS * ROWS * sizeof(*t->push));
    if (end < f->n)
        bl_sgemm_tn(end - begin, n_rows, f->n - end, 1.0f, f->unit + end * f->n + begin, f->n,
                    t->w + end * ROWS, ROWS, 0.0f, t->push, ROWS);
    copy_block(t->u, f, begin, end);
    for (size_t k = end; k-- > begin;) {
        float *w = t->w + k * ROWS, *push = t->push + (k - begin) * ROWS;

        add_pushes(push, w + ROWS, t->u + (k - begin) * COLS + (k - begin) + 1, end - k - 1);
        for (size_t r = 0; r < ROWS; r++)
            v[r] = w[r] + push[r];
        bl_code_grid_round(t->code + k * ROWS, value, grid, v, t->offset + k * ROWS,
                           t->step + k * ROWS, n_rows);
        for (size_t r = 0; r < n_rows; r++)
            w[r] -= value[r];
    }
}

void bl_gptq_tile_run(bl_gptq_tile *tile, const bl_gptq_factor *factor, const bl_code_grid *grid,
                      size_t n_rows)
{
    assert(n_rows <= ROWS && factor->n <= tile->max_cols);
    for (size_t end = factor->n; end > 0;) {
        size_t begin = (end - 1) / COLS * COLS;

        run_block(tile, factor, grid, begin, end, n_rows);
        end = begin;
    }
}

void bl_gptq_tile_codes(uint8_t *code, const bl_gptq_tile *tile, const bl_gptq_factor *factor,
                        size_t row)
{
    for (size_t k = 0; k < factor->n; k++)
        code[factor->order[k]] = tile->code[k * ROWS + row];
}
