/*
 * view.c - index arithmetic of the layout changes. Rows are asked for in runs that are contiguous
 * on the other side, so a view costs as many reads as there are runs.
 */
#include "formats/view/view.h"

#include "base/alloc.h"
#include "base/size.h"

static bl_status read_rows(const bl_rows *m, uint64_t row, uint64_t n_rows, float *out,
                           struct bl_err *err)
{
    return m->read(m->context, m->tensor, row, n_rows, out, err);
}

/*
 * out[i][j] = part[j][first + i] for i in [0, n), j in [0, n_part): the transpose of some columns
 * of a head's matrix, whose n_part rows start at part_row.
 */
static bl_status read_transposed(const bl_rows *m, uint64_t part_row, uint64_t n_part,
                                 uint64_t first, uint64_t n, float *out, struct bl_err *err)
{
    float *part = bl_alloc((size_t)n_part, (size_t)m->n_cols * sizeof(*part));
    bl_status rc;

    if (!part)
        return bl_fail_nomem(err, "one attention head");
    rc = read_rows(m, part_row, n_part, part, err);
    for (uint64_t i = 0; i < n && rc == BL_OK; i++)
        for (uint64_t j = 0; j < n_part; j++)
            out[i * n_part + j] = part[j * m->n_cols + first + i];
    bl_free(part);
    return rc;
}

bl_status bl_view_k_b(const bl_rows *kv_b, bl_kv_b shape, uint64_t row, uint64_t n_rows, float *out,
                      struct bl_err *err)
{
    bl_status rc = BL_OK;

    while (n_rows > 0 && rc == BL_OK) {
        uint64_t head = row / shape.lora, first = row % shape.lora;
        uint64_t n = bl_min_u64(n_rows, shape.lora - first);

        rc = read_transposed(kv_b, head * (shape.nope + shape.v), shape.nope, first, n, out, err);
        out += n * shape.nope;
        row += n;
        n_rows -= n;
    }
    return rc;
}

bl_status bl_view_v_b(const bl_rows *kv_b, bl_kv_b shape, uint64_t row, uint64_t n_rows, float *out,
                      struct bl_err *err)
{
    bl_status rc = BL_OK;

    while (n_rows > 0 && rc == BL_OK) {
        uint64_t head = row / shape.v, first = row % shape.v;
        uint64_t n = bl_min_u64(n_rows, shape.v - first);

        rc = read_rows(kv_b, head * (shape.nope + shape.v) + shape.nope + first, n, out, err);
        out += n * shape.lora;
        row += n;
        n_rows -= n;
    }
    return rc;
}

bl_status bl_view_kv_b(const bl_rows *k_b, const bl_rows *v_b, bl_kv_b shape, uint64_t row,
                       uint64_t n_rows, float *out, struct bl_err *err)
{
    const uint64_t per_head = shape.nope + shape.v;
    bl_status rc = BL_OK;

    while (n_rows > 0 && rc == BL_OK) {
        uint64_t head = row / per_head, first = row % per_head, n;

        if (first < shape.nope) {
            n = bl_min_u64(n_rows, shape.nope - first);
            rc = read_transposed(k_b, head * shape.lora, shape.lora, first, n, out, err);
        } else {
            n = bl_min_u64(n_rows, per_head - first);
            rc = read_rows(v_b, head * shape.v + first - shape.nope, n, out, err);
        }
        out += n * shape.lora;
        row += n;
        n_rows -= n;
    }
    return rc;
}

/* Row i of a head on one side is this row on the other. */
static uint64_t pair_source(uint64_t i, uint64_t head_dim, bool to_gguf)
{
    const uint64_t half = head_dim / 2;

    return to_gguf ? i % 2 * half + i / 2 : i % half * 2 + i / half;
}

bl_status bl_view_rope_pairs(const bl_rows *from, uint64_t head_dim, bool to_gguf, uint64_t row,
                             uint64_t n_rows, float *out, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (uint64_t r = row; r < row + n_rows && rc == BL_OK; r++, out += from->n_cols) {
        uint64_t other = pair_source(r % head_dim, head_dim, to_gguf);

        rc = read_rows(from, r / head_dim * head_dim + other, 1, out, err);
    }
    return rc;
}

bl_status bl_view_rope_pairs_of_bias(const bl_rows *from, uint64_t head_dim, bool to_gguf,
                                     float *out, struct bl_err *err)
{
    float *row = bl_alloc((size_t)from->n_cols, sizeof(*row));
    bl_status rc;

    if (!row)
        return bl_fail_nomem(err, "a bias");
    rc = read_rows(from, 0, 1, row, err);
    for (uint64_t i = 0; i < from->n_cols && rc == BL_OK; i++)
        out[i] = row[i / head_dim * head_dim + pair_source(i % head_dim, head_dim, to_gguf)];
    bl_free(row);
    return rc;
}
