/*
 * q3_k.h - GGUF block encoding Q3_K: 256 values in 16 groups of 16, three bits each;
 * value = d * (scale - 32) * (q - 4), a 6-bit scale for each group.
 * Low two bits as in Q2_K; the third bit of value i is bit i / 32 of high[i % 32].
 * Low four bits of scale g: byte g % 8, low nibble for g < 8, else high; the upper two: bits
 * 2 (g / 4) and 2 (g / 4) + 1 of byte 8 + g % 4.
 */
#ifndef BL_FORMATS_Q3_K_H
#define BL_FORMATS_Q3_K_H

#include <stddef.h>
#include <stdint.h>

enum { BL_Q3_K_LEN = 256 };

typedef struct bl_q3_k {
    uint8_t high[BL_Q3_K_LEN / 8];
    uint8_t q[BL_Q3_K_LEN / 4];
    uint8_t scale[12];
    uint16_t d; /* F16 */
} bl_q3_k;
_Static_assert(sizeof(bl_q3_k) == 110, "q3_k is a file format: 110 bytes a block");

void bl_q3_k_to_f32(float *out, const void *in, size_t n);

#endif
