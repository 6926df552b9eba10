/*
 * iq4_nl.h - GGUF block encoding IQ4_NL: 32 values share an F16 scale d; value = d * table[q].
 * Nibbles as in Q4_0; the table is denser around zero, as weights are.
 */
#ifndef BL_FORMATS_IQ4_NL_H
#define BL_FORMATS_IQ4_NL_H

#include <stddef.h>
#include <stdint.h>

enum { BL_IQ4_NL_LEN = 32 };

typedef struct bl_iq4_nl {
    uint16_t d; /* F16 */
    uint8_t q[BL_IQ4_NL_LEN / 2];
} bl_iq4_nl;
_Static_assert(sizeof(bl_iq4_nl) == 18, "iq4_nl is a file format: 18 bytes a block");

/* The 16 values of a code, shared with IQ4_XS: whole numbers. */
extern const float bl_iq4_value[16];

void bl_iq4_nl_to_f32(float *out, const void *in, size_t n);

#endif
