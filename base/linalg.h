/*
 * linalg.h - the door to BLAS.
 *
 * Every call runs on the calling thread alone: OpenBLAS gives other bits with other numbers of
 * threads. Parallel work is made of calls on fixed tiles inside bl_par_for(), so results are the
 * same at any -j on one CPU. Between CPUs they differ in the last bits, so BLAS never decides a
 * byte of an artifact.
 */
#ifndef BL_BASE_LINALG_H
#define BL_BASE_LINALG_H

#include <stddef.h>

/* C[m,n] = alpha * A[m,k] B[n,k]^T + beta * C. Row-major; ld* = elements from row to row. */
void bl_sgemm_nt(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc);

/* C[m,n] = alpha * A[m,k] B[k,n] + beta * C. */
void bl_sgemm_nn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc);

#endif
