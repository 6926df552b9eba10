/*
 * Cholesky factors: the product of the factor with its transpose is the matrix again, the bits do
 * not depend on threads, and what is not positive definite is said to be so.
 */
#include "base/alloc.h"
#include "base/cholesky.h"
#include "base/linalg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* In (-1, 1), the same everywhere. */
static float next_number(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)(int32_t)(*seed >> 32) * 0x1p-31f;
}

/* X^T X / n + a tenth of the unit matrix, X random: positive definite. The upper triangle is NaN. */
static float *positive_matrix(size_t n)
{
    float *x = malloc(n * n * sizeof(*x)), *a = malloc(n * n * sizeof(*a));
    uint64_t seed = n;

    assert_true(x && a);
    for (size_t i = 0; i < n * n; i++)
        x[i] = next_number(&seed);
    bl_sgemm_tn(n, n, n, 1.0f / (float)n, x, n, x, n, 0.0f, a, n);
    for (size_t i = 0; i < n; i++) {
        a[i * n + i] += 0.1f;
        for (size_t j = i + 1; j < n; j++)
            a[i * n + j] = NAN;
    }
    free(x);
    return a;
}

static void assert_is_factor(const float *l, const float *a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;

            for (size_t k = 0; k <= j; k++)
                sum += (double)l[i * n + k] * (double)l[j * n + k];
            /* |L L^T - A| <= (n + 1) eps sqrt(a_ii a_jj): Higham, theorem 10.3 */
            assert_true(fabs(sum - (double)a[i * n + j]) <=
                        (double)(n + 1) * 0x1p-23 *
                            sqrt((double)a[i * n + i] * (double)a[j * n + j]));
        }
        assert_memory_equal(l + i * n + i + 1, a + i * n + i + 1, (n - i - 1) * sizeof(*l));
    }
}

static void factors_times_their_transpose_are_the_matrix(void **state)
{
    static const size_t size[] = { 1, 2, 37, 255, 256, 257, 600 };

    (void)state;
    for (size_t s = 0; s < sizeof(size) / sizeof(*size); s++) {
        size_t n = size[s];
        float *a = positive_matrix(n), *l = malloc(n * n * sizeof(*l));
        bool positive = false;

        memcpy(l, a, n * n * sizeof(*l));
        assert_int_equal(bl_cholesky(&positive, l, n, 2, NULL), BL_OK);
        assert_true(positive);
        assert_is_factor(l, a, n);
        memcpy(l, a, n * n * sizeof(*l));
        assert_int_equal(bl_cholesky_f64(&positive, l, n, NULL), BL_OK);
        assert_true(positive);
        assert_is_factor(l, a, n);
        free(a);
        free(l);
    }
}

static void the_bits_do_not_depend_on_threads(void **state)
{
    enum { N = 700 };
    float *one = positive_matrix(N), *l = malloc((size_t)N * N * sizeof(*l));
    bool positive = false;

    (void)state;
    assert_int_equal(bl_cholesky(&positive, one, N, 1, NULL), BL_OK);
    for (int n_threads = 2; n_threads <= 5; n_threads++) {
        float *a = positive_matrix(N);

        memcpy(l, a, (size_t)N * N * sizeof(*l));
        assert_int_equal(bl_cholesky(&positive, l, N, n_threads, NULL), BL_OK);
        for (size_t i = 0; i < N; i++)
            assert_memory_equal(l + i * N, one + i * N, (i + 1) * sizeof(*l));
        free(a);
    }
    free(one);
    free(l);
}

static void says_what_is_not_positive_definite(void **state)
{
    enum { N = 520 };
    static const size_t spoiled[] = { 0, 255, 256, N - 1 };

    (void)state;
    for (size_t s = 0; s < 4; s++) {
        float *a = positive_matrix(N), *before = malloc((size_t)N * N * sizeof(*a));
        bool positive = true;

        a[spoiled[s] * N + spoiled[s]] = -1.0f;
        memcpy(before, a, (size_t)N * N * sizeof(*a));
        assert_int_equal(bl_cholesky_f64(&positive, a, N, NULL), BL_OK);
        assert_false(positive);
        assert_memory_equal(a, before, (size_t)N * N * sizeof(*a));
        positive = true;
        assert_int_equal(bl_cholesky(&positive, a, N, 2, NULL), BL_OK);
        assert_false(positive);
        free(a);
        free(before);
    }
}

/* Three almost equal variables: with c = 1 - 2^-24 the second pivot is 1 - c^2, the third smaller. */
static void f64_keeps_what_f32_rounds_away(void **state)
{
    const double c = 0x1.fffffep-1, second = sqrt(1 - c * c), third = (c - c * c) / second;
    const float a[9] = { 1, 0, 0, (float)c, 1, 0, (float)c, (float)c, 1 };
    float l[9];
    bool positive = false;

    (void)state;
    memcpy(l, a, sizeof(l));
    assert_int_equal(bl_cholesky_f64(&positive, l, 3, NULL), BL_OK);
    assert_true(positive);
    assert_true(l[4] == (float)second && l[7] == (float)third);
    assert_true(fabs((double)l[8] - sqrt(1 - c * c - third * third)) < 1e-9);
}

static void without_memory_the_matrix_stays_as_it_was(void **state)
{
    const float a[4] = { 2, 0, 1, 2 };
    float l[4];
    bool positive = false;

    (void)state;
    memcpy(l, a, sizeof(l));
    bl_alloc_fail_at(1);
    assert_int_equal(bl_cholesky_f64(&positive, l, 2, NULL), BL_E_NOMEM);
    bl_alloc_fail_at(0);
    assert_memory_equal(a, l, sizeof(l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_times_their_transpose_are_the_matrix),
        cmocka_unit_test(the_bits_do_not_depend_on_threads),
        cmocka_unit_test(says_what_is_not_positive_definite),
        cmocka_unit_test(f64_keeps_what_f32_rounds_away),
        cmocka_unit_test(without_memory_the_matrix_stays_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
