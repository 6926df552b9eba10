/* encoders.c - rows to blocks; the largest magnitudes are those whose F16 scale is still finite. */
#include "quantize/encoders.h"

#include "quantize/encode_int4_group.h"
#include "quantize/encode_q4_0.h"
#include "quantize/encode_q8_0.h"

#include <float.h>

static void encode_q8_0(void *const out[], const float *rows, uint64_t n_rows, uint64_t n_cols)
{
    bl_q8_0_encode(out[0], rows, (size_t)(n_rows * n_cols));
}

static void encode_q4_0(void *const out[], const float *rows, uint64_t n_rows, uint64_t n_cols)
{
    bl_q4_0_encode(out[0], rows, (size_t)(n_rows * n_cols));
}

static void encode_int4_g128(void *const out[], const float *rows, uint64_t n_rows, uint64_t n_cols)
{
    unsigned char *packed = out[0], *scales = out[1];

    for (uint64_t i = 0; i < n_rows; i++) {
        bl_int4_group_encode(packed, scales, rows, (size_t)n_cols, BL_INT4_GROUP_SIZE);
        packed += n_cols / 2;
        scales += n_cols / BL_INT4_GROUP_SIZE * 2;
        rows += n_cols;
    }
}

const bl_encoder bl_encoder_q8_0 = { "Q8_0", BL_Q8_0, 32, 127 * 65504.0f, encode_q8_0 };
const bl_encoder bl_encoder_q4_0 = { "Q4_0", BL_Q4_0, 32, 8 * 65504.0f, encode_q4_0 };
const bl_encoder bl_encoder_int4_g128 = { "int4 g128", BL_I32, BL_INT4_GROUP_SIZE, FLT_MAX / 2,
                                          encode_int4_g128 };
