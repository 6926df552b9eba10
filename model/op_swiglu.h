/*
 * op_swiglu.h - the gate of an MLP: y = silu(gate) * up, silu(x) = x / (1 + e^-x)
 * (arXiv 2002.05202).
 */
#ifndef BL_MODEL_OP_SWIGLU_H
#define BL_MODEL_OP_SWIGLU_H

#include "base/real.h"

/* y[n]; y may be gate. */
void bl_swiglu(bl_real *y, const bl_real *gate, const bl_real *up, size_t n);

/* From dy[n]: dgate and dup, in place of gate and up. */
void bl_swiglu_backward(bl_real *gate, bl_real *up, const bl_real *dy, size_t n);

#endif
