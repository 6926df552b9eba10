/*
 * linalg.h - the door to BLAS and LAPACK.
 *
 * Every call runs on the calling thread alone: OpenBLAS gives other bits with other numbers of
 * threads. Parallel work is made of calls on fixed tiles inside bl_par_for(), so results are the
 * same at any -j on one CPU. Between CPUs they differ in the last bits, so BLAS never decides a
 * byte of an artifact.
 */
#ifndef BL_BASE_LINALG_H
#define BL_BASE_LINALG_H

#include <stdbool.h>
#include <stddef.h>

/* C[m,n] = alpha * A[m,k] B[n,k]^T + beta * C. Row-major; ld* = elements from row to row. */
void bl_sgemm_nt(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc);

/* C[m,n] = alpha * A[m,k] B[k,n] + beta * C. */
void bl_sgemm_nn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc);

/* C[m,n] = alpha * A[k,m]^T B[k,n] + beta * C. */
void bl_sgemm_tn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc);

/* The same three in F64. */
void bl_dgemm_nt(size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
                 const double *b, size_t ldb, double beta, double *c, size_t ldc);
void bl_dgemm_nn(size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
                 const double *b, size_t ldb, double beta, double *c, size_t ldc);
void bl_dgemm_tn(size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
                 const double *b, size_t ldb, double beta, double *c, size_t ldc);

/* C[n,n] = alpha * A[n,k] A^T + beta * C, the lower triangle: nothing above it is touched. */
void bl_ssyrk_lower(size_t n, size_t k, float alpha, const float *a, size_t lda, float beta,
                    float *c, size_t ldc);

/* B[m,n] = B L^-T with L[n,n] lower triangular. */
void bl_strsm_lower_t(size_t m, size_t n, const float *l, size_t ldl, float *b, size_t ldb);

/*
 * The Cholesky factor L of A[n,n] = L L^T in place of A's lower triangle; the upper one is neither
 * read nor written. False: A is not positive definite, and what is left in it has no meaning.
 */
bool bl_spotrf_lower(size_t n, float *a, size_t lda);
bool bl_dpotrf_lower(size_t n, double *a, size_t lda);

#endif
