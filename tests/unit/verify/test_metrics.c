/* Tensor metrics: their definitions, on numbers that can be checked by hand. */
#include "verify/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bl_metrics measure(const float *a, const float *b, size_t n)
{
    bl_metrics_sums sums = { 0 };

    bl_metrics_add(&sums, a, b, n);
    return bl_metrics_finish(&sums);
}

static void assert_near(double a, double b)
{
    if (!(fabs(a - b) <= 1e-12 * fmax(1, fabs(b))))
        fail_msg("%.17g is not %.17g", a, b);
}

static void measures_what_numerics_md_says(void **state)
{
    const float a[4] = { 1, 2, 2, 4 }, b[4] = { 1, 2, 3, 2 };
    const bl_metrics m = measure(a, b, 4);

    (void)state;
    assert_false(m.identical);
    assert_near(m.rel_rms, sqrt(5.0) / 5.0); /* not divided by n: a ratio of norms */
    assert_near(m.max_abs, 2);
    assert_near(m.cosine, 19.0 / (5.0 * sqrt(18.0)));
    assert_near(m.sqnr_db, 10 * log10(25.0 / 5.0));
}

static void a_tensor_scaled_by_1_01_has_an_error_of_one_percent(void **state)
{
    float a[1003], b[1003];
    bl_metrics m;

    (void)state;
    for (size_t i = 0; i < 1003; i++) {
        a[i] = (float)((int)(i * 37 % 101) - 50);
        b[i] = a[i] * 1.01f;
    }
    m = measure(a, b, 1003);
    assert_true(fabs(m.rel_rms - 0.01) < 1e-6);
    assert_true(m.cosine > 1 - 1e-9);
    assert_true(fabs(m.sqnr_db - 40) < 1e-3);
}

static void equal_values_are_identical_whatever_the_sign_of_zero(void **state)
{
    const float a[3] = { 0.0f, 5, -1 }, b[3] = { -0.0f, 5, -1 }, zero[3] = { 0 };
    bl_metrics m = measure(a, b, 3);

    (void)state;
    assert_true(m.identical);
    assert_near(m.rel_rms, 0);
    assert_near(m.cosine, 1);
    assert_true(isinf(m.sqnr_db) && m.sqnr_db > 0);
    m = measure(zero, zero, 3);
    assert_true(m.identical);
    m = measure(zero, a, 3);
    assert_false(m.identical);
    assert_true(isinf(m.rel_rms) && isinf(m.sqnr_db) && m.sqnr_db < 0);
    m = measure(a, a, 0);
    assert_true(m.identical);
}

static void pieces_merge_to_the_same_sums(void **state)
{
    float a[100], b[100];
    bl_metrics_sums one = { 0 }, parts = { 0 };
    bl_metrics x, y;

    (void)state;
    for (size_t i = 0; i < 100; i++) {
        a[i] = (float)i;
        b[i] = (float)(i % 7 ? i : i + 1);
    }
    bl_metrics_add(&one, a, b, 100);
    bl_metrics_add(&parts, a, b, 37);
    bl_metrics_add(&parts, a + 37, b + 37, 63);
    assert_int_equal(one.n, parts.n);
    assert_int_equal(one.n_different, 15);
    assert_int_equal(parts.n_different, 15);
    x = bl_metrics_finish(&one);
    y = bl_metrics_finish(&parts);
    assert_near(x.rel_rms, y.rel_rms);
    assert_near(x.cosine, y.cosine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measures_what_numerics_md_says),
        cmocka_unit_test(a_tensor_scaled_by_1_01_has_an_error_of_one_percent),
        cmocka_unit_test(equal_values_are_identical_whatever_the_sign_of_zero),
        cmocka_unit_test(pieces_merge_to_the_same_sums),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
