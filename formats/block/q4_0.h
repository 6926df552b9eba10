/*
 * q4_0.h - GGUF block encoding Q4_0: 32 values share an F16 scale d; value = d * (q - 8).
 * Byte j holds element j in its low nibble and element j + 16 in its high nibble.
 */
#ifndef BL_FORMATS_Q4_0_H
#define BL_FORMATS_Q4_0_H

#include <stddef.h>
#include <stdint.h>

enum { BL_Q4_0_LEN = 32 };

typedef struct bl_q4_0 {
    uint16_t d; /* F16 */
    uint8_t q[BL_Q4_0_LEN / 2];
} bl_q4_0;
_Static_assert(sizeof(bl_q4_0) == 18, "q4_0 is a file format: 18 bytes a block");

void bl_q4_0_to_f32(float *out, const void *in, size_t n);

#endif
