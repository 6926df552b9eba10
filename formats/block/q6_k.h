/*
 * q6_k.h - GGUF block encoding Q6_K: 256 values in 16 groups of 16, six bits each;
 * value = d * scale * (q - 32).
 * Each half of 128 values has 64 bytes of low nibbles (values 0-63 low, 64-127 high) and 32 bytes
 * of upper bits: bits 0-1 for the first 32 values, bits 2-3 for the next 32, and so on.
 */
#ifndef BL_FORMATS_Q6_K_H
#define BL_FORMATS_Q6_K_H

#include <stddef.h>
#include <stdint.h>

enum { BL_Q6_K_LEN = 256 };

typedef struct bl_q6_k {
    uint8_t low[BL_Q6_K_LEN / 2];
    uint8_t high[BL_Q6_K_LEN / 4];
    int8_t scale[BL_Q6_K_LEN / 16];
    uint16_t d; /* F16 */
} bl_q6_k;
_Static_assert(sizeof(bl_q6_k) == 210, "q6_k is a file format: 210 bytes a block");

void bl_q6_k_to_f32(float *out, const void *in, size_t n);

#endif
