/*
 * Matrix products against a plain double loop, and the promise that everything above rests on:
 * the same call gives the same bits, however many threads make calls beside it.
 */
#include "base/linalg.h"
#include "base/par.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { PAD = 5 };

typedef void product(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                     const float *b, size_t ldb, float beta, float *c, size_t ldc);

/* A small generator, so that the numbers are the same everywhere; in (-1, 1). */
static float next_number(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)(int32_t)(*seed >> 32) * 0x1p-31f;
}

static float *random_matrix(size_t n, uint64_t seed)
{
    float *x = malloc(n * sizeof(*x));

    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = next_number(&seed);
    return x;
}

enum form { NT, NN, TN }; /* which operand lies transposed */

/* |float - exact| <= (k + 3) * eps * (|alpha| sum|a||b| + |beta||c|): any order of summation. */
static void compare(product *multiply, enum form form, size_t m, size_t n, size_t k, float alpha,
                    float beta)
{
    size_t lda = (form == TN ? m : k) + PAD, ldb = (form == NT ? k : n) + PAD, ldc = n + PAD;
    float *a = random_matrix((form == TN ? k : m) * lda, 1);
    float *b = random_matrix((form == NT ? n : k) * ldb, 2);
    float *c = random_matrix(m * ldc, 3), *before = random_matrix(m * ldc, 3);

    multiply(m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < ldc; j++) {
            double sum = 0, size = 0, old = (double)before[i * ldc + j];

            if (j >= n) { /* what lies between the rows is not ours */
                assert_true(c[i * ldc + j] == before[i * ldc + j]);
                continue;
            }
            for (size_t t = 0; t < k; t++) {
                double p = (double)(form == TN ? a[t * lda + i] : a[i * lda + t]) *
                           (double)(form == NT ? b[j * ldb + t] : b[t * ldb + j]);
                sum += p;
                size += fabs(p);
            }
            sum = (double)alpha * sum + (double)beta * old;
            size = fabs((double)alpha) * size + fabs((double)beta * old);
            assert_true(fabs(sum - (double)c[i * ldc + j]) <= (double)(k + 3) * 0x1p-23 * size);
        }
    }
    free(a);
    free(b);
    free(c);
    free(before);
}

static void equals_a_plain_double_loop(void **state)
{
    static const size_t size[][3] = {
        { 1, 1, 1 },    { 1, 7, 33 },   { 3, 1, 64 },   { 4, 4, 4 },
        { 17, 19, 23 }, { 64, 64, 64 }, { 65, 3, 300 }, { 2, 300, 31 }
    };

    (void)state;
    for (size_t i = 0; i < sizeof(size) / sizeof(*size); i++) {
        compare(bl_sgemm_nt, NT, size[i][0], size[i][1], size[i][2], 1.0f, 0.0f);
        compare(bl_sgemm_nt, NT, size[i][0], size[i][1], size[i][2], 0.5f, 1.0f);
        compare(bl_sgemm_nn, NN, size[i][0], size[i][1], size[i][2], 1.0f, 0.0f);
        compare(bl_sgemm_nn, NN, size[i][0], size[i][1], size[i][2], -2.0f, 0.25f);
        compare(bl_sgemm_tn, TN, size[i][0], size[i][1], size[i][2], 1.0f, 0.0f);
        compare(bl_sgemm_tn, TN, size[i][0], size[i][1], size[i][2], -0.5f, 1.0f);
    }
}

static void beta_zero_does_not_read_what_was_there(void **state)
{
    float a[] = { 1, 2 }, b[] = { 3, 4 }, c[] = { NAN };

    (void)state;
    bl_sgemm_nt(1, 1, 2, 1.0f, a, 2, b, 2, 0.0f, c, 1);
    assert_true(c[0] == 11.0f);
    c[0] = NAN;
    bl_sgemm_nn(1, 1, 2, 1.0f, a, 2, b, 1, 0.0f, c, 1);
    assert_true(c[0] == 11.0f);
}

static void empty_products_are_allowed(void **state)
{
    float one = 1, c[2] = { 5, NAN };

    (void)state;
    bl_sgemm_nt(0, 3, 3, 1.0f, &one, 3, &one, 3, 0.0f, c, 3);
    bl_sgemm_nn(3, 0, 3, 1.0f, &one, 3, &one, 1, 0.0f, c, 1);
    assert_true(c[0] == 5);
    bl_sgemm_nt(1, 1, 0, 1.0f, &one, 0, &one, 0, 2.0f, c, 1); /* a sum of nothing */
    assert_true(c[0] == 10);
    bl_sgemm_nn(1, 1, 0, 1.0f, &one, 0, &one, 1, 0.0f, c + 1, 1);
    assert_true(c[1] == 0);
}

struct tiles {
    size_t m, n, k;
    const float *a, *b;
    float *c[24]; /* every iteration multiplies the same tile into its own place */
};

static bl_status multiply_tile(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct tiles *t = context;

    (void)i_thread, (void)err;
    bl_sgemm_nt(t->m, t->n, t->k, 1.0f, t->a, t->k, t->b, t->k, 0.0f, t->c[i], t->n);
    return BL_OK;
}

static void the_same_tile_gives_the_same_bits_at_any_thread_count(void **state)
{
    static const size_t size[][3] = { { 64, 64, 256 }, { 7, 300, 320 }, { 200, 130, 77 } };

    (void)state;
    for (size_t s = 0; s < sizeof(size) / sizeof(*size); s++) {
        struct tiles t = { .m = size[s][0], .n = size[s][1], .k = size[s][2] };
        float *a = random_matrix(t.m * t.k, 4), *b = random_matrix(t.n * t.k, 5);
        size_t bytes = t.m * t.n * sizeof(float);

        t.a = a;
        t.b = b;
        for (size_t i = 0; i < 24; i++)
            t.c[i] = (float *)calloc(t.m * t.n + 16, sizeof(float)) + i % 16;
        for (int n_threads = 1; n_threads <= 4; n_threads++) {
            size_t first = (size_t)(n_threads - 1) * 6;
            struct tiles part = t;

            memcpy(part.c, t.c + first, 6 * sizeof(*t.c));
            assert_int_equal(bl_par_for(6, n_threads, multiply_tile, &part, NULL), BL_OK);
        }
        for (size_t i = 1; i < 24; i++)
            assert_memory_equal(t.c[0], t.c[i], bytes);
        for (size_t i = 0; i < 24; i++)
            free(t.c[i] - i % 16);
        free(a);
        free(b);
    }
}

static void where_the_operands_lie_does_not_change_the_bits(void **state)
{
    enum { M = 33, N_COLUMNS = 47, K = 129 };
    float *a = random_matrix(M * K + 16, 6), *b = random_matrix(N_COLUMNS * K + 16, 7);
    float first[M * N_COLUMNS], c[M * N_COLUMNS];

    (void)state;
    bl_sgemm_nt(M, N_COLUMNS, K, 1.0f, a, K, b, K, 0.0f, first, N_COLUMNS);
    for (size_t shift = 1; shift < 16; shift++) {
        memmove(a + shift, a + shift - 1, (size_t)M * K * sizeof(*a));
        memmove(b + shift, b + shift - 1, (size_t)N_COLUMNS * K * sizeof(*b));
        bl_sgemm_nt(M, N_COLUMNS, K, 1.0f, a + shift, K, b + shift, K, 0.0f, c, N_COLUMNS);
        assert_memory_equal(first, c, sizeof(c));
    }
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_a_plain_double_loop),
        cmocka_unit_test(beta_zero_does_not_read_what_was_there),
        cmocka_unit_test(empty_products_are_allowed),
        cmocka_unit_test(the_same_tile_gives_the_same_bits_at_any_thread_count),
        cmocka_unit_test(where_the_operands_lie_does_not_change_the_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
