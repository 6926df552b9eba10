/*
 * quant.c - the table. max_abs is the largest magnitude whose F16 scale is still finite.
 */
#include "quantize/quant.h"

#include "convert/cast.h"
#include "quantize/encode_iq4_nl.h"
#include "quantize/encode_iq4_xs.h"
#include "quantize/encode_mxfp4.h"
#include "quantize/encode_q2_k.h"
#include "quantize/encode_q3_k.h"
#include "quantize/encode_q4_0.h"
#include "quantize/encode_q4_1.h"
#include "quantize/encode_q4_k.h"
#include "quantize/encode_q5_0.h"
#include "quantize/encode_q5_1.h"
#include "quantize/encode_q5_k.h"
#include "quantize/encode_q6_k.h"
#include "quantize/encode_q8_0.h"

#include <float.h>
#include <string.h>

/* Plain rounding knows no rows: blocks follow each other. */
#define PLAIN(x)                                                                                   \
    static void plain_##x(void *const out[], const bl_encode_rows *rows)                           \
    {                                                                                              \
        bl_##x##_encode(out[0], rows->value, (size_t)(rows->n_rows * rows->n_cols));               \
    }

typedef void (*search_fn)(void *out, const float *row, const float *importance, size_t n_cols);

static void search_rows(void *const out[], const bl_encode_rows *rows, bl_dtype dtype,
                        search_fn search)
{
    const bl_dtype_traits *t = bl_dtype_traits_of(dtype);
    const size_t n = (size_t)rows->n_cols, row_bytes = n / t->block_len * t->block_bytes;

    for (uint64_t i = 0; i < rows->n_rows; i++)
        search((unsigned char *)out[0] + i * row_bytes, rows->value + i * n, rows->importance, n);
}

#define SEARCH(x, type)                                                                            \
    static void search_##x(void *const out[], const bl_encode_rows *rows)                          \
    {                                                                                              \
        search_rows(out, rows, (type), bl_##x##_search);                                           \
    }

PLAIN(q8_0)
PLAIN(q6_k)
PLAIN(q5_k)
PLAIN(q5_1)
PLAIN(q5_0)
PLAIN(q4_k)
PLAIN(q4_1)
PLAIN(q4_0)
PLAIN(iq4_nl)
PLAIN(iq4_xs)
PLAIN(mxfp4)
PLAIN(q3_k)
PLAIN(q2_k)
SEARCH(q6_k, BL_Q6_K)
SEARCH(q5_k, BL_Q5_K)
SEARCH(q5_1, BL_Q5_1)
SEARCH(q5_0, BL_Q5_0)
SEARCH(q4_k, BL_Q4_K)
SEARCH(q4_1, BL_Q4_1)
SEARCH(q4_0, BL_Q4_0)
SEARCH(iq4_nl, BL_IQ4_NL)
SEARCH(iq4_xs, BL_IQ4_XS)
SEARCH(mxfp4, BL_MXFP4)
SEARCH(q3_k, BL_Q3_K)
SEARCH(q2_k, BL_Q2_K)

#define ENCODER(label, type, len, most, function)                                                  \
    {                                                                                              \
        .name = (label), .dtype = (type), .multiple = (len), .max_abs = (most),                    \
        .encode = (function)                                                                       \
    }

/* name, type, block, largest magnitude, plain, search, codes, put_codes */
#define QUANT(user, label, type, len, most, plain, search, levels, put)                            \
    {                                                                                              \
        .name = (user), .dtype = (type), .n_levels = (levels),                                     \
        .encoder = { ENCODER(label, type, len, most, plain),                                       \
                     ENCODER(label, type, len, most, search) },                                    \
        .put_codes = (put)                                                                         \
    }

static const bl_quant table[] = {
    QUANT("q8_0", "Q8_0", BL_Q8_0, 32, 127 * 65504.0f, plain_q8_0, plain_q8_0, BL_Q8_0_LEVELS,
          bl_q8_0_put_codes),
    QUANT("q6_k", "Q6_K", BL_Q6_K, 256, BL_Q6_K_MAX_ABS, plain_q6_k, search_q6_k, BL_Q6_K_LEVELS,
          bl_q6_k_put_codes),
    QUANT("q5_k", "Q5_K", BL_Q5_K, 256, BL_Q5_K_MAX_ABS, plain_q5_k, search_q5_k, 32,
          bl_q5_k_put_codes),
    QUANT("q5_1", "Q5_1", BL_Q5_1, 32, BL_Q5_1_MAX_ABS, plain_q5_1, search_q5_1, 32,
          bl_q5_1_put_codes),
    QUANT("q5_0", "Q5_0", BL_Q5_0, 32, 16 * 65504.0f, plain_q5_0, search_q5_0, BL_Q5_0_LEVELS,
          bl_q5_0_put_codes),
    QUANT("q4_k", "Q4_K", BL_Q4_K, 256, BL_Q4_K_MAX_ABS, plain_q4_k, search_q4_k, 16,
          bl_q4_k_put_codes),
    QUANT("q4_1", "Q4_1", BL_Q4_1, 32, BL_Q4_1_MAX_ABS, plain_q4_1, search_q4_1, 16,
          bl_q4_1_put_codes),
    QUANT("q4_0", "Q4_0", BL_Q4_0, 32, 8 * 65504.0f, plain_q4_0, search_q4_0, BL_Q4_0_LEVELS,
          bl_q4_0_put_codes),
    QUANT("iq4_nl", "IQ4_NL", BL_IQ4_NL, 32, BL_IQ4_NL_MAX_ABS, plain_iq4_nl, search_iq4_nl,
          BL_IQ4_NL_LEVELS, bl_iq4_nl_put_codes),
    QUANT("iq4_xs", "IQ4_XS", BL_IQ4_XS, 256, BL_IQ4_XS_MAX_ABS, plain_iq4_xs, search_iq4_xs,
          BL_IQ4_XS_LEVELS, bl_iq4_xs_put_codes),
    QUANT("mxfp4", "MXFP4", BL_MXFP4, 32, FLT_MAX, plain_mxfp4, search_mxfp4, BL_MXFP4_LEVELS,
          bl_mxfp4_put_codes),
    QUANT("q3_k", "Q3_K", BL_Q3_K, 256, BL_Q3_K_MAX_ABS, plain_q3_k, search_q3_k, BL_Q3_K_LEVELS,
          bl_q3_k_put_codes),
    QUANT("q2_k", "Q2_K", BL_Q2_K, 256, BL_Q2_K_MAX_ABS, plain_q2_k, search_q2_k, 4,
          bl_q2_k_put_codes),
};

size_t bl_quant_count(void)
{
    return sizeof(table) / sizeof(*table);
}

const bl_quant *bl_quant_at(size_t i)
{
    return &table[i];
}

const bl_quant *bl_quant_by_name(const char *name)
{
    for (size_t i = 0; i < bl_quant_count(); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

const bl_quant *bl_quant_of(bl_dtype dtype)
{
    for (size_t i = 0; i < bl_quant_count(); i++)
        if (table[i].dtype == dtype)
            return &table[i];
    return NULL;
}

const bl_encoder *bl_encoder_of(bl_dtype dtype, bl_method method)
{
    const bl_quant *quant = bl_quant_of(dtype);

    return quant ? &quant->encoder[method] : bl_cast_encoder(dtype);
}

bool bl_method_by_name(bl_method *out, const char *name)
{
    if (strcmp(name, "plain") == 0)
        *out = BL_METHOD_PLAIN;
    else if (strcmp(name, "search") == 0)
        *out = BL_METHOD_SEARCH;
    else
        return false;
    return true;
}
