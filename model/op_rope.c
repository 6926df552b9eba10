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

    rope.cos = bl_alloc(n_positions, pairs * sizeof(bl_real));
    rope.sin = bl_alloc(n_positions, pairs * sizeof(bl_real));
    if (!rope.cos || !rope.sin) {
        bl_rope_release(&rope);
        return bl_fail_nomem(err, "rotary table");
    }
    for (size_t p = 0; p < n_positions; p++)
        for (size_t i = 0; i < pairs; i++) {
            double angle = (double)p * inv_freq[i];

            rope.cos[p * pairs + i] = (bl_real)(cos(angle) * magnitude);
            rope.sin[p * pairs + i] = (bl_real)(sin(angle) * magnitude);
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

/* sign -1: backwards. */
static void rotate(bl_real *x, size_t n_heads, size_t head_stride, const bl_rope *rope,
                   size_t position, bl_real sign)
{
    const size_t pairs = rope->dim / 2;
    const size_t step = rope->interleaved ? 2 : 1;      /* from pair to pair */
    const size_t apart = rope->interleaved ? 1 : pairs; /* from a to b */
    const bl_real *c = rope->cos + position * pairs, *s = rope->sin + position * pairs;

    for (size_t h = 0; h < n_heads; h++, x += head_stride)
        for (size_t i = 0; i < pairs; i++) {
            const bl_real a = x[i * step], b = x[i * step + apart], turn = sign * s[i];

            x[i * step] = a * c[i] - b * turn;
            x[i * step + apart] = a * turn + b * c[i];
        }
}

void bl_rope_rotate(bl_real *x, size_t n_heads, size_t head_stride, const bl_rope *rope,
                    size_t position)
{
    rotate(x, n_heads, head_stride, rope, position, 1);
}

void bl_rope_rotate_backward(bl_real *dy, size_t n_heads, size_t head_stride, const bl_rope *rope,
                             size_t position)
{
    rotate(dy, n_heads, head_stride, rope, position, -1);
}
