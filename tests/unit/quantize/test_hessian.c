/*
 * Second moments of inputs: equal to a plain double loop, the same bits in whatever pieces the
 * tokens come, tokens held out as stated, and factors that are those of the blend.
 */
#include "gptq_inputs.h"

#include "quantize/hessian.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

static float *inputs(size_t n_tokens, size_t n_cols, uint64_t seed)
{
    float *x = malloc(n_tokens * n_cols * sizeof(*x));

    assert_non_null(x);
    make_inputs(x, n_tokens, n_cols, seed);
    return x;
}

static void sums_are_those_of_a_double_loop_without_the_tokens_held_out(void **state)
{
    enum { N = 70, T = 3000 };
    float *x = inputs(T, N, 1), importance[N];
    double exact[N][N] = { { 0 } }, all[N] = { 0 };
    bl_hessian h = { 0 };
    size_t n_held = 0;

    (void)state;
    assert_int_equal(bl_hessian_init(&h, N, BL_HESSIAN_SUM | BL_HESSIAN_HOLD, NULL), BL_OK);
    assert_int_equal(bl_hessian_add(&h, x, N, T, 2, NULL), BL_OK);
    assert_int_equal(bl_hessian_finish(&h, 2, NULL), BL_OK);
    for (size_t t = 0; t < T; t++) {
        bool held = t % 40 >= 36;

        if (held)
            assert_memory_equal(h.held + n_held++ * N, x + t * N, sizeof(float) * N);
        for (size_t i = 0; i < N; i++) {
            all[i] += (double)x[t * N + i] * (double)x[t * N + i];
            for (size_t j = 0; j < N && !held; j++)
                exact[i][j] += (double)x[t * N + i] * (double)x[t * N + j];
        }
    }
    assert_int_equal(n_held, 300);
    assert_int_equal(h.n_held, 300);
    assert_int_equal(h.n_summed, T - 300);
    assert_int_equal(h.n_seen, T);
    bl_hessian_importance(importance, &h, NULL);
    for (size_t i = 0; i < N; i++) {
        assert_true(fabs((double)importance[i] * T - all[i]) < 1e-5 * all[i]);
        for (size_t j = 0; j < N; j++)
            assert_true(fabs((double)h.sum[i * N + j] - exact[i][j]) <
                        1e-4 * sqrt(exact[i][i] * exact[j][j]));
    }
    bl_hessian_release(&h);
    free(x);
}

static void the_bits_depend_neither_on_the_pieces_nor_on_threads(void **state)
{
    enum { N = 600, T = 2500 };
    static const size_t piece[] = { T, 1, 7, 256, 1024, 1111 };
    float *x = inputs(T, N, 2), *first = malloc((size_t)N * N * sizeof(*first));
    bl_hessian h = { 0 };

    (void)state;
    assert_int_equal(bl_hessian_init(&h, N, BL_HESSIAN_SUM | BL_HESSIAN_HOLD, NULL), BL_OK);
    for (int p = 0; p < 6; p++) {
        bl_hessian_reset(&h);
        for (size_t t = 0; t < T; t += piece[p])
            assert_int_equal(bl_hessian_add(&h, x + t * N, N, t + piece[p] < T ? piece[p] : T - t,
                                            p % 3 + 1, NULL),
                             BL_OK);
        assert_int_equal(bl_hessian_finish(&h, p % 3 + 1, NULL), BL_OK);
        if (p == 0)
            memcpy(first, h.sum, (size_t)N * N * sizeof(*first));
        assert_memory_equal(first, h.sum, (size_t)N * N * sizeof(*first));
    }
    bl_hessian_release(&h);
    free(first);
    free(x);
}

static void no_more_than_the_stated_tokens_are_held_out(void **state)
{
    enum { N = 4, T = 40 * 200 };
    float *x = inputs(T, N, 3);
    bl_hessian h = { 0 };

    (void)state;
    assert_int_equal(bl_hessian_init(&h, N, BL_HESSIAN_SUM | BL_HESSIAN_HOLD, NULL), BL_OK);
    assert_int_equal(bl_hessian_add(&h, x, N, T, 1, NULL), BL_OK);
    assert_int_equal(bl_hessian_finish(&h, 1, NULL), BL_OK);
    assert_int_equal(h.n_held, BL_HESSIAN_HELD);
    assert_int_equal(h.n_summed, T - BL_HESSIAN_HELD);
    bl_hessian_release(&h);
    free(x);
}

static void share_and_damping_follow_the_tokens(void **state)
{
    (void)state;
    assert_true(bl_hessian_share(0, 100) == 1);
    assert_true(fabs(bl_hessian_share(1, 100) - (0.2 + 0.55 * exp(-1.0 / 400))) < 1e-12);
    assert_true(fabs(bl_hessian_share(400, 100) - (0.2 + 0.55 * exp(-1.0))) < 1e-12);
    assert_true(fabs(bl_hessian_share(100000, 100) - 0.2) < 1e-9);
    assert_true(bl_hessian_damping(99, 100) == 0.1);
    assert_true(bl_hessian_damping(100, 100) == 0.05);
    assert_true(bl_hessian_damping(799, 100) == 0.05);
    assert_true(bl_hessian_damping(800, 100) == 0.01);
}

/* U D U^T with D = diag(L_kk^2), in F64. */
static double product(const bl_gptq_factor *f, size_t i, size_t j)
{
    double sum = 0;

    for (size_t k = 0; k <= i && k <= j; k++)
        sum += (k == i ? 1 : (double)f->unit[i * f->n + k]) *
               (k == j ? 1 : (double)f->unit[j * f->n + k]) * (double)f->diagonal[k] *
               (double)f->diagonal[k];
    return sum;
}

static void the_factor_is_that_of_the_damped_blend_in_activation_order(void **state)
{
    enum { N = 300, T = 900 };
    float *own = inputs(T, N, 4), *other = inputs((size_t)3 * T, N, 5);
    bl_hessian h = { 0 }, layer = { 0 };
    bl_gptq_factor f = { 0 };
    double mean = 0, last = 0;
    int tries = 0;

    (void)state;
    assert_int_equal(bl_hessian_init(&h, N, BL_HESSIAN_SUM | BL_HESSIAN_HOLD, NULL), BL_OK);
    assert_int_equal(bl_hessian_init(&layer, N, BL_HESSIAN_SUM, NULL), BL_OK);
    assert_int_equal(bl_hessian_add(&h, own, N, T, 2, NULL), BL_OK);
    assert_int_equal(bl_hessian_add(&layer, other, N, (size_t)3 * T, 2, NULL), BL_OK);
    assert_int_equal(bl_hessian_finish(&h, 2, NULL), BL_OK);
    assert_int_equal(bl_hessian_finish(&layer, 2, NULL), BL_OK);
    assert_int_equal(bl_gptq_factor_init(&f, N, NULL), BL_OK);
    assert_int_equal(bl_gptq_factor_set(&f, &h, &layer, 0.3, 2, NULL), BL_OK);
    assert_int_equal(bl_gptq_factor_make(&tries, &f, 0.02, 2, NULL), BL_OK);
    assert_int_equal(tries, 1);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < N; i++)
            for (size_t j = 0; j <= i; j++) {
                size_t at = (size_t)f.order[i] * N + f.order[j];
                double blend = 0.7 * (double)h.sum[at] / (double)h.n_summed +
                               0.3 * (double)layer.sum[at] / (double)layer.n_summed;

                if (pass == 0 && i == j) {
                    mean += blend / N;
                    assert_true(blend >= last * (1 - 1e-6)); /* the most active last */
                    last = blend;
                }
                if (pass == 1)
                    assert_true(fabs(product(&f, i, j) - blend - (i == j ? 0.02 * mean : 0)) <
                                1e-4 * mean);
            }
    bl_gptq_factor_release(&f);
    bl_hessian_release(&h);
    bl_hessian_release(&layer);
    free(own);
    free(other);
}

/*
 * One token of ones: every pivot but the first is nothing but damping. 4e-8 is lost beside 1 in
 * F32, ten times as much is not; whether F32 or F64 factors that is the processor's affair.
 */
static void what_cannot_be_factored_is_damped_more(void **state)
{
    enum { N = 64 };
    float x[N];
    bl_hessian h = { 0 };
    bl_gptq_factor f = { 0 };
    int tries = -1;

    (void)state;
    for (size_t j = 0; j < N; j++)
        x[j] = 1;
    assert_int_equal(bl_hessian_init(&h, N, BL_HESSIAN_SUM, NULL), BL_OK);
    assert_int_equal(bl_hessian_add(&h, x, N, 1, 1, NULL), BL_OK);
    assert_int_equal(bl_hessian_finish(&h, 1, NULL), BL_OK);
    assert_int_equal(bl_gptq_factor_init(&f, N, NULL), BL_OK);
    assert_int_equal(bl_gptq_factor_set(&f, &h, NULL, 0, 1, NULL), BL_OK);
    assert_int_equal(bl_gptq_factor_make(&tries, &f, 0.01, 1, NULL), BL_OK);
    assert_int_equal(tries, 1);
    assert_int_equal(bl_gptq_factor_set(&f, &h, NULL, 0, 1, NULL), BL_OK);
    assert_int_equal(bl_gptq_factor_make(&tries, &f, 4e-8, 1, NULL), BL_OK);
    assert_true(tries == 2 || tries == 3);
    assert_true(fabs(product(&f, 5, 5) - 1) < 1e-5 && fabs(product(&f, 5, 3) - 1) < 1e-5);
    assert_int_equal(bl_gptq_factor_set(&f, &h, NULL, 0, 1, NULL), BL_OK);
    assert_int_equal(bl_gptq_factor_make(&tries, &f, 0, 1, NULL), BL_OK);
    assert_int_equal(tries, 0);
    bl_gptq_factor_release(&f);
    bl_hessian_release(&h);
}

/* No input at all: every column by itself. */
static void a_place_that_nothing_reached_gives_the_unit_factor(void **state)
{
    enum { N = 40 };
    bl_hessian h = { 0 };
    bl_gptq_factor f = { 0 };
    int tries = 0;

    (void)state;
    assert_int_equal(bl_hessian_init(&h, N, BL_HESSIAN_SUM, NULL), BL_OK);
    assert_int_equal(bl_hessian_finish(&h, 1, NULL), BL_OK);
    assert_int_equal(bl_gptq_factor_init(&f, N, NULL), BL_OK);
    assert_int_equal(bl_gptq_factor_set(&f, &h, NULL, 1, 1, NULL), BL_OK);
    assert_int_equal(bl_gptq_factor_make(&tries, &f, 0.1, 1, NULL), BL_OK);
    assert_int_equal(tries, 1);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < i; j++)
            assert_true(f.unit[i * N + j] == 0);
    bl_gptq_factor_release(&f);
    bl_hessian_release(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_a_double_loop_without_the_tokens_held_out),
        cmocka_unit_test(the_bits_depend_neither_on_the_pieces_nor_on_threads),
        cmocka_unit_test(no_more_than_the_stated_tokens_are_held_out),
        cmocka_unit_test(share_and_damping_follow_the_tokens),
        cmocka_unit_test(the_factor_is_that_of_the_damped_blend_in_activation_order),
        cmocka_unit_test(what_cannot_be_factored_is_damped_more),
        cmocka_unit_test(a_place_that_nothing_reached_gives_the_unit_factor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
