/*
 * iq2.h - GGUF block encodings IQ2_XXS, IQ2_XS and IQ2_S: 256 values, each 8 of them an entry of a
 * codebook (magnitudes 8, 25 and 43) with signs. value = d / 4 * (scale + 1/2) * magnitude.
 *
 * IQ2_XXS: eight bytes for 32 values: four entry numbers, and a word of four times seven signs (the
 * eighth makes them even) and, in its top four bits, the scale.
 * IQ2_XS: a word for 8 values: 9 bits of entry number, 7 signs; a nibble of scale for 16 values.
 * IQ2_S: ten bits of entry number, the upper two in qh, the first entry lowest; a byte of signs for
 * 8 values; scales as IQ2_XS.
 */
#ifndef BL_FORMATS_IQ2_H
#define BL_FORMATS_IQ2_H

#include <stddef.h>
#include <stdint.h>

enum { BL_IQ2_LEN = 256 };

typedef struct bl_iq2_xxs {
    uint16_t d; /* F16 */
    uint16_t q[BL_IQ2_LEN / 8];
} bl_iq2_xxs;
_Static_assert(sizeof(bl_iq2_xxs) == 66, "iq2_xxs is a file format: 66 bytes a block");

typedef struct bl_iq2_xs {
    uint16_t d; /* F16 */
    uint16_t q[BL_IQ2_LEN / 8];
    uint8_t scale[BL_IQ2_LEN / 32];
} bl_iq2_xs;
_Static_assert(sizeof(bl_iq2_xs) == 74, "iq2_xs is a file format: 74 bytes a block");

typedef struct bl_iq2_s {
    uint16_t d; /* F16 */
    uint8_t q[BL_IQ2_LEN / 8];
    uint8_t sign[BL_IQ2_LEN / 8];
    uint8_t qh[BL_IQ2_LEN / 32];
    uint8_t scale[BL_IQ2_LEN / 32];
} bl_iq2_s;
_Static_assert(sizeof(bl_iq2_s) == 82, "iq2_s is a file format: 82 bytes a block");

void bl_iq2_xxs_to_f32(float *out, const void *in, size_t n);
void bl_iq2_xs_to_f32(float *out, const void *in, size_t n);
void bl_iq2_s_to_f32(float *out, const void *in, size_t n);

#endif
