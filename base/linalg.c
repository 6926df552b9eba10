/* linalg.c - cblas and LAPACK's Fortran interface, held to one thread a call. */
#include "base/linalg.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Only OpenBLAS has this; another BLAS is expected to be set to one thread by its own means. */
extern void openblas_set_num_threads(int n_threads) __attribute__((weak));

static pthread_once_t once = PTHREAD_ONCE_INIT;

#ifdef __x86_64__
extern char *openblas_get_corename(void) __attribute__((weak));
extern void gotoblas_dynamic_quit(void) __attribute__((weak));
extern void gotoblas_dynamic_init(void) __attribute__((weak));

/*
 * OpenBLAS takes its kernels by the processor's model number, and for one that is younger than itself
 * those of 2004 (0.3.21, Debian 12's, on a Xeon of 2023: a third of the speed). What the processor
 * can do decides here, unless the user has chosen. Before the first call, so that nothing depends on
 * the first choice.
 */
static void use_this_processor(void)
{
    const char *core = NULL;

    if (!openblas_get_corename || !gotoblas_dynamic_quit || !gotoblas_dynamic_init ||
        strcmp(openblas_get_corename(), "Prescott") != 0 || getenv("OPENBLAS_CORETYPE"))
        return;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        core = "SkylakeX";
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        core = "Haswell";
    if (!core || setenv("OPENBLAS_CORETYPE", core, 0) != 0)
        return;
    gotoblas_dynamic_quit();
    gotoblas_dynamic_init();
    unsetenv("OPENBLAS_CORETYPE");
}
#else
static void use_this_processor(void)
{
}
#endif

static void prepare(void)
{
    use_this_processor();
    if (openblas_set_num_threads)
        openblas_set_num_threads(1);
}

/* LAPACK: A is column-major, so our lower triangle of rows is its upper one. */
extern void spotrf_(const char *uplo, const int *n, float *a, const int *lda, int *info);
extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);

static void gemm(CBLAS_TRANSPOSE transpose_a, CBLAS_TRANSPOSE transpose_b, size_t m, size_t n,
                 size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
                 float beta, float *c, size_t ldc)
{
    if (m == 0 || n == 0)
        return;
    assert(m <= INT_MAX && n <= INT_MAX && k <= INT_MAX);
    assert(lda <= INT_MAX && ldb <= INT_MAX && ldc <= INT_MAX);
    pthread_once(&once, prepare);
    cblas_sgemm(CblasRowMajor, transpose_a, transpose_b, (int)m, (int)n, (int)k, alpha, a, (int)lda,
                b, (int)ldb, beta, c, (int)ldc);
}

void bl_sgemm_nt(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    gemm(CblasNoTrans, CblasTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void bl_sgemm_nn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    gemm(CblasNoTrans, CblasNoTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void bl_sgemm_tn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    gemm(CblasTrans, CblasNoTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

static void dgemm(CBLAS_TRANSPOSE transpose_a, CBLAS_TRANSPOSE transpose_b, size_t m, size_t n,
                  size_t k, double alpha, const double *a, size_t lda, const double *b, size_t ldb,
                  double beta, double *c, size_t ldc)
{
    if (m == 0 || n == 0)
        return;
    assert(m <= INT_MAX && n <= INT_MAX && k <= INT_MAX);
    assert(lda <= INT_MAX && ldb <= INT_MAX && ldc <= INT_MAX);
    pthread_once(&once, prepare);
    cblas_dgemm(CblasRowMajor, transpose_a, transpose_b, (int)m, (int)n, (int)k, alpha, a, (int)lda,
                b, (int)ldb, beta, c, (int)ldc);
}

void bl_dgemm_nt(size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
                 const double *b, size_t ldb, double beta, double *c, size_t ldc)
{
    dgemm(CblasNoTrans, CblasTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void bl_dgemm_nn(size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
                 const double *b, size_t ldb, double beta, double *c, size_t ldc)
{
    dgemm(CblasNoTrans, CblasNoTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void bl_dgemm_tn(size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
                 const double *b, size_t ldb, double beta, double *c, size_t ldc)
{
    dgemm(CblasTrans, CblasNoTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void bl_ssyrk_lower(size_t n, size_t k, float alpha, const float *a, size_t lda, float beta,
                    float *c, size_t ldc)
{
    if (n == 0)
        return;
    assert(n <= INT_MAX && k <= INT_MAX && lda <= INT_MAX && ldc <= INT_MAX);
    pthread_once(&once, prepare);
    cblas_ssyrk(CblasRowMajor, CblasLower, CblasNoTrans, (int)n, (int)k, alpha, a, (int)lda, beta,
                c, (int)ldc);
}

void bl_strsm_lower_t(size_t m, size_t n, const float *l, size_t ldl, float *b, size_t ldb)
{
    if (m == 0 || n == 0)
        return;
    assert(m <= INT_MAX && n <= INT_MAX && ldl <= INT_MAX && ldb <= INT_MAX);
    pthread_once(&once, prepare);
    cblas_strsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (int)m, (int)n,
                1.0f, l, (int)ldl, b, (int)ldb);
}

bool bl_spotrf_lower(size_t n, float *a, size_t lda)
{
    int order = (int)n, stride = (int)lda, info = 0;

    assert(n <= INT_MAX && lda <= INT_MAX && lda >= n && n > 0);
    pthread_once(&once, prepare);
    spotrf_("U", &order, a, &stride, &info);
    return info == 0;
}

bool bl_dpotrf_lower(size_t n, double *a, size_t lda)
{
    int order = (int)n, stride = (int)lda, info = 0;

    assert(n <= INT_MAX && lda <= INT_MAX && lda >= n && n > 0);
    pthread_once(&once, prepare);
    dpotrf_("U", &order, a, &stride, &info);
    return info == 0;
}
