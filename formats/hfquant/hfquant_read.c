/*
 * hfquant_read.c - decode rows of a canonical tensor from its parts. A few rows at a time: the
 * caller chooses how many, and nothing larger than they is allocated.
 */
#include "formats/hfquant/hfquant_read.h"

#include "base/alloc.h"
#include "base/size.h"
#include "formats/block/fp8_block.h"
#include "formats/block/int8_row.h"
#include "formats/dtype/amax.h"

#include <float.h>
#include <inttypes.h>

bl_status bl_reading_fail(const bl_reading *r, size_t stored, const char *what, uint64_t i,
                          uint64_t j)
{
    return bl_container_fail(r->err, BL_E_FORMAT, r->container, stored,
                             "the %s at [%" PRIu64 ", %" PRIu64 "] is not a finite number", what, i,
                             j);
}

/* Magnitudes are ordered as their bits are; what is not finite lies past the finite ones. */
enum { NOT_FINITE = 0x7f800000 };

size_t bl_find_nonfinite(const float *x, size_t n)
{
    size_t i = 0;

    if (bl_amax_bits_of_run(x, n) < NOT_FINITE)
        return n;
    while (bl_amax_bits(x + i, 1) < NOT_FINITE)
        i++;
    return i;
}

bl_status bl_reading_check_finite(const bl_reading *r, const char *what)
{
    size_t n = (size_t)(r->n_rows * r->n_cols), i = bl_find_nonfinite(r->out, n);

    if (i == n)
        return BL_OK;
    return bl_reading_fail(r, r->parts->values, what, r->row + i / r->n_cols, i % r->n_cols);
}

bool bl_scales_are_below(const float *scales, size_t n, float limit)
{
    return bl_f32_from_bits(bl_amax_bits_of_run(scales, n)) < FLT_MAX / limit;
}

bl_status bl_reading_fetch(void **out, const bl_reading *r, size_t i, uint64_t offset, uint64_t n)
{
    void *bytes = n <= SIZE_MAX ? bl_alloc((size_t)n, 1) : NULL;
    bl_status rc;

    if (!bytes)
        return bl_fail_nomem(r->err, r->parts->name);
    rc = bl_container_read(r->container, i, offset, bytes, (size_t)n, r->err);
    if (rc != BL_OK) {
        bl_free(bytes);
        return rc;
    }
    *out = bytes;
    return BL_OK;
}

static bl_status read_plain(const bl_reading *r)
{
    const bl_dtype_traits *t = bl_dtype_traits_of(r->parts->dtype);
    uint64_t first = r->row * r->n_cols, n = r->n_rows * r->n_cols;
    void *bytes = NULL;
    bl_status rc;

    if (!t->to_f32)
        return bl_fail(r->err, BL_E_UNSUPPORTED, "tensor '%s': values of type %s are not decoded",
                       r->parts->name, t->name);
    if (first % t->block_len || n % t->block_len)
        return bl_fail(r->err, BL_E_UNSUPPORTED, "tensor '%s': rows of %s that share bytes",
                       r->parts->name, t->name);
    rc = bl_reading_fetch(&bytes, r, r->parts->values, first / t->block_len * t->block_bytes,
                          n / t->block_len * t->block_bytes);
    if (rc != BL_OK)
        return rc;
    t->to_f32(r->out, bytes, (size_t)n);
    bl_free(bytes);
    return bl_reading_check_finite(r, "value");
}

bl_status bl_reading_fetch_scales(float **out, const bl_reading *r, uint64_t first, uint64_t n,
                                  uint64_t per_row)
{
    const bl_dtype_traits *t = bl_dtype_traits_of(r->container->stored[r->parts->scales].dtype);
    float *scales = bl_alloc((size_t)(n * per_row), sizeof(*scales));
    void *bytes = NULL;
    size_t bad;
    bl_status rc;

    if (!scales)
        return bl_fail_nomem(r->err, r->parts->name);
    rc = bl_reading_fetch(&bytes, r, r->parts->scales, first * per_row * t->block_bytes,
                          n * per_row * t->block_bytes);
    if (rc == BL_OK) {
        t->to_f32(scales, bytes, (size_t)(n * per_row));
        bad = bl_find_nonfinite(scales, (size_t)(n * per_row));
        if (bad < n * per_row)
            rc =
                bl_reading_fail(r, r->parts->scales, "scale", first + bad / per_row, bad % per_row);
    }
    bl_free(bytes);
    if (rc != BL_OK) {
        bl_free(scales);
        return rc;
    }
    *out = scales;
    return BL_OK;
}

static bl_status read_fp8(const bl_reading *r)
{
    const uint32_t bn = r->parts->block_rows, bk = r->parts->block_cols;
    uint64_t per_row = bl_ceil_div_u64(r->n_cols, bk), first = r->row / bn;
    uint64_t n_blocks = (r->row + r->n_rows - 1) / bn - first + 1;
    float *scales = NULL;
    void *codes = NULL;
    bool finite = true;
    bl_status rc = bl_reading_fetch_scales(&scales, r, first, n_blocks, per_row);

    if (rc != BL_OK)
        return rc;
    rc = bl_reading_fetch(&codes, r, r->parts->values, r->row * r->n_cols, r->n_rows * r->n_cols);
    if (rc == BL_OK) /* 448 times a scale can overflow */
        finite = bl_scales_are_below(scales, (size_t)(n_blocks * per_row), 448);
    for (uint64_t i = 0; i < r->n_rows && rc == BL_OK; i++)
        finite &= bl_fp8_block_to_f32(
            r->out + i * r->n_cols, (const uint8_t *)codes + i * r->n_cols,
            scales + ((r->row + i) / bn - first) * per_row, (size_t)r->n_cols, bk);
    bl_free(codes);
    bl_free(scales);
    return rc == BL_OK && !finite ? bl_reading_check_finite(r, "FP8 code") : rc;
}

/* The runtimes that read this layout take no offset into account: only zeros have one meaning. */
static bl_status check_offsets(const bl_reading *r)
{
    const bl_parts *p = r->parts;
    const bl_dtype_traits *t;
    void *bytes = NULL;
    bl_status rc;

    if (p->zeros == BL_NO_PART)
        return BL_OK;
    t = bl_dtype_traits_of(r->container->stored[p->zeros].dtype);
    rc = bl_reading_fetch(&bytes, r, p->zeros, r->row * t->block_bytes, r->n_rows * t->block_bytes);
    for (uint64_t i = 0; i < r->n_rows && rc == BL_OK; i++) {
        float offset;

        t->to_f32(&offset, (const unsigned char *)bytes + i * t->block_bytes, 1);
        if (!(offset == 0.0f))
            rc = bl_container_fail(r->err, BL_E_UNSUPPORTED, r->container, p->zeros,
                                   "the offset at [%" PRIu64 ", 0] is not zero", r->row + i);
    }
    bl_free(bytes);
    return rc;
}

static bl_status read_int8(const bl_reading *r)
{
    float *scales = NULL;
    void *codes = NULL;
    bl_status rc = check_offsets(r);

    if (rc == BL_OK)
        rc = bl_reading_fetch_scales(&scales, r, r->row, r->n_rows, 1);
    if (rc != BL_OK)
        return rc;
    rc = bl_reading_fetch(&codes, r, r->parts->values, r->row * r->n_cols, r->n_rows * r->n_cols);
    for (uint64_t i = 0; i < r->n_rows && rc == BL_OK; i++)
        bl_int8_row_to_f32(r->out + i * r->n_cols, (const int8_t *)codes + i * r->n_cols, scales[i],
                           (size_t)r->n_cols);
    if (rc == BL_OK && !bl_scales_are_below(scales, (size_t)r->n_rows, 128))
        rc = bl_reading_check_finite(r, "int8 code");
    bl_free(codes);
    bl_free(scales);
    return rc;
}

uint64_t bl_hfquant_row_unit(const bl_parts *parts)
{
    return parts->coding == BL_CODING_GPTQ || parts->coding == BL_CODING_AWQ ? 128 : 1;
}

bl_status bl_hfquant_read_rows(const bl_container *container, const bl_parts *parts, uint64_t row,
                               uint64_t n_rows, float *out, struct bl_err *err)
{
    bl_reading r = { container, parts, row, n_rows, 1, out, err };

    if (parts->ndim > 0)
        r.n_cols = parts->dim[parts->ndim - 1];
    if (n_rows == 0 || r.n_cols == 0)
        return BL_OK;
    switch (parts->coding) {
    case BL_CODING_FP8_BLOCK:
        return read_fp8(&r);
    case BL_CODING_INT4_GROUP:
    case BL_CODING_GPTQ:
    case BL_CODING_AWQ:
        return bl_reading_int4(&r);
    case BL_CODING_INT8_ROW:
        return read_int8(&r);
    case BL_CODING_PLAIN:
        break;
    }
    return read_plain(&r);
}

static bl_status read_stored(const void *context, const void *tensor, uint64_t row, uint64_t n_rows,
                             float *out, struct bl_err *err)
{
    const bl_container *container = context;
    const bl_stored *t = tensor;
    bl_parts parts = { .name = t->name,
                       .type_name = bl_dtype_name(t->dtype),
                       .coding = BL_CODING_PLAIN,
                       .values = (size_t)(t - container->stored),
                       .scales = (size_t)(t - container->stored),
                       .zeros = BL_NO_PART,
                       .order = BL_NO_PART,
                       .dtype = t->dtype,
                       .ndim = t->ndim };

    memcpy(parts.dim, t->dim, sizeof(parts.dim));
    return bl_hfquant_read_rows(container, &parts, row, n_rows, out, err);
}

bl_rows bl_hfquant_stored_rows(const bl_container *container, size_t i)
{
    const bl_stored *t = &container->stored[i];

    return (bl_rows){ read_stored, container, t, t->ndim > 0 ? t->dim[t->ndim - 1] : 1 };
}
