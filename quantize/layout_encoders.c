/*
 * layout_encoders.c - FP8 and int8: rows to the parts of a folder's layouts. int4 is in
 * layout_encoders_int4.c.
 */
#include "quantize/layout_encoders.h"

#include "base/size.h"
#include "formats/block/fp8_block.h"
#include "formats/block/int8_row.h"
#include "formats/dtype/float_bits.h"
#include "quantize/encode_fp8_block.h"
#include "quantize/encode_int8_row.h"

#include <float.h>

enum { BLOCK = BL_FP8_BLOCK };

/* ---- FP8: codes, and scales [ceil(N/128)][ceil(K/128)]; a unit is a block row --------------- */

/* The two forms of FP8 scales that can be made. */
static const bool as_v3 = false, as_v31 = true;

static uint32_t fp8_parts_with(bl_part *out, const uint64_t *dim, bl_dtype scale, uint64_t size)
{
    const uint64_t rows = bl_ceil_div_u64(dim[0], BLOCK), cols = bl_ceil_div_u64(dim[1], BLOCK);

    out[0] = (bl_part){ ".weight", BL_F8_E4M3, 2, { dim[0], dim[1] }, BLOCK * dim[1] };
    out[1] = (bl_part){ ".weight_scale_inv", scale, 2, { rows, cols }, cols * size };
    return 2;
}

static uint32_t fp8_parts(bl_part out[], const uint64_t dim[2], const void *form)
{
    (void)form;
    return fp8_parts_with(out, dim, BL_F32, sizeof(float));
}

static uint32_t fp8_parts_e8m0(bl_part out[], const uint64_t dim[2], const void *form)
{
    (void)form;
    return fp8_parts_with(out, dim, BL_F8_E8M0, 1);
}

static void encode_fp8(void *const out[], const bl_encode_rows *rows, const void *form)
{
    const uint64_t n_cols = rows->n_cols, n_scales = bl_ceil_div_u64(n_cols, BLOCK);
    const bool *power_of_two = form;

    for (uint64_t i = 0; i < rows->n_rows; i += BLOCK)
        bl_fp8_block_encode((uint8_t *)out[0] + i * n_cols, (float *)out[1] + i / BLOCK * n_scales,
                            rows->value + i * n_cols, (size_t)bl_min_u64(rows->n_rows - i, BLOCK),
                            (size_t)n_cols, *power_of_two);
}

static void decode_fp8(float *out, void *const part[], uint64_t n_rows, uint64_t n_cols,
                       const void *form)
{
    const uint64_t n_scales = bl_ceil_div_u64(n_cols, BLOCK);

    (void)form;

    for (uint64_t i = 0; i < n_rows; i++)
        (void)bl_fp8_block_to_f32(out + i * n_cols, (const uint8_t *)part[0] + i * n_cols,
                                  (const float *)part[1] + i / BLOCK * n_scales, (size_t)n_cols,
                                  BLOCK);
}

static void decode_fp8_e8m0(float *out, void *const part[], uint64_t n_rows, uint64_t n_cols,
                            const void *form)
{
    const uint64_t n_scales = bl_ceil_div_u64(n_cols, BLOCK);

    (void)form;

    for (uint64_t i = 0; i < n_rows; i++)
        for (uint64_t k = 0; k < n_scales; k++) {
            const uint64_t at = i * n_cols + k * BLOCK;
            const float scale =
                bl_f32_from_f8e8m0(((const uint8_t *)part[1])[i / BLOCK * n_scales + k]);

            (void)bl_fp8_block_to_f32(out + at, (const uint8_t *)part[0] + at, &scale,
                                      (size_t)bl_min_u64(n_cols - k * BLOCK, BLOCK), BLOCK);
        }
}

static bool is_fp8(const bl_container *source, const bl_parts *p, bl_dtype scale)
{
    return p->coding == BL_CODING_FP8_BLOCK && p->block_rows == BLOCK && p->block_cols == BLOCK &&
           source->stored[p->scales].dtype == scale;
}

static bool keeps_fp8(const bl_container *source, const bl_parts *parts)
{
    return is_fp8(source, parts, BL_F32);
}

static bool keeps_fp8_e8m0(const bl_container *source, const bl_parts *parts)
{
    return is_fp8(source, parts, BL_F8_E8M0);
}

static const bl_part_ops fp8_ops = {
    .parts = fp8_parts, .encode = encode_fp8, .decode = decode_fp8, .keeps = keeps_fp8
};
static const bl_part_ops fp8_ue8m0_ops = { .parts = fp8_parts,
                                           .encode = encode_fp8,
                                           .decode = decode_fp8 };
static const bl_part_ops fp8_e8m0_ops = { .parts = fp8_parts_e8m0,
                                          .decode = decode_fp8_e8m0,
                                          .keeps = keeps_fp8_e8m0 };

#define FP8(ops, form_of)                                                                          \
    {                                                                                              \
        .name = "FP8 128x128", .dtype = BL_F8_E4M3, .multiple = 1, .max_abs = FLT_MAX / 2,         \
        .unit_rows = BLOCK, .in_parts = (ops), .form = (form_of)                                   \
    }

const bl_encoder bl_encoder_fp8 = FP8(&fp8_ops, &as_v3);
const bl_encoder bl_encoder_fp8_ue8m0 = FP8(&fp8_ue8m0_ops, &as_v31);
const bl_encoder bl_encoder_fp8_e8m0_stored = FP8(&fp8_e8m0_ops, NULL);

/* ---- int8 by row ------------------------------------------------------------------------------ */

struct int8_form {
    float half_range;
    bool search;
};

static uint32_t int8_parts(bl_part out[], const uint64_t dim[2], const void *form)
{
    (void)form;
    out[0] = (bl_part){ ".weight", BL_I8, 2, { dim[0], dim[1] }, dim[1] };
    out[1] = (bl_part){ ".weight_scale", BL_BF16, 2, { dim[0], 1 }, 2 };
    return 2;
}

/* Offsets are constant: zeros, as codes are symmetric. */
static uint32_t ascend_parts(bl_part out[], const uint64_t dim[2], const void *form)
{
    out[2] = (bl_part){ ".weight_offset", BL_BF16, 2, { dim[0], 1 }, 0 };
    return int8_parts(out, dim, form) + 1;
}

static void encode_int8(void *const out[], const bl_encode_rows *rows, const void *form)
{
    const struct int8_form *f = form;
    const size_t n_cols = (size_t)rows->n_cols;

    for (uint64_t i = 0; i < rows->n_rows; i++) {
        const float *row = rows->value + i * n_cols;
        int8_t *codes = (int8_t *)out[0] + i * n_cols;
        uint16_t *scale = (uint16_t *)out[1] + i;

        if (f->search)
            bl_int8_row_search(codes, scale, row, rows->importance, n_cols);
        else
            bl_int8_row_encode(codes, scale, row, n_cols, f->half_range);
    }
}

static void decode_int8(float *out, void *const part[], uint64_t n_rows, uint64_t n_cols,
                        const void *form)
{
    (void)form;
    for (uint64_t i = 0; i < n_rows; i++)
        bl_int8_row_to_f32(out + i * n_cols, (const int8_t *)part[0] + i * n_cols,
                           bl_f32_from_bf16(((const uint16_t *)part[1])[i]), (size_t)n_cols);
}

static const bl_part_ops int8_ops = { .parts = int8_parts,
                                      .encode = encode_int8,
                                      .decode = decode_int8 };
static const bl_part_ops ascend_ops = { .parts = ascend_parts,
                                        .encode = encode_int8,
                                        .decode = decode_int8 };

/* Half the range that the plain methods divide the largest magnitude by. */
static const struct int8_form compressed = { 127.5f, false }, ascend = { 127.0f, false },
                              searched = { 0, true };

#define INT8(ops, form_of)                                                                         \
    {                                                                                              \
        .name = "int8 by row", .dtype = BL_I8, .multiple = 1, .max_abs = FLT_MAX / 2,              \
        .in_parts = (ops), .form = (form_of)                                                       \
    }

const bl_encoder *bl_encoder_int8(bl_folder_format format, bl_method method)
{
    static const bl_encoder table[2][BL_METHOD_COUNT] = {
        { INT8(&int8_ops, &compressed), INT8(&int8_ops, &searched) },
        { INT8(&ascend_ops, &ascend), INT8(&ascend_ops, &searched) }
    };

    return &table[format == BL_FOLDER_ASCEND][method];
}
