/* bln_planes.c - plain loops over bytes, for every vector width. */
#include "formats/bln/bln_planes.h"

#include "base/clones.h"

#include <stdint.h>
#include <string.h>

BL_CLONES
void bl_bln_split_fp8(unsigned char *restrict exponent, unsigned char *restrict rest,
                      const unsigned char *restrict in, size_t n)
{
    const unsigned char *restrict second = in + n;

    for (size_t i = 0; i < n; i++) {
        unsigned a = in[i], b = second[i];

        exponent[i] = (unsigned char)((a >> 3 & 15) | (b << 1 & 0xf0));
        rest[i] = (unsigned char)((a >> 4 & 8) | (a & 7) | (b & 0x80) | (b << 4 & 0x70));
    }
}

BL_CLONES
void bl_bln_merge_fp8(unsigned char *restrict out, const unsigned char *restrict exponent,
                      const unsigned char *restrict rest, size_t n)
{
    unsigned char *restrict second = out + n;

    for (size_t i = 0; i < n; i++) {
        unsigned e = exponent[i], r = rest[i];

        out[i] = (unsigned char)((r << 4 & 0x80) | (e << 3 & 0x78) | (r & 7));
        second[i] = (unsigned char)((r & 0x80) | (e >> 1 & 0x78) | (r >> 4 & 7));
    }
}

BL_CLONES
void bl_bln_split_bf16(unsigned char *restrict exponent, unsigned char *restrict rest,
                       const unsigned char *restrict in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t x;

        memcpy(&x, in + 2 * i, sizeof(x));
        exponent[i] = (unsigned char)(x >> 7);
        rest[i] = (unsigned char)((x >> 8 & 0x80) | (x & 0x7f));
    }
}

BL_CLONES
void bl_bln_merge_bf16(unsigned char *restrict out, const unsigned char *restrict exponent,
                       const unsigned char *restrict rest, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned e = exponent[i], r = rest[i];
        uint16_t x = (uint16_t)((r << 8 & 0x8000) | e << 7 | (r & 0x7f));

        memcpy(out + 2 * i, &x, sizeof(x));
    }
}
