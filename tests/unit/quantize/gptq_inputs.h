/* gptq_inputs.h - inputs and weights that tests/oracle/gptq.py makes too, and types to put codes in. */
#ifndef BL_TESTS_GPTQ_INPUTS_H
#define BL_TESTS_GPTQ_INPUTS_H

#include "formats/block/iq4_nl.h"
#include "formats/block/q4_0.h"
#include "formats/dtype/float_bits.h"
#include "quantize/encode_q4_0.h"
#include "quantize/code_grid.h"

#include <math.h>
#include <string.h>

/* In (-1, 1), the same everywhere. */
static inline float next_number(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)(int32_t)(*seed >> 32) * 0x1p-31f;
}

/* x[n_tokens][n_cols]: neighbouring columns are correlated, and some are larger than others. */
static inline void make_inputs(float *x, size_t n_tokens, size_t n_cols, uint64_t seed)
{
    for (size_t t = 0; t < n_tokens; t++) {
        double last = 0;

        for (size_t j = 0; j < n_cols; j++) {
            float here = (float)((double)next_number(&seed) * (double)(1 + j * 5 % 7) + 0.8 * last);

            x[t * n_cols + j] = here;
            last = (double)here;
        }
    }
}

static inline void make_weights(float *w, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        w[i] = next_number(&seed);
}

/* Byte j holds elements j and j + 16 in both types. */
static inline void put_halves(void *block, const uint8_t *code)
{
    uint8_t *to = (uint8_t *)block + 2;

    for (int j = 0; j < 16; j++)
        to[j] = (uint8_t)(code[j] | code[j + 16] << 4);
}

static inline void encode_q4_0(void *const out[], const bl_encode_rows *rows)
{
    bl_q4_0_encode(out[0], rows->value, (size_t)(rows->n_rows * rows->n_cols));
}

static const float nl_level[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                    1,    13,   25,  38,  53,  69,  89,  113 };

/* The value of largest magnitude becomes -127; the nearest entry of the table for the others. */
static inline void encode_nl(void *const out[], const bl_encode_rows *rows)
{
    uint8_t *to = out[0];

    for (uint64_t b = 0; b < rows->n_rows * rows->n_cols / 32; b++, to += 18) {
        const float *x = rows->value + 32 * b;
        float largest = 0;
        uint16_t bits;
        uint8_t code[32];

        for (int i = 0; i < 32; i++)
            largest = fabsf(x[i]) > fabsf(largest) ? x[i] : largest;
        bits = bl_f16_from_f32(largest / -127.0f);
        memcpy(to, &bits, 2);
        for (int i = 0; i < 32; i++) {
            float u = bl_f32_from_f16(bits) != 0 ? x[i] / bl_f32_from_f16(bits) : 0;

            code[i] = 0;
            for (uint8_t c = 1; c < 16; c++)
                if (fabsf(u - nl_level[c]) < fabsf(u - nl_level[code[i]]))
                    code[i] = c;
        }
        put_halves(to, code);
    }
}

static const bl_encoder test_q4_0 = {
    .name = "Q4_0", .dtype = BL_Q4_0, .multiple = 32, .max_abs = 1e5f, .encode = encode_q4_0
};
static const bl_encoder test_nl = {
    .name = "IQ4_NL", .dtype = BL_IQ4_NL, .multiple = 32, .max_abs = 1e5f, .encode = encode_nl
};
static const bl_code_grid_type q4_0_type = { &test_q4_0, 16, 32, 18, put_halves };
static const bl_code_grid_type nl_type = { &test_nl, 16, 32, 18, put_halves };

/* An encoder of blocks is asked for rows that lie in memory. */
static inline bl_status read_memory(const void *context, const void *tensor, uint64_t row,
                                    uint64_t n_rows, float *out, struct bl_err *err)
{
    const bl_rows *rows = tensor;

    (void)err;
    memcpy(out, (const float *)context + row * rows->n_cols,
           (size_t)(n_rows * rows->n_cols) * sizeof(*out));
    return BL_OK;
}

#endif
