/* cast.c - loops over formats/dtype/float_bits.h. */
#include "convert/cast.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

#include <float.h>
#include <string.h>

static void encode_f32(void *const out[], const bl_encode_rows *rows)
{
    memcpy(out[0], rows->value, (size_t)(rows->n_rows * rows->n_cols) * sizeof(*rows->value));
}

BL_CLONES
static void cast_to_bf16(uint16_t *restrict to, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = bl_bf16_from_f32(x[i]);
}

static void encode_bf16(void *const out[], const bl_encode_rows *rows)
{
    cast_to_bf16(out[0], rows->value, (size_t)(rows->n_rows * rows->n_cols));
}

BL_CLONES
static void cast_to_f16(uint16_t *restrict to, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = bl_f16_from_f32(x[i]);
}

static void encode_f16(void *const out[], const bl_encode_rows *rows)
{
    cast_to_f16(out[0], rows->value, (size_t)(rows->n_rows * rows->n_cols));
}

/* max_abs: what still rounds to a finite number */
static const bl_encoder f32 = {
    .name = "F32", .dtype = BL_F32, .multiple = 1, .max_abs = FLT_MAX, .encode = encode_f32
};
static const bl_encoder bf16 = { .name = "BF16",
                                 .dtype = BL_BF16,
                                 .multiple = 1,
                                 .max_abs = 0x1.feffffp+127f,
                                 .encode = encode_bf16 };
static const bl_encoder f16 = {
    .name = "F16", .dtype = BL_F16, .multiple = 1, .max_abs = 65519.99609375f, .encode = encode_f16
};

const bl_encoder *bl_cast_encoder(bl_dtype dtype)
{
    switch (dtype) {
    case BL_F32:
        return &f32;
    case BL_BF16:
        return &bf16;
    case BL_F16:
        return &f16;
    default:
        return NULL;
    }
}

const bl_encoder *bl_cast_encoder_by_name(const char *name)
{
    if (strcmp(name, "f32") == 0)
        return &f32;
    if (strcmp(name, "bf16") == 0)
        return &bf16;
    return strcmp(name, "f16") == 0 ? &f16 : NULL;
}
