/*
 * symmetric_types.h - the encodings of tests/unit/quantize/test_encode_symmetric*.c as a table, and
 * numbers that are the same on every machine.
 */
#ifndef BL_TESTS_SYMMETRIC_TYPES_H
#define BL_TESTS_SYMMETRIC_TYPES_H

#include "formats/block/iq4_nl.h"
#include "formats/block/iq4_xs.h"
#include "formats/block/mxfp4.h"
#include "formats/block/q3_k.h"
#include "formats/block/q4_0.h"
#include "formats/block/q5_0.h"
#include "formats/block/q6_k.h"
#include "formats/block/q8_0.h"
#include "formats/dtype/float_bits.h"
#include "quantize/encode_iq4_nl.h"
#include "quantize/encode_iq4_xs.h"
#include "quantize/encode_mxfp4.h"
#include "quantize/encode_q3_k.h"
#include "quantize/encode_q4_0.h"
#include "quantize/encode_q5_0.h"
#include "quantize/encode_q6_k.h"
#include "quantize/encode_q8_0.h"

#include <stddef.h>
#include <stdint.h>

struct type {
    const char *name;
    size_t len, bytes; /* of a block */
    int n_levels;
    float max_abs;
    void (*plain)(void *out, const float *x, size_t n);
    void (*search)(void *out, const float *row, const float *importance, size_t n_cols);
    void (*put_codes)(void *block, const uint8_t *code);
    void (*decode)(float *out, const void *in, size_t n);
};

#define TYPE(NAME, name, max_abs)                                                                  \
    {                                                                                              \
#NAME, BL_##NAME##_LEN, sizeof(bl_##name), BL_##NAME##_LEVELS, max_abs,                    \
            bl_##name##_encode, bl_##name##_search, bl_##name##_put_codes, bl_##name##_to_f32      \
    }

static const struct type types[] = {
    TYPE(Q6_K, q6_k, BL_Q6_K_MAX_ABS), TYPE(IQ4_XS, iq4_xs, BL_IQ4_XS_MAX_ABS),
    TYPE(Q3_K, q3_k, BL_Q3_K_MAX_ABS), TYPE(IQ4_NL, iq4_nl, BL_IQ4_NL_MAX_ABS),
    TYPE(Q4_0, q4_0, 7 * 65504.0f),    TYPE(Q5_0, q5_0, 15 * 65504.0f),
    TYPE(Q8_0, q8_0, 127 * 65504.0f),  TYPE(MXFP4, mxfp4, 0x1.8p127f),
};

enum { N_TYPES = sizeof(types) / sizeof(*types), MAX_BLOCK_BYTES = 272, MAX_BLOCK = 256 };

/* A fixed sequence of numbers. */
static inline uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/* Near a normal distribution of variance 1: the sum of twelve from -1/2 to 1/2. Exact sums. */
static inline float next_normal(uint64_t *state)
{
    int64_t sum = 0;

    for (int k = 0; k < 12; k++)
        sum += next_random(state) >> 12;
    return (float)(sum - 6 * (INT64_C(1) << 20)) * 0x1p-20f;
}

/* 2^-4 to 2^4, as importance spreads. */
static inline float next_importance(uint64_t *state)
{
    uint32_t r = next_random(state);

    return bl_f32_from_bits(((123u + r % 8) << 23) | (r >> 9));
}

/* One row of weights: every 97th value five times as far out. */
static inline void fill_row(float *x, float *importance, size_t n, uint64_t *state)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = next_normal(state) * (i % 97 == 5 ? 0.1f : 0.02f);
        importance[i] = next_importance(state);
    }
}

#endif
