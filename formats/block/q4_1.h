/*
 * q4_1.h - GGUF block encoding Q4_1: 32 values share an F16 scale d and an F16 minimum m;
 * value = d * q + m. Byte j holds element j in its low nibble and element j + 16 in its high nibble.
 */
#ifndef BL_FORMATS_Q4_1_H
#define BL_FORMATS_Q4_1_H

#include <stddef.h>
#include <stdint.h>

enum { BL_Q4_1_LEN = 32 };

typedef struct bl_q4_1 {
    uint16_t d, m; /* F16 */
    uint8_t q[BL_Q4_1_LEN / 2];
} bl_q4_1;
_Static_assert(sizeof(bl_q4_1) == 20, "q4_1 is a file format: 20 bytes a block");

void bl_q4_1_to_f32(float *out, const void *in, size_t n);

#endif
