/*
 * q2_k.h - GGUF block encoding Q2_K: 256 values in 16 groups of 16, two bits each;
 * value = d * (scale & 15) * q - dmin * (scale >> 4), a scale byte for each group.
 * Each 32 bytes of q hold 128 values: bits 0-1 the first 32, bits 2-3 the next 32, and so on.
 */
#ifndef BL_FORMATS_Q2_K_H
#define BL_FORMATS_Q2_K_H

#include <stddef.h>
#include <stdint.h>

enum { BL_Q2_K_LEN = 256 };

typedef struct bl_q2_k {
    uint8_t scale[BL_Q2_K_LEN / 16];
    uint8_t q[BL_Q2_K_LEN / 4];
    uint16_t d, dmin; /* F16 */
} bl_q2_k;
_Static_assert(sizeof(bl_q2_k) == 84, "q2_k is a file format: 84 bytes a block");

void bl_q2_k_to_f32(float *out, const void *in, size_t n);

#endif
