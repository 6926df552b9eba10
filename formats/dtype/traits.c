/*
 * traits.c - one row per element type. Block encodings bring their decoders from formats/block;
 * the loops for scalar types are here, plain, for the compiler to vectorise.
 */
#include "formats/dtype/dtype.h"

#include "base/clones.h"
#include "base/size.h"
#include "formats/block/iq1.h"
#include "formats/block/iq2.h"
#include "formats/block/iq3.h"
#include "formats/block/iq4_nl.h"
#include "formats/block/iq4_xs.h"
#include "formats/block/mxfp4.h"
#include "formats/block/nvfp4.h"
#include "formats/block/q1_0.h"
#include "formats/block/q2_k.h"
#include "formats/block/q3_k.h"
#include "formats/block/q4_0.h"
#include "formats/block/q4_1.h"
#include "formats/block/q4_k.h"
#include "formats/block/q5_0.h"
#include "formats/block/q5_1.h"
#include "formats/block/q5_k.h"
#include "formats/block/q6_k.h"
#include "formats/block/q8_0.h"
#include "formats/block/q8_1.h"
#include "formats/block/tq.h"
#include "formats/dtype/float_bits.h"

#include <assert.h>
#include <string.h>

/* Define a decoder of a type whose elements fill whole bytes. */
#define DECODER(function, type, value)                                                             \
    BL_CLONES                                                                                      \
    static void function(float *restrict out, const void *restrict in, size_t n)                   \
    {                                                                                              \
        const unsigned char *p = in;                                                               \
        type v;                                                                                    \
                                                                                                   \
        for (size_t i = 0; i < n; i++) {                                                           \
            memcpy(&v, p + i * sizeof(type), sizeof(type));                                        \
            out[i] = (value);                                                                      \
        }                                                                                          \
    }

DECODER(decode_u8, uint8_t, (float)v)
DECODER(decode_i8, int8_t, (float)v)
DECODER(decode_u16, uint16_t, (float)v)
DECODER(decode_i16, int16_t, (float)v)
DECODER(decode_u32, uint32_t, (float)v)
DECODER(decode_i32, int32_t, (float)v)
DECODER(decode_u64, uint64_t, (float)v)
DECODER(decode_i64, int64_t, (float)v)
DECODER(decode_f8e4m3, uint8_t, bl_f32_from_f8e4m3(v))
DECODER(decode_f8e5m2, uint8_t, bl_f32_from_f8e5m2(v))
DECODER(decode_f8e8m0, uint8_t, bl_f32_from_f8e8m0(v))
DECODER(decode_f8e4m3fnuz, uint8_t, bl_f32_from_f8e4m3fnuz(v))
DECODER(decode_f8e5m2fnuz, uint8_t, bl_f32_from_f8e5m2fnuz(v))
DECODER(decode_f16, uint16_t, bl_f32_from_f16(v))
DECODER(decode_bf16, uint16_t, bl_f32_from_bf16(v))
DECODER(decode_f64, double, (float)v)

static void decode_f32(float *out, const void *in, size_t n)
{
    memcpy(out, in, n * sizeof(*out));
}

static void decode_f4(float *out, const void *in, size_t n)
{
    const unsigned char *p = in;

    for (size_t i = 0; i < n; i++)
        out[i] = bl_f32_from_f4e2m1((uint8_t)(p[i / 2] >> (4 * (i % 2))));
}

/* Code i of six bits, as a stream of bits lowest first. A code reaches into the next byte or not. */
static uint8_t six_bits(const unsigned char *p, size_t i)
{
    const unsigned char *at = p + 6 * i / 8;
    const unsigned shift = (unsigned)(6 * i % 8);

    return (uint8_t)((shift > 2 ? at[0] | at[1] << 8 : at[0]) >> shift & 63);
}

static void decode_f6e2m3(float *out, const void *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bl_f32_from_f6e2m3(six_bits(in, i));
}

static void decode_f6e3m2(float *out, const void *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bl_f32_from_f6e3m2(six_bits(in, i));
}

/* name, block_len, block_bytes, in_safetensors, ggml_type, to_f32 */
static const bl_dtype_traits table[BL_DTYPE_COUNT] = {
    [BL_BOOL] = { "BOOL", 1, 1, true, -1, NULL },
    [BL_U8] = { "U8", 1, 1, true, -1, decode_u8 },
    [BL_I8] = { "I8", 1, 1, true, 24, decode_i8 },
    [BL_U16] = { "U16", 1, 2, true, -1, decode_u16 },
    [BL_I16] = { "I16", 1, 2, true, 25, decode_i16 },
    [BL_U32] = { "U32", 1, 4, true, -1, decode_u32 },
    [BL_I32] = { "I32", 1, 4, true, 26, decode_i32 },
    [BL_U64] = { "U64", 1, 8, true, -1, decode_u64 },
    [BL_I64] = { "I64", 1, 8, true, 27, decode_i64 },
    [BL_F4] = { "F4", 2, 1, true, -1, decode_f4 },
    [BL_F6_E2M3] = { "F6_E2M3", 4, 3, true, -1, decode_f6e2m3 },
    [BL_F6_E3M2] = { "F6_E3M2", 4, 3, true, -1, decode_f6e3m2 },
    [BL_F8_E4M3] = { "F8_E4M3", 1, 1, true, -1, decode_f8e4m3 },
    [BL_F8_E5M2] = { "F8_E5M2", 1, 1, true, -1, decode_f8e5m2 },
    [BL_F8_E8M0] = { "F8_E8M0", 1, 1, true, -1, decode_f8e8m0 },
    [BL_F8_E4M3FNUZ] = { "F8_E4M3FNUZ", 1, 1, true, -1, decode_f8e4m3fnuz },
    [BL_F8_E5M2FNUZ] = { "F8_E5M2FNUZ", 1, 1, true, -1, decode_f8e5m2fnuz },
    [BL_F16] = { "F16", 1, 2, true, 1, decode_f16 },
    [BL_BF16] = { "BF16", 1, 2, true, 30, decode_bf16 },
    [BL_F32] = { "F32", 1, 4, true, 0, decode_f32 },
    [BL_F64] = { "F64", 1, 8, true, 28, decode_f64 },
    [BL_C64] = { "C64", 1, 8, true, -1, NULL },
    [BL_Q8_0] = { "Q8_0", BL_Q8_0_LEN, sizeof(bl_q8_0), false, 8, bl_q8_0_to_f32 },
    [BL_Q4_0] = { "Q4_0", BL_Q4_0_LEN, sizeof(bl_q4_0), false, 2, bl_q4_0_to_f32 },
    [BL_Q4_1] = { "Q4_1", BL_Q4_1_LEN, sizeof(bl_q4_1), false, 3, bl_q4_1_to_f32 },
    [BL_Q5_0] = { "Q5_0", BL_Q5_0_LEN, sizeof(bl_q5_0), false, 6, bl_q5_0_to_f32 },
    [BL_Q5_1] = { "Q5_1", BL_Q5_1_LEN, sizeof(bl_q5_1), false, 7, bl_q5_1_to_f32 },
    [BL_Q2_K] = { "Q2_K", BL_Q2_K_LEN, sizeof(bl_q2_k), false, 10, bl_q2_k_to_f32 },
    [BL_Q3_K] = { "Q3_K", BL_Q3_K_LEN, sizeof(bl_q3_k), false, 11, bl_q3_k_to_f32 },
    [BL_Q4_K] = { "Q4_K", BL_Q4_K_LEN, sizeof(bl_q4_k), false, 12, bl_q4_k_to_f32 },
    [BL_Q5_K] = { "Q5_K", BL_Q5_K_LEN, sizeof(bl_q5_k), false, 13, bl_q5_k_to_f32 },
    [BL_Q6_K] = { "Q6_K", BL_Q6_K_LEN, sizeof(bl_q6_k), false, 14, bl_q6_k_to_f32 },
    [BL_IQ4_NL] = { "IQ4_NL", BL_IQ4_NL_LEN, sizeof(bl_iq4_nl), false, 20, bl_iq4_nl_to_f32 },
    [BL_IQ4_XS] = { "IQ4_XS", BL_IQ4_XS_LEN, sizeof(bl_iq4_xs), false, 23, bl_iq4_xs_to_f32 },
    [BL_MXFP4] = { "MXFP4", BL_MXFP4_LEN, sizeof(bl_mxfp4), false, 39, bl_mxfp4_to_f32 },
    [BL_Q8_1] = { "Q8_1", BL_Q8_1_LEN, sizeof(bl_q8_1), false, 9, bl_q8_1_to_f32 },
    [BL_Q8_K] = { "Q8_K", BL_Q8_K_LEN, sizeof(bl_q8_k), false, 15, bl_q8_k_to_f32 },
    [BL_IQ2_XXS] = { "IQ2_XXS", BL_IQ2_LEN, sizeof(bl_iq2_xxs), false, 16, bl_iq2_xxs_to_f32 },
    [BL_IQ2_XS] = { "IQ2_XS", BL_IQ2_LEN, sizeof(bl_iq2_xs), false, 17, bl_iq2_xs_to_f32 },
    [BL_IQ3_XXS] = { "IQ3_XXS", BL_IQ3_LEN, sizeof(bl_iq3_xxs), false, 18, bl_iq3_xxs_to_f32 },
    [BL_IQ1_S] = { "IQ1_S", BL_IQ1_LEN, sizeof(bl_iq1_s), false, 19, bl_iq1_s_to_f32 },
    [BL_IQ3_S] = { "IQ3_S", BL_IQ3_LEN, sizeof(bl_iq3_s), false, 21, bl_iq3_s_to_f32 },
    [BL_IQ2_S] = { "IQ2_S", BL_IQ2_LEN, sizeof(bl_iq2_s), false, 22, bl_iq2_s_to_f32 },
    [BL_IQ1_M] = { "IQ1_M", BL_IQ1_LEN, sizeof(bl_iq1_m), false, 29, bl_iq1_m_to_f32 },
    [BL_TQ1_0] = { "TQ1_0", BL_TQ_LEN, sizeof(bl_tq1_0), false, 34, bl_tq1_0_to_f32 },
    [BL_TQ2_0] = { "TQ2_0", BL_TQ_LEN, sizeof(bl_tq2_0), false, 35, bl_tq2_0_to_f32 },
    [BL_NVFP4] = { "NVFP4", BL_NVFP4_LEN, sizeof(bl_nvfp4), false, 40, bl_nvfp4_to_f32 },
    [BL_Q1_0] = { "Q1_0", BL_Q1_0_LEN, sizeof(bl_q1_0), false, 41, bl_q1_0_to_f32 },
    [BL_Q2_0] = { "Q2_0", BL_Q2_0_LEN, sizeof(bl_q2_0), false, 42, bl_q2_0_to_f32 },
};

const bl_dtype_traits *bl_dtype_traits_of(bl_dtype dtype)
{
    assert((unsigned)dtype < BL_DTYPE_COUNT);
    return &table[dtype];
}

bool bl_dtype_from_safetensors(bl_dtype *out, const char *name)
{
    for (int i = 0; i < BL_DTYPE_COUNT; i++) {
        if (table[i].in_safetensors && strcmp(table[i].name, name) == 0) {
            *out = (bl_dtype)i;
            return true;
        }
    }
    return false;
}

bool bl_dtype_from_ggml(bl_dtype *out, uint32_t ggml_type)
{
    for (int i = 0; i < BL_DTYPE_COUNT; i++) {
        if (table[i].ggml_type >= 0 && (uint32_t)table[i].ggml_type == ggml_type) {
            *out = (bl_dtype)i;
            return true;
        }
    }
    return false;
}

bool bl_dim_product(uint64_t *out, uint32_t ndim, const uint64_t *dim)
{
    uint64_t product = 1;
    bool zero = false;

    /* The product of the dimensions that are not zero must fit too: no order hides an overflow. */
    for (uint32_t i = 0; i < ndim; i++) {
        if (dim[i] == 0)
            zero = true;
        else if (!bl_mul_u64(&product, product, dim[i]))
            return false;
    }
    *out = zero ? 0 : product;
    return true;
}

bool bl_dtype_bytes(uint64_t *out, bl_dtype dtype, uint32_t ndim, const uint64_t *dim)
{
    const bl_dtype_traits *t = bl_dtype_traits_of(dtype);
    uint64_t n;

    if (!bl_dim_product(&n, ndim, dim) || n % t->block_len != 0)
        return false;
    /* A row of a block encoding holds whole blocks; sub-byte scalars run on from row to row. */
    if (!t->in_safetensors && (ndim == 0 || dim[ndim - 1] % t->block_len != 0))
        return false;
    return bl_mul_u64(out, n / t->block_len, t->block_bytes);
}
