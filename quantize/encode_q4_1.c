/* encode_q4_1.c - see the header. */
#include "quantize/encode_q4_1.h"

#include "formats/block/q4_1.h"
#include "quantize/search_affine_32.h"

#include <string.h>

_Static_assert((int)BL_Q4_1_LEN == (int)BL_AFFINE_32_LEN, "a block");

void bl_q4_1_put_codes(void *block, const uint8_t *code)
{
    uint8_t *q = (uint8_t *)block + offsetof(bl_q4_1, q);

    for (size_t j = 0; j < BL_Q4_1_LEN / 2; j++)
        q[j] = (uint8_t)(code[j] | code[j + BL_Q4_1_LEN / 2] << 4);
}

static void pack(void *block, const bl_affine_32_block *from)
{
    bl_q4_1 to = { .d = from->d, .m = from->m };

    bl_q4_1_put_codes(&to, from->code);
    memcpy(block, &to, sizeof(to));
}

static const bl_affine_32_type type = { .top = 15.0f,
                                        .block_bytes = sizeof(bl_q4_1),
                                        .pack = pack };

void bl_q4_1_encode(void *out, const float *x, size_t n)
{
    bl_affine_32_plain(out, x, n, &type);
}

void bl_q4_1_encode_ref(void *out, const float *x, size_t n)
{
    bl_affine_32_plain_ref(out, x, n, &type);
}

void bl_q4_1_search(void *out, const float *row, const float *importance, size_t n_cols)
{
    bl_affine_32_search(out, row, importance, n_cols, &type, &bl_affine_fast);
}

void bl_q4_1_search_ref(void *out, const float *row, const float *importance, size_t n_cols)
{
    bl_affine_32_search(out, row, importance, n_cols, &type, &bl_affine_ref);
}
