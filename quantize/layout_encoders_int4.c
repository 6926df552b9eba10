/*
 * layout_encoders_int4.c - rows to the parts of int4 layouts. All encoders make the same of a row:
 * codes in order, two to a byte, and scales; with zero points, words of eight rows' zero points for
 * each group. compressed-tensors stores just that; for GPTQ and AWQ the words are put where they
 * belong in the transposed tensors.
 */
#include "quantize/layout_encoders.h"

#include "base/size.h"
#include "formats/block/int4_affine.h"
#include "formats/block/int4_group.h"
#include "formats/dtype/float_bits.h"
#include "quantize/encode_int4_group.h"
#include "quantize/encode_int4_zero.h"

#include <assert.h>
#include <float.h>
#include <string.h>

enum { ROWS = 8, MAX_GROUPS = 1 << 12, SYMMETRIC_ZERO = 8 };

/* How an encoder goes about it. */
struct form {
    uint32_t group;
    bool zero;          /* with zero points */
    uint8_t least_zero; /* of them */
    bool f16;           /* scales are F16, not BF16 */
    bool search;
};

/* Scales of up to eight rows from BF16 to F16; of a scale below 2^-14 some bits are lost. */
static void scales_to_f16(uint16_t *scales, size_t n)
{
    for (size_t k = 0; k < n; k++)
        scales[k] = bl_f16_from_f32(bl_f32_from_bf16(scales[k]));
}

static void encode_symmetric(void *const out[], const bl_encode_rows *rows, const void *form)
{
    const struct form *f = form;
    const size_t n_cols = (size_t)rows->n_cols, n_groups = n_cols / f->group;
    unsigned char *packed = out[0];
    uint16_t *scales = out[1];

    for (uint64_t i = 0; i < rows->n_rows; i++) {
        const float *row = rows->value + i * n_cols;
        unsigned char *codes = packed + i * n_cols / 2;

        if (f->search)
            bl_int4_group_search(codes, scales + i * n_groups, row, rows->importance, n_cols,
                                 f->group);
        else
            bl_int4_group_encode(codes, scales + i * n_groups, row, n_cols, f->group);
    }
    if (f->f16)
        scales_to_f16(scales, (size_t)rows->n_rows * n_groups);
}

static void encode_zero(void *const out[], const bl_encode_rows *rows, const void *form)
{
    const struct form *f = form;
    const size_t n_cols = (size_t)rows->n_cols, n_groups = n_cols / f->group;
    uint16_t *scales = out[1];
    uint32_t *words = out[2];
    uint8_t zero[MAX_GROUPS];

    assert(n_groups <= MAX_GROUPS);
    memset(words, 0, (size_t)bl_ceil_div_u64(rows->n_rows, ROWS) * n_groups * sizeof(*words));
    for (size_t i = 0; i < rows->n_rows; i++) {
        const bl_int4_zero_row to = { (uint8_t *)out[0] + i * n_cols / 2, scales + i * n_groups,
                                      zero };
        const float *row = rows->value + i * n_cols;

        if (f->search)
            bl_int4_zero_search(&to, row, rows->importance, n_cols, f->group, f->least_zero);
        else
            bl_int4_zero_encode(&to, row, n_cols, f->group, f->least_zero);
        for (size_t g = 0; g < n_groups; g++)
            words[i / ROWS * n_groups + g] |= (uint32_t)zero[g] << (4 * (i % ROWS));
    }
    if (f->f16)
        scales_to_f16(scales, (size_t)rows->n_rows * n_groups);
}

static void encode_form(void *const out[], const bl_encode_rows *rows, const void *form)
{
    const struct form *f = form;

    if (f->zero)
        encode_zero(out, rows, f);
    else
        encode_symmetric(out, rows, f);
}

static void decode_form(float *out, void *const part[], uint64_t n_rows, uint64_t n_cols,
                        const void *form)
{
    const struct form *f = form;
    const size_t n_groups = (size_t)n_cols / f->group;
    const uint16_t *scales = part[1];
    const uint32_t *words = part[2];
    uint8_t code[256], zero;
    float scale;

    for (size_t i = 0; i < n_rows; i++)
        for (size_t g = 0; g < n_groups; g++) {
            const uint16_t bits = scales[i * n_groups + g];
            const size_t at = i * (size_t)n_cols + g * f->group;

            scale = f->f16 ? bl_f32_from_f16(bits) : bl_f32_from_bf16(bits);
            zero = f->zero ? bl_int4_code(words[i / ROWS * n_groups + g], (unsigned)(i % ROWS))
                           : SYMMETRIC_ZERO;
            bl_int4_unpack(code, (const uint8_t *)part[0] + at / 2, f->group);
            bl_int4_affine_to_f32(out + at, code, &scale, &zero, NULL, f->group, f->group);
        }
}

/* ---- compressed-tensors ----------------------------------------------------------------------- */

static uint32_t ct_parts(bl_part out[], const uint64_t dim[2], const void *form)
{
    const struct form *f = form;
    const uint64_t n_groups = dim[1] / f->group, unit = f->zero ? ROWS : 1;
    uint32_t n = 0;

    out[n++] = (bl_part){ ".weight_packed", BL_I32, 2, { dim[0], dim[1] / 8 }, unit * dim[1] / 2 };
    out[n++] = (bl_part){ ".weight_scale", BL_BF16, 2, { dim[0], n_groups }, unit * n_groups * 2 };
    if (f->zero)
        out[n++] = (bl_part){ ".weight_zero_point",
                              BL_I32,
                              2,
                              { bl_ceil_div_u64(dim[0], ROWS), n_groups },
                              n_groups * 4 };
    out[n++] = (bl_part){ ".weight_shape", BL_I64, 1, { 2 }, 0 };
    return n;
}

static void ct_shape(void *out, uint32_t k, const uint64_t dim[2], const void *form)
{
    (void)k, (void)form;
    memcpy(out, dim, 2 * sizeof(*dim));
}

/* ---- GPTQ and AWQ ------------------------------------------------------------------------------ */

static uint32_t gptq_parts(bl_part out[], const uint64_t dim[2], const void *form)
{
    const struct form *f = form;
    const uint64_t n_groups = dim[1] / f->group, unit = f->zero ? ROWS : 1;

    out[0] = (bl_part){ ".qweight", BL_I32, 2, { dim[1] / 8, dim[0] }, unit * dim[1] / 2 };
    out[1] = (bl_part){ ".scales", BL_F16, 2, { n_groups, dim[0] }, unit * n_groups * 2 };
    out[2] =
        (bl_part){ ".qzeros", BL_I32, 2, { n_groups, dim[0] / 8 }, f->zero ? n_groups * 4 : 0 };
    out[3] = (bl_part){ ".g_idx", BL_I32, 1, { dim[1] }, 0 };
    return 4;
}

static uint32_t awq_parts(bl_part out[], const uint64_t dim[2], const void *form)
{
    const struct form *f = form;
    const uint64_t n_groups = dim[1] / f->group;

    out[0] = (bl_part){ ".qweight", BL_I32, 2, { dim[1], dim[0] / 8 }, ROWS * dim[1] / 2 };
    out[1] = (bl_part){ ".scales", BL_F16, 2, { n_groups, dim[0] }, ROWS * n_groups * 2 };
    out[2] = (bl_part){ ".qzeros", BL_I32, 2, { n_groups, dim[0] / 8 }, n_groups * 4 };
    return 3;
}

/* Zero points of symmetric codes (8, stored as 7), and the group of each column. */
static void gptq_constant(void *out, uint32_t k, const uint64_t dim[2], const void *form)
{
    const struct form *f = form;
    uint32_t *word = out;

    for (uint64_t j = 0; k == 2 && j < dim[1] / f->group * (dim[0] / 8); j++)
        word[j] = 0x11111111u * (SYMMETRIC_ZERO - 1);
    for (uint64_t j = 0; k == 3 && j < dim[1]; j++)
        word[j] = (uint32_t)(j / f->group);
}

static void place_scales(uint16_t *whole, const uint16_t *part, uint64_t row, uint64_t n_rows,
                         uint64_t n_groups, uint64_t n)
{
    for (uint64_t g = 0; g < n_groups; g++)
        for (uint64_t i = 0; i < n_rows; i++)
            whole[g * n + row + i] = part[i * n_groups + g];
}

/* A word of a row is a word of qweight: eight columns in order. Zero points are stored less one. */
static void place_gptq(void *const whole[], void *const part[], uint64_t row, uint64_t n_rows,
                       const uint64_t dim[2], const void *form)
{
    const struct form *f = form;
    const uint64_t n = dim[0], n_words = dim[1] / 8, n_groups = dim[1] / f->group;
    const uint32_t *code = part[0], *zero = part[2];
    uint32_t *to = whole[0], *zero_to = whole[2];

    for (uint64_t w = 0; w < n_words; w++)
        for (uint64_t i = 0; i < n_rows; i++)
            to[w * n + row + i] = code[i * n_words + w];
    place_scales(whole[1], part[1], row, n_rows, n_groups, n);
    for (uint64_t g = 0; f->zero && g < n_groups; g++)
        for (uint64_t i = 0; i < n_rows; i += ROWS)
            zero_to[g * (n / 8) + (row + i) / 8] = zero[i / ROWS * n_groups + g] - 0x11111111u;
}

/* A word of eight rows in order to AWQ's order. */
static uint32_t awq_word(uint32_t word)
{
    uint32_t out = 0;

    for (unsigned i = 0; i < ROWS; i++)
        out |= (uint32_t)bl_int4_code(word, i) << (4 * bl_int4_place_awq(i));
    return out;
}

static void place_awq(void *const whole[], void *const part[], uint64_t row, uint64_t n_rows,
                      const uint64_t dim[2], const void *form)
{
    const struct form *f = form;
    const uint64_t n = dim[0], n_cols = dim[1], n_groups = n_cols / f->group;
    const uint8_t *code = part[0];
    const uint32_t *zero = part[2];
    uint32_t *to = whole[0], *zero_to = whole[2];

    for (uint64_t k = 0; k < n_cols; k++)
        for (uint64_t i = 0; i < n_rows; i += ROWS) {
            uint32_t word = 0;

            for (unsigned r = 0; r < ROWS; r++) {
                uint32_t both = code[((i + r) * n_cols + k) / 2];

                word |= (both >> (4 * (k % 2)) & 15u) << (4 * bl_int4_place_awq(r));
            }
            to[k * (n / 8) + (row + i) / 8] = word;
        }
    place_scales(whole[1], part[1], row, n_rows, n_groups, n);
    for (uint64_t g = 0; g < n_groups; g++)
        for (uint64_t i = 0; i < n_rows; i += ROWS)
            zero_to[g * (n / 8) + (row + i) / 8] = awq_word(zero[i / ROWS * n_groups + g]);
}

/* ---- the encoders ------------------------------------------------------------------------------ */

static const bl_part_ops ct_ops = {
    .parts = ct_parts, .encode = encode_form, .decode = decode_form, .constant = ct_shape
};
static const bl_part_ops gptq_ops = { .parts = gptq_parts,
                                      .encode = encode_form,
                                      .decode = decode_form,
                                      .constant = gptq_constant,
                                      .place = place_gptq };
static const bl_part_ops awq_ops = {
    .parts = awq_parts, .encode = encode_form, .decode = decode_form, .place = place_awq
};

/* Formats with and without zero points. */
enum { CT, CT_ZERO, GPTQ, GPTQ_ZERO, AWQ_ZERO, N_KINDS };
enum { G32, G64, G128, N_SIZES };

/* group, zero, least_zero, f16, search */
#define SIZES(...)                                                                                 \
    {                                                                                              \
        { 32, __VA_ARGS__ }, { 64, __VA_ARGS__ },                                                  \
        {                                                                                          \
            128, __VA_ARGS__                                                                       \
        }                                                                                          \
    }
#define METHODS(...)                                                                               \
    {                                                                                              \
        SIZES(__VA_ARGS__, false), SIZES(__VA_ARGS__, true)                                        \
    }

static const struct form forms[N_KINDS][BL_METHOD_COUNT][N_SIZES] = {
    [CT] = METHODS(false, 0, false),     [CT_ZERO] = METHODS(true, 0, false),
    [GPTQ] = METHODS(false, 0, true),    [GPTQ_ZERO] = METHODS(true, 1, true),
    [AWQ_ZERO] = METHODS(true, 0, true),
};

/* The largest value whose F16 scale is finite, for the forms that have one. */
#define ENCODER(kind, label, ops, unit, most, method, size, group)                                 \
    {                                                                                              \
        .name = (label), .dtype = BL_I32, .multiple = (group), .max_abs = (most),                  \
        .unit_rows = (unit), .in_parts = (ops), .form = &forms[kind][method][size]                 \
    }
#define OF_METHOD(kind, label, ops, unit, most, method)                                            \
    {                                                                                              \
        ENCODER(kind, label " g32", ops, unit, most, method, G32, 32),                             \
            ENCODER(kind, label " g64", ops, unit, most, method, G64, 64),                         \
            ENCODER(kind, label " g128", ops, unit, most, method, G128, 128)                       \
    }
#define OF_KIND(kind, label, ops, unit, most)                                                      \
    {                                                                                              \
        OF_METHOD(kind, label, ops, unit, most, BL_METHOD_PLAIN),                                  \
            OF_METHOD(kind, label, ops, unit, most, BL_METHOD_SEARCH)                              \
    }

static const bl_encoder encoders[N_KINDS][BL_METHOD_COUNT][N_SIZES] = {
    [CT] = OF_KIND(CT, "int4", &ct_ops, 0, FLT_MAX / 2),
    [CT_ZERO] = OF_KIND(CT_ZERO, "int4+zero", &ct_ops, ROWS, FLT_MAX / 4),
    [GPTQ] = OF_KIND(GPTQ, "GPTQ int4", &gptq_ops, 0, 7 * 65504.0f),
    [GPTQ_ZERO] = OF_KIND(GPTQ_ZERO, "GPTQ int4", &gptq_ops, ROWS, 7 * 65504.0f),
    [AWQ_ZERO] = OF_KIND(AWQ_ZERO, "AWQ int4", &awq_ops, ROWS, 7 * 65504.0f),
};

const bl_encoder *bl_encoder_int4(bl_folder_format format, bool asymmetric, bl_method method,
                                  uint64_t group_size)
{
    const int size = group_size == 32 ? G32 : group_size == 64 ? G64 : G128;
    const int kind = format == BL_FOLDER_AWQ    ? AWQ_ZERO
                     : format == BL_FOLDER_GPTQ ? (asymmetric ? GPTQ_ZERO : GPTQ)
                     : asymmetric               ? CT_ZERO
                                                : CT;

    if ((group_size != 32 && group_size != 64 && group_size != 128) ||
        (format == BL_FOLDER_AWQ && !asymmetric))
        return NULL;
    return &encoders[kind][method][size];
}
