/*
 * iq_values.h - what the codebook encodings share. Eight magnitudes get their signs as the bytes of
 * one word; values follow in runs long enough for the compiler to vectorise.
 */
#ifndef BL_FORMATS_IQ_VALUES_H
#define BL_FORMATS_IQ_VALUES_H

#include "formats/dtype/float_bits.h"

#include <stddef.h>
#include <stdint.h>

#define BL_IQ_ONES 0x0101010101010101u /* 1 in every byte */

/* Seven stored signs; the eighth makes the number of minus signs even. */
static inline unsigned bl_iq_even_signs(unsigned seven)
{
    unsigned folded = seven ^ seven >> 4;

    return seven | (0x6996u >> (folded & 15) & 1) << 7; /* bit i: i has an odd number of ones */
}

/*
 * Eight bytes from 1 to 127, negative where a bit of signs is set: bit j moves to a place of its
 * own in byte j, every byte that is not 0 becomes 1, and ~x + 1 = -x carries into no other byte.
 */
static inline void bl_iq_sign_8(int8_t *out, uint64_t magnitudes, unsigned signs)
{
    uint64_t bits = signs * BL_IQ_ONES & 0x8040201008040201u;
    uint64_t minus = (bits + 0x7f * BL_IQ_ONES) >> 7 & BL_IQ_ONES;
    uint64_t bytes = (magnitudes ^ minus * 0xff) + minus;

    memcpy(out, &bytes, sizeof(bytes));
}

/* n values; n is a constant where this is inlined. */
static inline void bl_iq_put(float *restrict out, float step, const int8_t *restrict q, size_t n)
{
    for (size_t j = 0; j < n; j++)
        out[j] = step * (float)q[j];
}

#endif
