/*
 * iq_values.h - what the codebook encodings IQ2 and IQ3 share: magnitudes from a table, signs apart.
 */
#ifndef BL_FORMATS_IQ_VALUES_H
#define BL_FORMATS_IQ_VALUES_H

#include "formats/dtype/float_bits.h"

#include <stddef.h>
#include <stdint.h>

/* Seven stored signs; the eighth makes the number of minus signs even. */
static inline unsigned bl_iq_even_signs(unsigned seven)
{
    unsigned folded = seven ^ seven >> 4;

    return seven | (0x6996u >> (folded & 15) & 1)
                       << 7; /* bit i of 0x6996: i has an odd number of ones */
}

/* Eight values: step * magnitude[j], negative where bit j of signs is set. */
static inline void bl_iq_put_8(float *restrict out, float step, const uint8_t *restrict magnitude,
                               unsigned signs)
{
    for (unsigned j = 0; j < 8; j++) {
        uint32_t flip = signs & 1u << j ? 0x80000000u : 0;

        out[j] = bl_f32_from_bits(bl_bits_from_f32(step * (float)magnitude[j]) ^ flip);
    }
}

#endif
