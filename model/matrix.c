/* matrix.c - see matrix.h. Rows that lie in a file pass through a small buffer per call. */
#include "model/matrix.h"

#include "base/alloc.h"
#include "base/par.h"
#include "base/size.h"

#include <string.h>

enum { BLOCK = 64 }; /* rows that one thread takes at a time */

bl_status bl_matrix_init(bl_matrix *out, size_t n_rows, size_t n_cols, const char *scratch,
                         struct bl_err *err)
{
    bl_matrix m = { .n_rows = n_rows, .n_cols = n_cols };
    uint64_t n_bytes;
    bl_status rc;

    if (!bl_mul_u64(&n_bytes, n_rows, n_cols) || !bl_mul_u64(&n_bytes, n_bytes, sizeof(float)))
        return bl_fail(err, BL_E_UNSUPPORTED, "%zu x %zu activations overflow 64 bits", n_rows,
                       n_cols);
    if (scratch) {
        rc = bl_spill_new(&m.file, scratch, n_bytes, err);
        if (rc != BL_OK)
            return rc;
    } else {
        m.values = bl_calloc(n_rows, n_cols * sizeof(*m.values));
        if (!m.values)
            return bl_fail_nomem(err, "activations");
    }
    *out = m;
    return BL_OK;
}

void bl_matrix_release(bl_matrix *matrix)
{
    bl_free(matrix->values);
    bl_spill_free(matrix->file);
    *matrix = (bl_matrix){ 0 };
}

bl_status bl_matrix_read(float *out, const bl_matrix *m, size_t row, size_t n, struct bl_err *err)
{
    size_t n_bytes = n * m->n_cols * sizeof(*out);

    if (m->file)
        return bl_spill_read(m->file, (uint64_t)row * m->n_cols * sizeof(*out), out, n_bytes, err);
    memcpy(out, m->values + row * m->n_cols, n_bytes);
    return BL_OK;
}

bl_status bl_matrix_write(bl_matrix *m, size_t row, size_t n, const float *values,
                          struct bl_err *err)
{
    size_t n_bytes = n * m->n_cols * sizeof(*values);

    if (m->file)
        return bl_spill_write(m->file, (uint64_t)row * m->n_cols * sizeof(*values), values, n_bytes,
                              err);
    memcpy(m->values + row * m->n_cols, values, n_bytes);
    return BL_OK;
}

struct rows_job {
    bl_matrix *matrix;
    const uint32_t *row;
    size_t n;
    float *out;          /* gather */
    const float *weight; /* add */
    const float *values;
    float *buffer; /* [n_threads][n_cols] for adding to a file */
};

static bl_status gather_block(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct rows_job *job = context;
    size_t end = (size_t)bl_min_u64((i + 1) * BLOCK, job->n), n_cols = job->matrix->n_cols;
    bl_status rc = BL_OK;

    (void)i_thread;
    for (size_t r = i * BLOCK; r < end && rc == BL_OK; r++)
        rc = bl_matrix_read(job->out + r * n_cols, job->matrix, job->row[r], 1, err);
    return rc;
}

bl_status bl_matrix_gather(float *out, const bl_matrix *matrix, const uint32_t *row, size_t n,
                           int n_threads, struct bl_err *err)
{
    bl_matrix m = *matrix;
    struct rows_job job = { .matrix = &m, .row = row, .n = n, .out = out };

    return bl_par_for((size_t)bl_ceil_div_u64(n, BLOCK), n_threads, gather_block, &job, err);
}

static void add_row(float *to, float weight, const float *from, size_t n)
{
    for (size_t j = 0; j < n; j++)
        to[j] += weight * from[j];
}

static bl_status add_block(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct rows_job *job = context;
    size_t end = (size_t)bl_min_u64((i + 1) * BLOCK, job->n), n_cols = job->matrix->n_cols;
    bl_status rc = BL_OK;

    for (size_t r = i * BLOCK; r < end && rc == BL_OK; r++) {
        const float *from = job->values + r * n_cols;
        float *to = job->matrix->values ? job->matrix->values + job->row[r] * n_cols
                                        : job->buffer + (size_t)i_thread * n_cols;

        if (job->matrix->file)
            rc = bl_matrix_read(to, job->matrix, job->row[r], 1, err);
        if (rc == BL_OK)
            add_row(to, job->weight[r], from, n_cols);
        if (rc == BL_OK && job->matrix->file)
            rc = bl_matrix_write(job->matrix, job->row[r], 1, to, err);
    }
    return rc;
}

bl_status bl_matrix_add(bl_matrix *matrix, const uint32_t *row, const float *weight,
                        const float *values, size_t n, int n_threads, struct bl_err *err)
{
    struct rows_job job = {
        .matrix = matrix, .row = row, .n = n, .weight = weight, .values = values
    };
    bl_status rc;

    if (matrix->file) {
        job.buffer = bl_alloc((size_t)n_threads, matrix->n_cols * sizeof(*job.buffer));
        if (!job.buffer)
            return bl_fail_nomem(err, "activations");
    }
    rc = bl_par_for((size_t)bl_ceil_div_u64(n, BLOCK), n_threads, add_block, &job, err);
    bl_free(job.buffer);
    return rc;
}
