/* iq4_nl.c - decode. */
#include "formats/block/iq4_nl.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

const float bl_iq4_value[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113 };

BL_CLONES
void bl_iq4_nl_to_f32(float *out, const void *in, size_t n)
{
    const unsigned char *p = in; /* blocks in a file are not aligned */

    for (size_t b = 0; b < n / BL_IQ4_NL_LEN; b++, p += sizeof(bl_iq4_nl), out += BL_IQ4_NL_LEN) {
        float d = bl_f32_from_f16(bl_load_u16(p));
        const unsigned char *q = p + offsetof(bl_iq4_nl, q);

        for (int j = 0; j < BL_IQ4_NL_LEN / 2; j++) {
            out[j] = d * bl_iq4_value[q[j] & 15];
            out[j + 16] = d * bl_iq4_value[q[j] >> 4];
        }
    }
}
