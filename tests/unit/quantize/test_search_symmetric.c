/*
 * test_search_symmetric.c - what the weighted search reaches: beside the best of all steps that a
 * format can store, found by trying them; beside the plain method; and the same bytes everywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/quantize/symmetric_types.h"

#include "base/hash.h"
#include "formats/block/int4_group.h"
#include "quantize/encode_int4_group.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { COLS = 1024, ROWS = 6 };

/* The weights that the search is to use, in F64; importance NULL: unknown. */
static void weigh(double *w, const struct type *type, const float *x, const float *importance,
                  size_t n)
{
    size_t part = type->len == 32 ? n : type->len;

    for (size_t at = 0; at < n; at += part) {
        double m = 0.0;

        for (size_t i = at; i < at + part; i++)
            m += (double)x[i] * (double)x[i] / (double)part;
        m *= type->len == 32 ? 1.0 : 2.0;
        for (size_t i = at; i < at + part; i++)
            w[i] = importance ? (double)importance[i] * sqrt(m + (double)x[i] * (double)x[i])
                              : sqrt(m) + fabs((double)x[i]);
    }
}

static double error_of(const struct type *type, const unsigned char *blocks, const float *x,
                       const double *w, size_t n)
{
    float back[COLS];
    double sum = 0.0;

    type->decode(back, blocks, n);
    for (size_t i = 0; i < n; i++)
        sum += w[i] * ((double)x[i] - (double)back[i]) * ((double)x[i] - (double)back[i]);
    return sum;
}

static double error_with_step(const double *level, int n_levels, const float *x, const double *w,
                              size_t n, double step)
{
    double sum = 0.0;

    for (size_t i = 0; i < n; i++) {
        double best = DBL_MAX;

        for (int c = 0; c < n_levels; c++) {
            double rest = (double)x[i] - step * level[c];

            best = rest * rest < best ? rest * rest : best;
        }
        sum += w[i] * best;
    }
    return sum;
}

/* The levels of a type of one scale: its decoder on a scale of one. */
static void levels_of(double *level, const struct type *type)
{
    unsigned char block[MAX_BLOCK_BYTES] = { 0x00, 0x3c };
    uint8_t code[MAX_BLOCK];
    float back[MAX_BLOCK];

    for (int c = 0; c < type->n_levels; c++) {
        memset(code, c, sizeof(code));
        type->put_codes(block, code);
        type->decode(back, block, type->len);
        level[c] = (double)back[0];
    }
}

/* Of all F16 steps that take the largest value to between 0.4 and 2 times the lowest level. */
static double best_of_all_steps(const double *level, int n_levels, const float *x, const double *w)
{
    float amax = 0.0f, unit;
    double best = DBL_MAX;

    for (size_t i = 0; i < 32; i++)
        amax = fmaxf(amax, fabsf(x[i]));
    unit = amax / (float)fabs(level[0]);
    for (uint16_t bits = bl_f16_from_f32(unit / 2.0f); bits <= bl_f16_from_f32(unit * 2.5f);
         bits++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            double step = sign * (double)bl_f32_from_f16(bits);

            best = fmin(best, error_with_step(level, n_levels, x, w, 32, step));
        }
    }
    return best;
}

static void one_scale_is_within_two_percent_of_the_best_there_is(void **state)
{
    static const char *const names[] = { "IQ4_NL", "Q4_0", "Q5_0" };
    float x[128], importance[128];
    double w[128] = { 0 }, level[32];
    uint64_t random = 11;

    (void)state;
    for (size_t t = 0; t < N_TYPES; t++) {
        unsigned char blocks[4 * MAX_BLOCK_BYTES];
        double have = 0.0, best = 0.0;
        bool tried = false;

        for (size_t k = 0; k < sizeof(names) / sizeof(*names); k++)
            tried = tried || strcmp(names[k], types[t].name) == 0;
        if (!tried)
            continue;
        levels_of(level, &types[t]);
        fill_row(x, importance, 128, &random);
        weigh(w, &types[t], x, importance, 128);
        types[t].search(blocks, x, importance, 128);
        for (size_t b = 0; b < 4; b++) {
            double e = error_of(&types[t], blocks + b * types[t].bytes, x + 32 * b, w + 32 * b, 32);
            double least = best_of_all_steps(level, types[t].n_levels, x + 32 * b, w + 32 * b);

            assert_true(e >= least * 0.999);
            have += e;
            best += least;
        }
        if (have > 1.02 * best)
            fail_msg("%s: %g times the least error", types[t].name, have / best);
    }
}

/* Near to a bound for integer scales: a free step for each group, the best of 600. */
static double best_of_free_steps(const double *level, int n_levels, size_t group, const float *x,
                                 const double *w)
{
    double sum = 0.0;

    for (size_t at = 0; at < 256; at += group) {
        double amax = 0.0, best = DBL_MAX;

        for (size_t i = at; i < at + group; i++)
            amax = fmax(amax, fabs((double)x[i]));
        for (int k = 0; k < 300; k++) {
            double step = amax / ((0.6 + 0.003 * k) * level[0]);

            best = fmin(best, error_with_step(level, n_levels, x + at, w + at, group, step));
            best = fmin(best, error_with_step(level, n_levels, x + at, w + at, group, -step));
        }
        sum += best;
    }
    return sum;
}

static void super_blocks_come_near_to_free_steps(void **state)
{
    static const struct {
        size_t type, group;
        double at_most;
    } cases[] = { { 1, 32, 1.04 }, { 2, 16, 1.02 } };
    float x[256], importance[256];
    uint64_t random = 12;

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        const struct type *type = &types[cases[k].type];
        double w[256] = { 0 }, level[16], have = 0.0, bound = 0.0;

        for (int c = 0; c < type->n_levels; c++)
            level[c] = k == 0 ? (double)bl_iq4_value[c] : c - 4.0;
        for (int round = 0; round < 6; round++) {
            unsigned char block[MAX_BLOCK_BYTES];

            fill_row(x, importance, 256, &random);
            weigh(w, type, x, importance, 256);
            type->search(block, x, importance, 256);
            have += error_of(type, block, x, w, 256);
            bound += best_of_free_steps(level, type->n_levels, cases[k].group, x, w);
        }
        if (have > cases[k].at_most * bound || have < 0.99 * bound)
            fail_msg("%s: %g times the error of free steps", type->name, have / bound);
    }
}

/* Error of the search over that of plain, sums over rows; what was measured and a little more. */
static void the_search_is_clearly_below_plain(void **state)
{
    /* with importance, without */
    static const double at_most[N_TYPES][2] = {
        { 0.60, 0.82 }, { 0.76, 0.92 }, { 0.75, 0.93 }, { 0.73, 0.91 },
        { 0.80, 0.95 }, { 0.76, 0.94 }, { 0.65, 0.84 }, { 0.72, 0.72 },
    };

    (void)state;
    for (size_t t = 0; t < N_TYPES; t++) {
        for (int known = 1; known >= 0; known--) {
            unsigned char blocks[COLS / 32 * 34];
            float x[COLS], importance[COLS];
            double w[COLS] = { 0 }, plain = 0.0, search = 0.0;
            uint64_t random = 13;

            for (int row = 0; row < ROWS; row++) {
                fill_row(x, importance, COLS, &random);
                weigh(w, &types[t], x, known ? importance : NULL, COLS);
                types[t].plain(blocks, x, COLS);
                plain += error_of(&types[t], blocks, x, w, COLS);
                types[t].search(blocks, x, known ? importance : NULL, COLS);
                search += error_of(&types[t], blocks, x, w, COLS);
            }
            if (search > at_most[t][1 - known] * plain)
                fail_msg("%s, importance %d: %g of plain", types[t].name, known, search / plain);
        }
    }
}

static void int4_groups_are_clearly_below_plain(void **state)
{
    static const size_t groups[] = { 32, 64, 128 };
    static const double at_most[] = { 0.75, 0.8, 0.8 };

    (void)state;
    for (size_t k = 0; k < 3; k++) {
        uint8_t packed[COLS / 2], scales[COLS / 16];
        float x[COLS], importance[COLS], back[COLS];
        double w[COLS] = { 0 }, error[2] = { 0.0, 0.0 };
        uint64_t random = 14;

        for (int row = 0; row < ROWS; row++) {
            fill_row(x, importance, COLS, &random);
            weigh(w, &types[4], x, importance, COLS);
            for (int search = 0; search < 2; search++) {
                if (search)
                    bl_int4_group_search(packed, scales, x, importance, COLS, groups[k]);
                else
                    bl_int4_group_encode(packed, scales, x, COLS, groups[k]);
                bl_int4_group_to_f32(back, packed, scales, BL_BF16, COLS, groups[k]);
                for (size_t i = 0; i < COLS; i++)
                    error[search] += w[i] * pow((double)x[i] - (double)back[i], 2.0);
            }
        }
        if (error[1] > at_most[k] * error[0])
            fail_msg("group %zu: %g of plain", groups[k], error[1] / error[0]);
    }
}

/* A far value whose importance is next to nothing is cut off, and the others keep their steps. */
static void a_far_value_that_does_not_matter_costs_the_others_nothing(void **state)
{
    (void)state;
    for (size_t t = 0; t < N_TYPES; t++) {
        unsigned char block[MAX_BLOCK_BYTES];
        float x[MAX_BLOCK], importance[MAX_BLOCK];
        double w[MAX_BLOCK] = { 0 }, without, with;
        uint64_t random = 15;

        fill_row(x, importance, MAX_BLOCK, &random);
        weigh(w, &types[t], x, importance, types[t].len);
        types[t].search(block, x, importance, types[t].len);
        without = error_of(&types[t], block, x, w, types[t].len);
        importance[9] = 0.0f;
        x[9] = 0.6f;
        w[9] = 0.0;
        types[t].search(block, x, importance, types[t].len);
        with = error_of(&types[t], block, x, w, types[t].len);
        if (with > 1.5 * without)
            fail_msg("%s: %g, not %g", types[t].name, with, without);
    }
}

static uint64_t digest_of(const struct type *type)
{
    unsigned char blocks[COLS / 32 * 34];
    float x[COLS], importance[COLS];
    uint64_t random = 16, digest = 0;

    for (int row = 0; row < ROWS; row++) {
        fill_row(x, importance, COLS, &random);
        memset(blocks, 0, sizeof(blocks));
        if (row == 4)
            memset(importance, 0, sizeof(importance) / 2);
        type->search(blocks, x, row % 3 == 2 ? NULL : importance, COLS);
        digest = digest * 31 + bl_hash64(blocks, COLS / type->len * type->bytes);
        type->plain(blocks, x, COLS);
        digest = digest * 31 + bl_hash64(blocks, COLS / type->len * type->bytes);
    }
    return digest;
}

/* Written down once: every compiler, instruction set and sanitizer must come to the same bytes. */
static void bytes_are_the_same_on_every_machine(void **state)
{
    static const uint64_t want[N_TYPES] = {
        0x084be115aa21b745, 0x0d20daa0cf810047, 0xef6ba3defefb7baf, 0x1c1b15acd6f2a454,
        0x664a5ec242010032, 0xaea8c0a42836b6c1, 0xc493aebfc1dc990d, 0x8301ca05bafe7c82,
    };
    uint8_t packed[COLS / 2], scales[COLS / 16];
    float x[COLS], importance[COLS];
    uint64_t random = 17;

    (void)state;
    for (size_t t = 0; t < N_TYPES; t++)
        assert_int_equal(digest_of(&types[t]), want[t]);
    fill_row(x, importance, COLS, &random);
    bl_int4_group_search(packed, scales, x, importance, COLS, 128);
    assert_int_equal(bl_hash64(packed, sizeof(packed)) ^ bl_hash64(scales, COLS / 64),
                     0x1d56a4b7a2785e99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_scale_is_within_two_percent_of_the_best_there_is),
        cmocka_unit_test(super_blocks_come_near_to_free_steps),
        cmocka_unit_test(the_search_is_clearly_below_plain),
        cmocka_unit_test(int4_groups_are_clearly_below_plain),
        cmocka_unit_test(a_far_value_that_does_not_matter_costs_the_others_nothing),
        cmocka_unit_test(bytes_are_the_same_on_every_machine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
