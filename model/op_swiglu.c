/* op_swiglu.c - see op_swiglu.h. */
#include "model/op_swiglu.h"

#include "base/clones.h"
#include "model/op_exp.h"

BL_CLONES
void bl_swiglu(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = gate[i] * bl_sigmoid(gate[i]) * up[i];
}
