/* encode_q2_k.c - see the header. */
#include "quantize/encode_q2_k.h"

#include "formats/block/q2_k.h"
#include "quantize/search_affine_k.h"

#include <string.h>

_Static_assert((int)BL_Q2_K_LEN == (int)BL_AFFINE_K_LEN, "a superblock");

void bl_q2_k_put_codes(void *block, const uint8_t *code)
{
    uint8_t *q = (uint8_t *)block + offsetof(bl_q2_k, q);

    for (size_t half = 0; half < BL_Q2_K_LEN / 128; half++, code += 128, q += 32)
        for (size_t j = 0; j < 32; j++)
            q[j] = (uint8_t)(code[j] | code[j + 32] << 2 | code[j + 64] << 4 | code[j + 96] << 6);
}

static void pack(void *block, const bl_affine_k_block *from)
{
    bl_q2_k to = { .d = from->d, .dmin = from->dmin };

    for (size_t g = 0; g < BL_Q2_K_LEN / 16; g++)
        to.scale[g] = (uint8_t)(from->scale[g] | from->minimum[g] << 4);
    bl_q2_k_put_codes(&to, from->code);
    memcpy(block, &to, sizeof(to));
}

static const bl_affine_k_type type = { .n_groups = 16,
                                       .top = 3.0f,
                                       .trial_step = 0.3f,
                                       .top_integer = 15.0f,
                                       .block_bytes = sizeof(bl_q2_k),
                                       .pack = pack };

void bl_q2_k_encode(void *out, const float *x, size_t n)
{
    bl_affine_k_plain(out, x, n, &type, &bl_affine_fast);
}

void bl_q2_k_encode_ref(void *out, const float *x, size_t n)
{
    bl_affine_k_plain(out, x, n, &type, &bl_affine_ref);
}

void bl_q2_k_search(void *out, const float *row, const float *importance, size_t n_cols)
{
    bl_affine_k_search(out, row, importance, n_cols, &type, &bl_affine_fast);
}

void bl_q2_k_search_ref(void *out, const float *row, const float *importance, size_t n_cols)
{
    bl_affine_k_search(out, row, importance, n_cols, &type, &bl_affine_ref);
}
