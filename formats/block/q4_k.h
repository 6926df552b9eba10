/*
 * q4_k.h - GGUF block encoding Q4_K: 256 values in 8 groups of 32, four bits each;
 * value = d * scale * q - dmin * minimum, the 6-bit pair of each group as in k_scales.h.
 * Each 32 bytes of q hold two groups: the first in the low nibbles, the second in the high ones.
 */
#ifndef BL_FORMATS_Q4_K_H
#define BL_FORMATS_Q4_K_H

#include "formats/block/k_scales.h"

#include <stddef.h>
#include <stdint.h>

enum { BL_Q4_K_LEN = 256 };

typedef struct bl_q4_k {
    uint16_t d, dmin; /* F16 */
    uint8_t scale[BL_K_SCALES_BYTES];
    uint8_t q[BL_Q4_K_LEN / 2];
} bl_q4_k;
_Static_assert(sizeof(bl_q4_k) == 144, "q4_k is a file format: 144 bytes a block");

void bl_q4_k_to_f32(float *out, const void *in, size_t n);

#endif
