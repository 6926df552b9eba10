/*
 * A teacher's records against the plain definitions over whole rows in double: draws whose mean over
 * seeds is p and whose variance is that of independent ones, statistics, the likeliest.
 */
#include "base/alloc.h"
#include "base/par.h"
#include "distill/teach/draw.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SMALL = 24, LARGE = 5000, N_SEEDS = 1000, N_DRAWS = 50, N_TOKENS = 6 };

static float small[SMALL], large[N_TOKENS][LARGE];
static int32_t target[N_SEEDS];
static bl_draw_record record, other;

/* Uniform on (-1, 1): splitmix64. */
static float uniform(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (float)((x ^ x >> 31) >> 40) * 0x1p-23f - 1;
}

static int fill(void **state)
{
    uint64_t seed = 7;

    (void)state;
    for (size_t i = 0; i < SMALL; i++)
        small[i] = 2 * uniform(&seed) + 0.1f * (float)i; /* the maximum rises and falls */
    for (size_t t = 0; t < N_TOKENS; t++)
        for (size_t i = 0; i < LARGE; i++)
            large[t][i] = 9 * uniform(&seed) * uniform(&seed) + (i > 3000 ? 2.0f : 0.0f);
    for (size_t i = 0; i < N_SEEDS; i++)
        target[i] = (int32_t)(i % SMALL);
    return 0;
}

static double log_sum_exp(const float *z, size_t n)
{
    double top = (double)z[0], sum = 0;

    for (size_t i = 0; i < n; i++)
        top = fmax(top, (double)z[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp((double)z[i] - top);
    return top + log(sum);
}

/* The same row for every token, in slices. */
static void feed(bl_draw *draw, const float *z, size_t vocab, size_t slice)
{
    for (size_t row = 0; row < vocab; row += slice) {
        const float *const part = z + row;
        size_t n = slice < vocab - row ? slice : vocab - row;

        for (size_t t = 0; t < draw->n_tokens; t++)
            assert_int_equal(bl_draw_add(draw, t, 1, row, n, &part, NULL), BL_OK);
    }
}

static bl_cache_info info_of(bl_cache_kind kind, uint32_t n_draws, uint32_t n_top, uint64_t seed)
{
    return (bl_cache_info){ .kind = kind, .n_draws = n_draws, .n_top = n_top, .seed = seed };
}

/* Means and variances of the counts of each id over records 0 .. N_SEEDS - 1 of a seed. */
static void expect_unbiased(size_t slice, uint64_t seed)
{
    const bl_cache_info info = info_of(BL_CACHE_SAMPLED, N_DRAWS, 0, seed);
    const double lse = log_sum_exp(small, SMALL);
    double sum[SMALL] = { 0 }, squares[SMALL] = { 0 }, chi = 0;
    bl_draw draw;

    assert_int_equal(bl_draw_init(&draw, &info, 0, target, N_SEEDS, NULL), BL_OK);
    feed(&draw, small, SMALL, slice);
    for (size_t t = 0; t < N_SEEDS; t++) {
        uint32_t n = 0;

        bl_draw_record_of(&record, &draw, t);
        for (uint32_t i = 0; i < record.n; i++) {
            assert_true(i == 0 || record.id[i] > record.id[i - 1]);
            assert_true(record.count[i] > 0);
            assert_true(record.weight[i] == (float)record.count[i] / N_DRAWS);
            n += record.count[i];
            sum[record.id[i]] += record.count[i];
            squares[record.id[i]] += (double)record.count[i] * record.count[i];
        }
        assert_int_equal(n, N_DRAWS);
        assert_true(record.tail == 1);
    }
    for (size_t v = 0; v < SMALL; v++) {
        const double p = exp((double)small[v] - lse), mean = sum[v] / N_SEEDS;
        const double variance = squares[v] / N_SEEDS - mean * mean, one = N_DRAWS * p * (1 - p);
        const double fourth = one * (1 + 3 * (N_DRAWS - 2) * p * (1 - p)); /* of a binomial */

        assert_true(fabs(mean - N_DRAWS * p) < 3 * sqrt(one / N_SEEDS));
        assert_true(fabs(variance - one) < 4 * sqrt((fourth - one * one) / N_SEEDS));
        chi += (mean - N_DRAWS * p) * (mean - N_DRAWS * p) * N_SEEDS / (N_DRAWS * p);
    }
    assert_true(chi < 45 && chi > 8); /* 23 degrees of freedom: 0.4 % above, 0.2 % below */
    bl_draw_release(&draw);
}

static void the_mean_over_seeds_is_p(void **state)
{
    (void)state;
    expect_unbiased(5, 1);
    expect_unbiased(1, 2);
    expect_unbiased(SMALL, 3);
}

static void other_seeds_and_records_draw_others(void **state)
{
    const bl_cache_info one = info_of(BL_CACHE_SAMPLED, N_DRAWS, 0, 1),
                        two = info_of(BL_CACHE_SAMPLED, N_DRAWS, 0, 2);
    bl_draw a, b;

    (void)state;
    assert_int_equal(bl_draw_init(&a, &one, 10, target, 3, NULL), BL_OK);
    assert_int_equal(bl_draw_init(&b, &two, 10, target, 3, NULL), BL_OK);
    feed(&a, large[0], LARGE, LARGE);
    feed(&b, large[0], LARGE, LARGE);
    assert_memory_not_equal(a.id, b.id, N_DRAWS * sizeof(*a.id));
    assert_memory_not_equal(a.id, a.id + N_DRAWS, N_DRAWS * sizeof(*a.id));
    bl_draw_release(&a);
    /* what was record 11 as the second of a run is record 11 as the first of another */
    assert_int_equal(bl_draw_init(&a, &two, 11, target, 1, NULL), BL_OK);
    feed(&a, large[0], LARGE, LARGE);
    assert_memory_equal(a.id, b.id + N_DRAWS, N_DRAWS * sizeof(*a.id));
    bl_draw_release(&a);
    bl_draw_release(&b);
}

static void statistics_are_those_of_the_softmax(void **state)
{
    const bl_cache_info info = info_of(BL_CACHE_HIDDEN, 0, 0, 0);
    const int32_t id[N_TOKENS] = { 0, 1023, 1024, 2500, 4999, 17 };
    bl_draw draw;

    (void)state;
    for (size_t t = 0; t < N_TOKENS; t++) {
        const double lse = log_sum_exp(large[t], LARGE);
        double entropy = 0;

        for (size_t i = 0; i < LARGE; i++)
            entropy += exp((double)large[t][i] - lse) * (lse - (double)large[t][i]);
        assert_int_equal(bl_draw_init(&draw, &info, 0, id + t, 1, NULL), BL_OK);
        feed(&draw, large[t], LARGE, 700);
        bl_draw_record_of(&record, &draw, 0);
        assert_true(fabs((double)record.log_sum - lse) < 1e-6);
        assert_true(fabs((double)record.log_p - ((double)large[t][id[t]] - lse)) < 0x1p-17);
        assert_true((double)record.log_p * 0x1p17 == round((double)record.log_p * 0x1p17));
        assert_true(fabs((double)record.entropy - entropy) < 1e-5);
        assert_int_equal(record.n, 0);
        assert_true(record.tail == 0);
        bl_draw_release(&draw);
    }
}

static void an_unlikely_target_stops_at_128_nats(void **state)
{
    const bl_cache_info info = info_of(BL_CACHE_TOP_K, 0, 4, 0);
    const float z[3] = { 0, 500, -900 };
    const int32_t id = 2;
    bl_draw draw;

    (void)state;
    assert_int_equal(bl_draw_init(&draw, &info, 0, &id, 1, NULL), BL_OK);
    feed(&draw, z, 3, 2);
    bl_draw_record_of(&record, &draw, 0);
    assert_true(record.log_p == -128);
    assert_true(record.entropy == 0);
    assert_true(record.tail == 0);
    assert_int_equal(record.n, 3); /* a vocabulary of less than there is room for */
    assert_true(record.weight[1] == 1);
    bl_draw_release(&draw);
}

static const float *row_of_ranks;

static int compare_ranks(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    if (row_of_ranks[x] != row_of_ranks[y])
        return row_of_ranks[x] > row_of_ranks[y] ? -1 : 1;
    return (x > y) - (x < y);
}

static void the_top_is_the_likeliest_and_the_first_of_equals(void **state)
{
    enum { N_TOP = 300 };
    const bl_cache_info info = info_of(BL_CACHE_TOP_K, 0, N_TOP, 0);
    static float z[LARGE];
    static uint32_t rank[LARGE];
    bool expected[LARGE] = { false };
    double lse, kept = 0;
    bl_draw draw;

    (void)state;
    for (uint32_t i = 0; i < LARGE; i++) {
        z[i] = roundf(8 * large[1][i]) / 8; /* many are equal */
        rank[i] = i;
    }
    row_of_ranks = z;
    qsort(rank, LARGE, sizeof(*rank), compare_ranks);
    assert_true(z[rank[N_TOP - 1]] == z[rank[N_TOP]]);
    for (size_t i = 0; i < N_TOP; i++)
        expected[rank[i]] = true;
    lse = log_sum_exp(z, LARGE);
    assert_int_equal(bl_draw_init(&draw, &info, 0, target, 1, NULL), BL_OK);
    feed(&draw, z, LARGE, 999);
    bl_draw_record_of(&record, &draw, 0);
    assert_int_equal(record.n, N_TOP);
    for (uint32_t i = 0; i < N_TOP; i++) {
        const double p = exp((double)z[record.id[i]] - lse);

        assert_true(expected[record.id[i]]);
        assert_true(i == 0 || record.id[i] > record.id[i - 1]);
        assert_true(fabs((double)record.weight[i] - p) < 1e-6 * p);
        assert_int_equal(record.count[i], 0);
        kept += p;
    }
    assert_true(fabs((double)record.tail - (1 - kept)) < 1e-6);
    bl_draw_release(&draw);
}

static void mixed_weights_are_right_on_the_average(void **state)
{
    enum { N_TOP = 4, N_SAMPLE = 6 };
    const bl_cache_info info = info_of(BL_CACHE_MIXED, N_SAMPLE, N_TOP, 5);
    const double lse = log_sum_exp(small, SMALL);
    double sum[SMALL] = { 0 }, squares[SMALL] = { 0 };
    bl_draw draw;

    (void)state;
    assert_int_equal(bl_draw_init(&draw, &info, 0, target, N_SEEDS, NULL), BL_OK);
    feed(&draw, small, SMALL, 5);
    for (size_t t = 0; t < N_SEEDS; t++) {
        double kept = 0;

        bl_draw_record_of(&record, &draw, t);
        assert_int_equal(record.n, N_TOP + N_SAMPLE);
        for (uint32_t i = 0; i < record.n; i++) {
            assert_true(i == 0 || record.id[i] > record.id[i - 1]);
            kept += record.count[i] == 0 ? (double)record.weight[i] : 0;
            sum[record.id[i]] += (double)record.weight[i];
            squares[record.id[i]] += (double)record.weight[i] * (double)record.weight[i];
        }
        assert_true(fabs((double)record.tail - (1 - kept)) < 1e-5);
    }
    for (size_t v = 0; v < SMALL; v++) {
        const double p = exp((double)small[v] - lse), mean = sum[v] / N_SEEDS;
        const double error = sqrt(fmax(squares[v] / N_SEEDS - mean * mean, 0) / N_SEEDS);

        assert_true(fabs(mean - p) < 3.5 * error + 2e-5 * p);
    }
    bl_draw_release(&draw);
}

struct job {
    bl_draw *draw;
    size_t slice, row;
};

static bl_status add_token(void *context, size_t t, int i_thread, struct bl_err *err)
{
    const struct job *job = context;
    const float *const part = large[t] + job->row;
    size_t n = job->slice < LARGE - job->row ? job->slice : LARGE - job->row;

    (void)i_thread;
    return bl_draw_add(job->draw, t, 1, job->row, n, &part, err);
}

static void run_threads(bl_draw *draw, const bl_cache_info *info, size_t slice, int n_threads)
{
    assert_int_equal(bl_draw_init(draw, info, 40, target, N_TOKENS, NULL), BL_OK);
    for (size_t row = 0; row < LARGE; row += slice) {
        struct job job = { .draw = draw, .slice = slice, .row = row };

        assert_int_equal(bl_par_for(N_TOKENS, n_threads, add_token, &job, NULL), BL_OK);
    }
}

static void threads_and_slices_of_whole_chunks_change_nothing(void **state)
{
    static const struct {
        bl_cache_kind kind;
        uint32_t n_draws, n_top;
    } kind[] = { { BL_CACHE_SAMPLED, 50, 0 },
                 { BL_CACHE_TOP_K, 0, 40 },
                 { BL_CACHE_MIXED, 16, 8 },
                 { BL_CACHE_HIDDEN, 0, 0 } };

    (void)state;
    for (size_t k = 0; k < sizeof(kind) / sizeof(*kind); k++) {
        const bl_cache_info info = info_of(kind[k].kind, kind[k].n_draws, kind[k].n_top, 9);
        bl_draw a, b;

        run_threads(&a, &info, 1024, 1);
        run_threads(&b, &info, kind[k].kind == BL_CACHE_MIXED ? 1024 : 2048, 4);
        for (size_t t = 0; t < N_TOKENS; t++) {
            memset(&record, 0, sizeof(record));
            memset(&other, 0, sizeof(other));
            bl_draw_record_of(&record, &a, t);
            bl_draw_record_of(&other, &b, t);
            assert_memory_equal(&record, &other, sizeof(record));
        }
        bl_draw_release(&a);
        bl_draw_release(&b);
    }
}

static void memory_that_is_not_given_is_said(void **state)
{
    static const bl_cache_kind kind[] = { BL_CACHE_SAMPLED, BL_CACHE_TOP_K, BL_CACHE_MIXED };

    (void)state;
    for (size_t k = 0; k < 3; k++) {
        const bl_cache_info info = info_of(kind[k], 16, 8, 0);
        const int64_t live = bl_alloc_live();

        for (uint64_t at = 1;; at++) {
            struct bl_err err = { 0 };
            bl_draw draw = { 0 };
            bl_status rc;

            bl_alloc_fail_at(at);
            rc = bl_draw_init(&draw, &info, 0, target, 8, &err);
            bl_alloc_fail_at(0);
            bl_draw_release(&draw);
            assert_int_equal(bl_alloc_live(), live);
            if (rc == BL_OK)
                break;
            assert_int_equal(rc, BL_E_NOMEM);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mean_over_seeds_is_p),
        cmocka_unit_test(other_seeds_and_records_draw_others),
        cmocka_unit_test(statistics_are_those_of_the_softmax),
        cmocka_unit_test(an_unlikely_target_stops_at_128_nats),
        cmocka_unit_test(the_top_is_the_likeliest_and_the_first_of_equals),
        cmocka_unit_test(mixed_weights_are_right_on_the_average),
        cmocka_unit_test(threads_and_slices_of_whole_chunks_change_nothing),
        cmocka_unit_test(memory_that_is_not_given_is_said),
    };

    return cmocka_run_group_tests(tests, fill, NULL);
}
