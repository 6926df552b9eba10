/* op_rope.c - see op_rope.h. Angles are products in double, rounded after cos and sin. */
#include "model/op_rope.h"

#include "base/alloc.h"
#include "base/size.h"

#include <math.h>

bl_status bl_rope_init(bl_rope *out, uint32_t dim, bool interleaved, const double *inv_freq,
                       double magnitude, size_t n_positions, struct bl_err *err)
{
    bl_rope rope = { .dim = dim, .interleaved = interleaved, .n_positions = n_positions };
    size_t pairs = dim / 2;

    rope.cos = bl_alloc(n_positions, pairs * sizeof(float));
    rope.sin = bl_alloc(n_positions, pairs * sizeof(float));
    if (!rope.cos || !rope.sin) {
        bl_rope_release(&rope);
        return bl_fail_nomem(err, "rotary table");
    }
    for (size_t p = 0; p < n_positions; p++)
        for (size_t i = 0; i < pairs; i++) {
            double angle = (double)p * inv_freq[i];

            rope.cos[p * pairs + i] = (float)(cos(angle) * magnitude);
            rope.sin[p * pairs + i] = (float)(sin(angle) * magnitude);
        }
    *out = rope;
    return BL_OK;
}

void bl_rope_release(bl_rope *rope)
{
    bl_free(rope->cos);
    bl_free(rope->sin);
    *rope = (bl_rope){ 0 };
}

void bl_rope_rotate(float *x, size_t n_heads, size_t head_stride, const bl_rope *rope,
                    size_t position)
{
    const size_t pairs = rope->dim / 2;
    const size_t step = rope->interleaved ? 2 : 1;      /* from pair to pair */
    const size_t apart = rope->interleaved ? 1 : pairs; /* from a to b */
    const float *c = rope->cos + position * pairs, *s = rope->sin + position * pairs;

    for (size_t h = 0; h < n_heads; h++, x += head_stride)
        for (size_t i = 0; i < pairs; i++) {
            const float a = x[i * step], b = x[i * step + apart];

            x[i * step] = a * c[i] - b * s[i];
            x[i * step + apart] = a * s[i] + b * c[i];
        }
}
