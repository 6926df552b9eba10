/* gptq_matrix.c - see gptq_matrix.h. */
#include "quantize/gptq_matrix.h"

#include "base/alloc.h"
#include "base/linalg.h"
#include "base/size.h"
#include "formats/dtype/amax.h"
#include "formats/dtype/float_bits.h"
#include "quantize/hessian.h"

#include <string.h>

enum { ROWS = BL_GPTQ_ROWS, SET_ROWS = BL_GPTQ_SET_ROWS };

uint64_t bl_gptq_work_bytes(size_t max_cols)
{
    return bl_gptq_tile_bytes(max_cols) +
           (uint64_t)max_cols * ((ROWS + 2 * SET_ROWS) * sizeof(float) + 1) +
           (uint64_t)BL_HESSIAN_HELD * ROWS * sizeof(float);
}

void bl_gptq_work_release(bl_gptq_work *work)
{
    bl_gptq_tile_release(&work->tile);
    bl_free(work->w);
    bl_free(work->offset);
    bl_free(work->step);
    bl_free(work->product);
    bl_free(work->code);
    *work = (bl_gptq_work){ 0 };
}

bl_status bl_gptq_work_init(bl_gptq_work *out, size_t max_cols, struct bl_err *err)
{
    bl_gptq_work w = { 0 };
    bl_status rc = bl_gptq_tile_init(&w.tile, max_cols, err);

    if (rc != BL_OK)
        return rc;
    w.w = bl_alloc(ROWS, max_cols * sizeof(*w.w));
    w.offset = bl_alloc(SET_ROWS, max_cols * sizeof(*w.offset));
    w.step = bl_alloc(SET_ROWS, max_cols * sizeof(*w.step));
    w.product = bl_alloc(BL_HESSIAN_HELD, ROWS * sizeof(*w.product));
    w.code = bl_alloc(max_cols, sizeof(*w.code));
    if (!w.w || !w.offset || !w.step || !w.product || !w.code) {
        bl_gptq_work_release(&w);
        return bl_fail_nomem(err, "a tile of rows");
    }
    *out = w;
    return BL_OK;
}

void bl_gptq_matrix_release(bl_gptq_matrix *matrix)
{
    for (uint32_t k = 0; k < matrix->n_parts; k++) {
        bl_free(matrix->search[k]);
        bl_free(matrix->gptq[k]);
    }
    bl_free(matrix->error);
    *matrix = (bl_gptq_matrix){ 0 };
}

bl_status bl_gptq_matrix_init(bl_gptq_matrix *m, struct bl_err *err)
{
    bool complete;

    m->error = bl_calloc(bl_gptq_matrix_tiles(m), sizeof(*m->error));
    complete = m->error != NULL;
    for (uint32_t k = 0; k < m->n_parts; k++) {
        m->search[k] = bl_alloc((size_t)m->n_rows, (size_t)m->row_bytes[k]);
        m->gptq[k] = m->factor ? bl_alloc((size_t)m->n_rows, (size_t)m->row_bytes[k]) : NULL;
        complete = complete && m->search[k] && (m->gptq[k] || !m->factor);
    }
    if (complete)
        return BL_OK;
    bl_gptq_matrix_release(m);
    return bl_fail_nomem(err, "encoded rows");
}

size_t bl_gptq_matrix_tiles(const bl_gptq_matrix *matrix)
{
    return (size_t)bl_ceil_div_u64(matrix->n_rows, ROWS);
}

static void parts_at(void *out[BL_JOB_MAX_PARTS], const bl_gptq_matrix *m,
                     unsigned char *const part[BL_JOB_MAX_PARTS], uint64_t row)
{
    for (uint32_t k = 0; k < BL_JOB_MAX_PARTS; k++)
        out[k] = k < m->n_parts ? part[k] + row * m->row_bytes[k] : NULL;
}

/* |(W - What) x|^2 over the held-out tokens for n rows from `row` on; diff[n][n_cols] is scratch. */
static double held_error(float *diff, const bl_gptq_matrix *m,
                         unsigned char *const part[BL_JOB_MAX_PARTS], uint64_t row, size_t n,
                         bl_gptq_work *work)
{
    const size_t n_cols = (size_t)m->rows.n_cols;
    void *at[BL_JOB_MAX_PARTS];
    double sum = 0;

    parts_at(at, m, part, row);
    bl_code_grid_decode(diff, m->grid, at, n, n_cols);
    for (size_t i = 0; i < n * n_cols; i++)
        diff[i] = work->w[i] - diff[i];
    bl_sgemm_nt(m->n_held, n, n_cols, 1.0f, m->held, n_cols, diff, n_cols, 0.0f, work->product,
                ROWS);
    for (size_t t = 0; t < m->n_held; t++)
        for (size_t r = 0; r < n; r++)
            sum += (double)work->product[t * ROWS + r] * (double)work->product[t * ROWS + r];
    return sum;
}

/* GPTQ's codes into a copy of the search's blocks. */
static void choose_codes(bl_gptq_matrix *m, uint64_t row, size_t n, bl_gptq_work *work)
{
    const size_t n_cols = (size_t)m->rows.n_cols;
    void *part[BL_JOB_MAX_PARTS];

    for (uint32_t k = 0; k < m->n_parts; k++)
        memcpy(m->gptq[k] + row * m->row_bytes[k], m->search[k] + row * m->row_bytes[k],
               (size_t)(n * m->row_bytes[k]));
    for (size_t first = 0; first < n; first += SET_ROWS) {
        size_t n_set = (size_t)bl_min_u64(SET_ROWS, n - first);

        for (size_t r = 0; r < n_set; r++) {
            parts_at(part, m, m->gptq, row + first + r);
            bl_code_grid_of_row(work->offset + r * n_cols, work->step + r * n_cols, m->grid, part,
                                n_cols);
        }
        bl_gptq_tile_set(&work->tile, m->factor, first, n_set, work->w + first * n_cols,
                         work->offset, work->step);
    }
    bl_gptq_tile_run(&work->tile, m->factor, m->grid, n);
    for (size_t r = 0; r < n; r++) {
        bl_gptq_tile_codes(work->code, &work->tile, m->factor, r);
        bl_code_grid_put_row(m->gptq[0] + (row + r) * m->row_bytes[0], m->grid, work->code, n_cols);
    }
}

static bl_status check_magnitude(const bl_gptq_matrix *m, const float *x, size_t n,
                                 struct bl_err *err)
{
    const bl_encoder *e = m->grid->type->encoder;
    float largest = bl_f32_from_bits(bl_amax_bits_of_run(x, n));

    if (largest <= e->max_abs)
        return BL_OK;
    return bl_fail(err, BL_E_UNSUPPORTED, "a value of magnitude %g does not fit %s (at most %g)",
                   (double)largest, e->name, (double)e->max_abs);
}

bl_status bl_gptq_matrix_run(bl_gptq_matrix *m, size_t i, bl_gptq_work *work, struct bl_err *err)
{
    const uint64_t row = (uint64_t)i * ROWS;
    const size_t n = (size_t)bl_min_u64(ROWS, m->n_rows - row), n_cols = (size_t)m->rows.n_cols;
    const bl_encode_rows rows = {
        .value = work->w, .n_rows = n, .n_cols = n_cols, .importance = m->importance
    };
    void *part[BL_JOB_MAX_PARTS];
    bl_status rc = m->rows.read(m->rows.context, m->rows.tensor, row, n, work->w, err);

    if (rc == BL_OK)
        rc = check_magnitude(m, work->w, n * n_cols, err);
    if (rc != BL_OK)
        return rc;
    parts_at(part, m, m->search, row);
    bl_code_grid_encode(part, m->grid, &rows);
    if (!m->factor)
        return BL_OK;
    choose_codes(m, row, n, work);
    m->error[i][0] = held_error(work->tile.w, m, m->search, row, n, work);
    m->error[i][1] = held_error(work->tile.w, m, m->gptq, row, n, work);
    return BL_OK;
}

bl_gptq_verdict bl_gptq_matrix_judge(const bl_gptq_matrix *matrix)
{
    bl_gptq_verdict v = { 0 };

    for (size_t i = 0; i < bl_gptq_matrix_tiles(matrix); i++) {
        v.search_error += matrix->error[i][0];
        v.gptq_error += matrix->error[i][1];
    }
    v.accepted = matrix->factor && v.gptq_error < v.search_error;
    return v;
}
