/*
 * q5_0.h - GGUF block encoding Q5_0: 32 values share an F16 scale d; value = d * (q - 16).
 * Nibbles as in Q4_0; the fifth bit of element j is bit j of `high`, a little-endian U32.
 */
#ifndef BL_FORMATS_Q5_0_H
#define BL_FORMATS_Q5_0_H

#include <stddef.h>
#include <stdint.h>

enum { BL_Q5_0_LEN = 32 };

typedef struct bl_q5_0 {
    uint16_t d; /* F16 */
    uint8_t high[BL_Q5_0_LEN / 8];
    uint8_t q[BL_Q5_0_LEN / 2];
} bl_q5_0;
_Static_assert(sizeof(bl_q5_0) == 22, "q5_0 is a file format: 22 bytes a block");

void bl_q5_0_to_f32(float *out, const void *in, size_t n);

#endif
