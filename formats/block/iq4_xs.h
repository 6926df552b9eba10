/*
 * iq4_xs.h - GGUF block encoding IQ4_XS: 256 values in 8 groups of 32;
 * value = d * (scale - 32) * table[q], the table of IQ4_NL, nibbles in each group as in Q4_0.
 * Scale g has its low four bits in nibble g of scale_low and the upper two in bits 2 g of scale_high.
 */
#ifndef BL_FORMATS_IQ4_XS_H
#define BL_FORMATS_IQ4_XS_H

#include <stddef.h>
#include <stdint.h>

enum { BL_IQ4_XS_LEN = 256 };

typedef struct bl_iq4_xs {
    uint16_t d; /* F16 */
    uint16_t scale_high;
    uint8_t scale_low[BL_IQ4_XS_LEN / 64];
    uint8_t q[BL_IQ4_XS_LEN / 2];
} bl_iq4_xs;
_Static_assert(sizeof(bl_iq4_xs) == 136, "iq4_xs is a file format: 136 bytes a block");

void bl_iq4_xs_to_f32(float *out, const void *in, size_t n);

#endif
