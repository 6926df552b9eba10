/*
 * op_swiglu.h - the gate of an MLP: y = silu(gate) * up, silu(x) = x / (1 + e^-x)
 * (arXiv 2002.05202).
 */
#ifndef BL_MODEL_OP_SWIGLU_H
#define BL_MODEL_OP_SWIGLU_H

#include <stddef.h>

/* y[n]; y may be gate. */
void bl_swiglu(float *y, const float *gate, const float *up, size_t n);

#endif
