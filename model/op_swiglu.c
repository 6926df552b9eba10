/* op_swiglu.c - see op_swiglu.h. */
#include "model/op_swiglu.h"

#include "base/clones.h"
#include "model/op_exp.h"

BL_CLONES
void bl_swiglu(bl_real *y, const bl_real *gate, const bl_real *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = gate[i] * bl_sigmoid(gate[i]) * up[i];
}

BL_CLONES
void bl_swiglu_backward(bl_real *gate, bl_real *up, const bl_real *dy, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const bl_real g = gate[i], s = bl_sigmoid(g);

        gate[i] = dy[i] * up[i] * (s * ((bl_real)1 + g * ((bl_real)1 - s)));
        up[i] = dy[i] * (g * s);
    }
}
