/*
 * test_symmetric_grid.c - the kernel of the search: the fast forms against their definitions bit for
 * bit, levels against a search through the table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/quantize/symmetric_types.h"

#include "quantize/symmetric_block.h"
#include "quantize/symmetric_grid.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { LEN = 256, GROUPS = BL_GRID_MAX_GROUPS, LANES = BL_GRID_LANES };

static const bl_grid grids[] = {
    { BL_GRID_INTEGERS, -4, 3 },     { BL_GRID_INTEGERS, -8, 7 }, { BL_GRID_INTEGERS, -32, 31 },
    { BL_GRID_INTEGERS, -127, 127 }, { BL_GRID_IQ4, -127, 113 },  { BL_GRID_E2M1, -12, 12 },
};
enum { N_GRIDS = sizeof(grids) / sizeof(*grids) };

static const float e2m1[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

/* Steps around the one that fits, of both signs, sometimes zero, tiny or huge. */
static void fill_steps(bl_grid_steps *steps, const bl_grid *grid, uint64_t *random)
{
    for (int g = 0; g < GROUPS; g++) {
        uint32_t r = next_random(random) % 16;

        steps->unit[g] = 0.06f / grid->lowest * (float)(1 + r);
        if (r == 0)
            steps->unit[g] = 0.0f;
        else if (r == 1)
            steps->unit[g] = -0x1p-140f;
        else if (r == 2)
            steps->unit[g] = 0x1p40f;
        steps->base[g] = (float)((int)(next_random(random) % 9) - 4);
    }
    for (int l = 0; l < LANES; l++)
        steps->lane[l] = 0.05f * (float)l - 0.2f;
}

static void fast_trials_equal_their_definition(void **state)
{
    static const size_t groups[] = { 16, 32, 64, 128, 256 };
    float x[LEN], w[LEN], error[GROUPS], want_error[GROUPS];
    uint8_t best[GROUPS], want_best[GROUPS];
    uint64_t random = 1;
    bl_grid_steps steps;

    (void)state;
    for (int round = 0; round < 300; round++) {
        const bl_grid *grid = &grids[round % N_GRIDS];
        size_t group = groups[round / N_GRIDS % 5], n = LEN / group;

        fill_row(x, w, LEN, &random);
        if (round % 7 == 3)
            memset(w, 0, sizeof(w));
        fill_steps(&steps, grid, &random);
        bl_grid_try(error, best, grid, x, w, n, group, &steps);
        bl_grid_try_ref(want_error, want_best, grid, x, w, n, group, &steps);
        assert_memory_equal(error, want_error, n * sizeof(*error));
        assert_memory_equal(best, want_best, n);
    }
}

static void fast_rounding_equals_its_definition(void **state)
{
    float x[LEN], w[LEN], level[LEN], want[LEN], step[GROUPS];
    float xl[GROUPS], ll[GROUPS], want_xl[GROUPS], want_ll[GROUPS];
    uint64_t random = 2;
    bl_grid_steps steps;

    (void)state;
    for (int round = 0; round < 300; round++) {
        const bl_grid *grid = &grids[round % N_GRIDS];
        size_t group = round % 2 ? 16 : 64, n = LEN / group;

        fill_row(x, w, LEN, &random);
        fill_steps(&steps, grid, &random);
        for (int g = 0; g < GROUPS; g++)
            step[g] = steps.unit[g];
        bl_grid_round(level, xl, ll, grid, x, w, n, group, step);
        bl_grid_round_ref(want, want_xl, want_ll, grid, x, w, n, group, step);
        assert_memory_equal(level, want, sizeof(level));
        assert_memory_equal(xl, want_xl, n * sizeof(*xl));
        assert_memory_equal(ll, want_ll, n * sizeof(*ll));
    }
}

static double level_of(const bl_grid *grid, int code)
{
    if (grid->kind == BL_GRID_IQ4)
        return (double)bl_iq4_value[code];
    return grid->kind == BL_GRID_E2M1 ? (double)e2m1[code] : (double)grid->lowest + code;
}

/* Codes index the table of the format, and no other entry is nearer. */
static void codes_are_those_of_the_nearest_level(void **state)
{
    float x[LEN], w[LEN], level[LEN], xl, ll;
    uint8_t code[LEN];
    uint64_t random = 3;

    (void)state;
    for (int round = 0; round < 60; round++) {
        const bl_grid *grid = &grids[round % N_GRIDS];
        int n_levels =
            grid->kind == BL_GRID_INTEGERS ? (int)(grid->highest - grid->lowest) + 1 : 16;
        const float step = -1.0f / 64; /* a power of two: x / step is exact */

        fill_row(x, w, LEN, &random);
        for (size_t i = 0; i < LEN; i++)
            x[i] *= round % 2 ? 40.0f : 6.0f;
        bl_grid_round(level, &xl, &ll, grid, x, w, 1, LEN, &step);
        bl_grid_codes(code, grid, level, LEN);
        for (size_t i = 0; i < LEN; i++) {
            double v = (double)x[i] / (double)step, best = DBL_MAX;

            for (int c = 0; c < n_levels; c++)
                best = fmin(best, fabs(v - level_of(grid, c)));
            assert_true(code[i] < n_levels);
            assert_true((double)level[i] == level_of(grid, code[i]));
            assert_true(fabs(v - level_of(grid, code[i])) == best);
        }
    }
}

static void the_error_of_a_trial_is_that_of_its_levels(void **state)
{
    float x[LEN], w[LEN], level[LEN], error[GROUPS], xl, ll;
    uint8_t best[GROUPS];
    uint64_t random = 4;
    bl_grid_steps steps;

    (void)state;
    for (int k = 0; k < N_GRIDS; k++) {
        float step;
        double want = 0.0;

        fill_row(x, w, LEN, &random);
        steps.unit[0] = 0.1f / grids[k].lowest;
        steps.base[0] = 1.0f;
        for (int l = 0; l < LANES; l++)
            steps.lane[l] = l == 9 ? 0.0f : 1e3f;
        bl_grid_try(error, best, &grids[k], x, w, 1, LEN, &steps);
        assert_int_equal(best[0], 9);
        step = steps.unit[0];
        bl_grid_round(level, &xl, &ll, &grids[k], x, w, 1, LEN, &step);
        for (size_t i = 0; i < LEN; i++) {
            double rest = (double)x[i] - (double)step * (double)level[i];

            want += (double)w[i] * rest * rest;
        }
        assert_true(fabs((double)error[0] - want) <= 1e-4 * want);
    }
}

/* The mean against F64, values against themselves, weights against their formula. */
static void loading_divides_by_powers_of_two_alone(void **state)
{
    float x[LEN], h[LEN];
    bl_symmetric_block b;
    uint64_t random = 5;
    double m = 0.0;

    (void)state;
    fill_row(x, h, LEN, &random);
    x[40] = 0x1p-140f;
    for (size_t i = 0; i < LEN; i++)
        m += (double)x[i] * (double)x[i] / LEN;
    assert_true(fabs(bl_mean_square(x, LEN) - m) <= 1e-12 * m);
    bl_symmetric_load(&b, x, h, LEN, 32, false, m);
    for (size_t g = 0; g < 8; g++) {
        double ratio = 0.0;

        for (size_t i = g * 32; i < g * 32 + 32; i++) {
            double want = (double)h[i] * sqrt(m + (double)x[i] * (double)x[i]);

            assert_true(ldexp((double)b.x[i], b.exponent[g]) == (double)x[i]);
            assert_true(fabsf(b.x[i]) < 2.0f);
            ratio = ratio != 0.0 ? ratio : want / (double)b.w[i];
            assert_true(fabs((double)b.w[i] * ratio / want - 1.0) < 1e-5);
        }
    }
}

static void stored_steps_are_those_of_their_format(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x7c00; bits += 7) {
        float value = bl_f32_from_f16((uint16_t)bits), next = bl_f32_from_f16((uint16_t)(bits + 1));

        assert_int_equal(bl_step_to_bits(ldexpf(value, 9), -9, BL_STEP_F16), bits);
        assert_true(bl_step_from_bits((uint16_t)bits, 5, BL_STEP_F16) == ldexpf(value, -5));
        if (bits < 0x7bff)
            assert_true(bl_step_ulp((uint16_t)bits, 3, BL_STEP_F16) == ldexpf(next - value, -3));
    }
    for (uint32_t bits = 0x80; bits < 0x7f7f; bits += 11) {
        float value = bl_f32_from_bf16((uint16_t)bits),
              next = bl_f32_from_bf16((uint16_t)(bits + 1));

        assert_int_equal(bl_step_to_bits(-value, 0, BL_STEP_BF16), bits | 0x8000);
        assert_true(bl_step_ulp((uint16_t)bits, 0, BL_STEP_BF16) == next - value);
    }
    assert_int_equal(bl_step_to_bits(-1.5f, 100, BL_STEP_F16), 0xfbff); /* never infinite */
    assert_int_equal(bl_step_to_bits(1.999999f, 127, BL_STEP_BF16), 0x7f7f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_trials_equal_their_definition),
        cmocka_unit_test(fast_rounding_equals_its_definition),
        cmocka_unit_test(codes_are_those_of_the_nearest_level),
        cmocka_unit_test(the_error_of_a_trial_is_that_of_its_levels),
        cmocka_unit_test(loading_divides_by_powers_of_two_alone),
        cmocka_unit_test(stored_steps_are_those_of_their_format),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
