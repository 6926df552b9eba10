/*
 * real.h - the type that the network's operations compute with: float. Tests compile the same
 * operations with double (BL_REAL_IS_DOUBLE), where central differences are sharp enough to tell
 * whether a gradient is right.
 */
#ifndef BL_BASE_REAL_H
#define BL_BASE_REAL_H

#include "base/linalg.h"

#include <stddef.h>

#ifdef BL_REAL_IS_DOUBLE
typedef double bl_real;
#define bl_gemm_nt bl_dgemm_nt
#define bl_gemm_nn bl_dgemm_nn
#define bl_gemm_tn bl_dgemm_tn
#else
typedef float bl_real;
#define bl_gemm_nt bl_sgemm_nt
#define bl_gemm_nn bl_sgemm_nn
#define bl_gemm_tn bl_sgemm_tn
#endif

#endif
