/*
 * q5_1.h - GGUF block encoding Q5_1: 32 values share an F16 scale d and an F16 minimum m;
 * value = d * q + m. Nibbles and fifth bits as in Q5_0.
 */
#ifndef BL_FORMATS_Q5_1_H
#define BL_FORMATS_Q5_1_H

#include <stddef.h>
#include <stdint.h>

enum { BL_Q5_1_LEN = 32 };

typedef struct bl_q5_1 {
    uint16_t d, m; /* F16 */
    uint8_t high[BL_Q5_1_LEN / 8];
    uint8_t q[BL_Q5_1_LEN / 2];
} bl_q5_1;
_Static_assert(sizeof(bl_q5_1) == 24, "q5_1 is a file format: 24 bytes a block");

void bl_q5_1_to_f32(float *out, const void *in, size_t n);

#endif
