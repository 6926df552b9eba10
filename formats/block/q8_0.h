/*
 * q8_0.h - GGUF block encoding Q8_0: 32 values share an F16 scale d; value = d * q.
 */
#ifndef BL_FORMATS_Q8_0_H
#define BL_FORMATS_Q8_0_H

#include <stddef.h>
#include <stdint.h>

enum { BL_Q8_0_LEN = 32 };

typedef struct bl_q8_0 {
    uint16_t d; /* F16 */
    int8_t q[BL_Q8_0_LEN];
} bl_q8_0;
_Static_assert(sizeof(bl_q8_0) == 34, "q8_0 is a file format: 34 bytes a block");

void bl_q8_0_to_f32(float *out, const void *in, size_t n);

#endif
