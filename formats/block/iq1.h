/*
 * iq1.h - GGUF block encodings IQ1_S and IQ1_M: 256 values, each 8 of them an entry of a codebook of
 * -1, 0 and 1, all shifted up or down by 1/8. value = d * (2 * scale + 1) * (entry +- 1/8).
 *
 * IQ1_S: eight low bits of entry number in q; a word qh for 32 values: the upper three bits of four
 * numbers, the scale (three bits), and on top whether the shift is down.
 * IQ1_M: a nibble of qh for 8 values: three upper bits and the shift; three bits of scale for 16
 * values, four to a word, whose top four bits are, over the four words, the bits of d.
 */
#ifndef BL_FORMATS_IQ1_H
#define BL_FORMATS_IQ1_H

#include <stddef.h>
#include <stdint.h>

enum { BL_IQ1_LEN = 256 };

typedef struct bl_iq1_s {
    uint16_t d; /* F16 */
    uint8_t q[BL_IQ1_LEN / 8];
    uint16_t qh[BL_IQ1_LEN / 32];
} bl_iq1_s;
_Static_assert(sizeof(bl_iq1_s) == 50, "iq1_s is a file format: 50 bytes a block");

typedef struct bl_iq1_m {
    uint8_t q[BL_IQ1_LEN / 8];
    uint8_t qh[BL_IQ1_LEN / 16];
    uint16_t scale[BL_IQ1_LEN / 64];
} bl_iq1_m;
_Static_assert(sizeof(bl_iq1_m) == 56, "iq1_m is a file format: 56 bytes a block");

void bl_iq1_s_to_f32(float *out, const void *in, size_t n);
void bl_iq1_m_to_f32(float *out, const void *in, size_t n);

#endif
