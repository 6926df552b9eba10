/* encoders.c - rows to the parts of a folder's layouts. */
#include "quantize/encoders.h"

#include "formats/block/int4_group.h"
#include "quantize/encode_int4_group.h"

#include <float.h>

static void encode_int4_g128(void *const out[], const bl_encode_rows *rows)
{
    const size_t n_cols = (size_t)rows->n_cols;
    unsigned char *packed = out[0], *scales = out[1];

    for (uint64_t i = 0; i < rows->n_rows; i++) {
        bl_int4_group_encode(packed, scales, rows->value + i * n_cols, n_cols, BL_INT4_GROUP_SIZE);
        packed += n_cols / 2;
        scales += n_cols / BL_INT4_GROUP_SIZE * 2;
    }
}

static void decode_int4_g128(float *out, void *const part[], uint64_t n_rows, uint64_t n_cols)
{
    const unsigned char *packed = part[0], *scales = part[1];

    for (uint64_t i = 0; i < n_rows; i++) {
        bl_int4_group_to_f32(out, packed, scales, BL_BF16, (size_t)n_cols, BL_INT4_GROUP_SIZE);
        packed += n_cols / 2;
        scales += n_cols / BL_INT4_GROUP_SIZE * 2;
        out += n_cols;
    }
}

const bl_encoder bl_encoder_int4_g128 = { .name = "int4 g128",
                                          .dtype = BL_I32,
                                          .multiple = BL_INT4_GROUP_SIZE,
                                          .max_abs = FLT_MAX / 2,
                                          .encode = encode_int4_g128,
                                          .decode = decode_int4_g128 };
