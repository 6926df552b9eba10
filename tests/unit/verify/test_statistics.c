/*
 * Intervals and tests against values computed apart: McNemar's by exact fractions, Wilson's as the
 * roots of its quadratic equation (8 of 10 is also the textbooks' 0.49 to 0.94).
 */
#include "verify/statistics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void expect(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%.17g, expected %.17g", got, want);
}

static void mcnemar_is_the_exact_binomial_test(void **state)
{
    static const struct {
        size_t a, b;
        double p;
    } known[] = { { 0, 0, 1.0 },
                  { 0, 5, 0.0625 },
                  { 1, 9, 0.021484375 },
                  { 3, 3, 1.0 },
                  { 12, 25, 0.04703102743951604 },
                  { 400, 600, 2.7284641560660184e-10 },
                  { 5000, 5200, 0.04878796312682245 } };

    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        expect(bl_mcnemar(known[i].a, known[i].b) / known[i].p, 1, 1e-9);
        expect(bl_mcnemar(known[i].b, known[i].a) / known[i].p, 1, 1e-9);
    }
}

static void shares_have_wilsons_interval(void **state)
{
    static const struct {
        size_t k, n;
        double low, high;
    } known[] = { { 8, 10, 0.4901624715366418, 0.9433178485456247 },
                  { 0, 20, 0, 0.16112515805281938 },
                  { 20, 20, 0.8388748419471803, 1 },
                  { 32, 59, 0.41657836610103494, 0.6629869414814407 },
                  { 7021, 14042, 0.4917311671244334, 0.5082688328755667 } };

    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        bl_share s = bl_share_of(known[i].k, known[i].n);

        expect(s.value, (double)known[i].k / (double)known[i].n, 0);
        expect(s.low, known[i].low, 1e-12);
        expect(s.high, known[i].high, 1e-12);
    }
    assert_true(bl_share_of(0, 20).low == 0 && bl_share_of(20, 20).high == 1);
}

static void changes_have_an_interval_even_where_nothing_changed(void **state)
{
    bl_share s = bl_share_change(3, 12, 100);

    (void)state;
    expect(s.value, -0.09, 1e-15);
    expect(s.low, -0.16316494899885786, 1e-12);
    expect(s.high, -0.013305639236436254, 1e-12);
    s = bl_share_change(0, 0, 100);
    assert_true(s.value == 0);
    expect(s.low, -0.019215333181765236, 1e-12);
    expect(s.high, 0.019215333181765236, 1e-12);
    s = bl_share_change(0, 2, 2);
    assert_true(s.value == -1 && s.low == -1);
    expect(s.high, 0.19295191217483898, 1e-12);
}

static void a_mean_has_the_error_of_its_sample(void **state)
{
    const double x[] = { 1, 2, 4, 9 };
    double error;

    (void)state;
    expect(bl_mean(&error, x, 4), 4, 0);
    expect(error, sqrt(38.0 / 3 / 4), 1e-15);
    expect(bl_mean(&error, x, 1), 1, 0);
    expect(error, 0, 0);
}

/* By hand: ranks 1 2 3.5 3.5 5 against 2 1 3 5 4; scipy.stats.spearmanr gives the same. */
static void ranks_correlate_as_spearman_has_it(void **state)
{
    const double x[] = { 1, 2, 7, 7, 100 }, y[] = { 0.2, 0.1, 0.3, 0.9, 0.4 };
    const double up[] = { 1, 2, 3, 4, 5 }, down[] = { -1, -2, -3, -400, -5e9 };
    const double same[] = { 2, 2, 2, 2, 2 };

    (void)state;
    expect(bl_rank_correlation(x, y, 5), 0.718184846, 1e-8);
    expect(bl_rank_correlation(up, x, 5), 0.974679434, 1e-8);
    expect(bl_rank_correlation(up, down, 5), -1, 1e-15);
    expect(bl_rank_correlation(up, same, 5), 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mcnemar_is_the_exact_binomial_test),
        cmocka_unit_test(shares_have_wilsons_interval),
        cmocka_unit_test(changes_have_an_interval_even_where_nothing_changed),
        cmocka_unit_test(a_mean_has_the_error_of_its_sample),
        cmocka_unit_test(ranks_correlate_as_spearman_has_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
