/*
 * q5_k.h - GGUF block encoding Q5_K: as Q4_K with a fifth bit; that of value j of group g is bit g
 * of high[j].
 */
#ifndef BL_FORMATS_Q5_K_H
#define BL_FORMATS_Q5_K_H

#include "formats/block/k_scales.h"

#include <stddef.h>
#include <stdint.h>

enum { BL_Q5_K_LEN = 256 };

typedef struct bl_q5_k {
    uint16_t d, dmin; /* F16 */
    uint8_t scale[BL_K_SCALES_BYTES];
    uint8_t high[BL_Q5_K_LEN / 8];
    uint8_t q[BL_Q5_K_LEN / 2];
} bl_q5_k;
_Static_assert(sizeof(bl_q5_k) == 176, "q5_k is a file format: 176 bytes a block");

void bl_q5_k_to_f32(float *out, const void *in, size_t n);

#endif
