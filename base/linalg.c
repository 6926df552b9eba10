/* linalg.c - cblas, held to one thread a call. */
#include "base/linalg.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <pthread.h>

/* Only OpenBLAS has this; another BLAS is expected to be set to one thread by its own means. */
extern void openblas_set_num_threads(int n_threads) __attribute__((weak));

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void use_one_thread(void)
{
    if (openblas_set_num_threads)
        openblas_set_num_threads(1);
}

static void gemm(CBLAS_TRANSPOSE transpose_b, size_t m, size_t n, size_t k, float alpha,
                 const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                 size_t ldc)
{
    if (m == 0 || n == 0)
        return;
    assert(m <= INT_MAX && n <= INT_MAX && k <= INT_MAX);
    assert(lda <= INT_MAX && ldb <= INT_MAX && ldc <= INT_MAX);
    pthread_once(&once, use_one_thread);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, transpose_b, (int)m, (int)n, (int)k, alpha, a,
                (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

void bl_sgemm_nt(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    gemm(CblasTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void bl_sgemm_nn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    gemm(CblasNoTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
