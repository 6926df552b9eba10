/*
 * k_scales.h - the 8 pairs of a 6-bit scale and a 6-bit minimum that Q4_K and Q5_K pack in 12 bytes.
 *
 * Groups 0-3: byte g is the scale, byte g + 4 the minimum, six bits each. Groups 4-7: byte g + 4
 * holds the low nibbles (scale below, minimum above); the upper two bits of the scale are the upper
 * two of byte g - 4, those of the minimum the upper two of byte g.
 */
#ifndef BL_FORMATS_K_SCALES_H
#define BL_FORMATS_K_SCALES_H

#include <stddef.h>
#include <stdint.h>

enum { BL_K_SCALES_BYTES = 12 };

static inline void bl_k_scale(uint8_t *scale, uint8_t *minimum, const unsigned char *p, size_t g)
{
    if (g < 4) {
        *scale = p[g] & 63;
        *minimum = p[g + 4] & 63;
        return;
    }
    *scale = (uint8_t)((p[g + 4] & 15) | (p[g - 4] >> 6) << 4);
    *minimum = (uint8_t)(p[g + 4] >> 4 | (p[g] >> 6) << 4);
}

#endif
