/*
 * Scores from vocabulary slices against the plain definition over whole rows in double. The
 * definition is written out here; test_perplexity compares with transformers.
 */
#include "base/alloc.h"
#include "tests/unit/model/stream.h"
#include "verify/logit_stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { N_TOKENS = 5, VOCAB = 1311 };

static float base[N_TOKENS * VOCAB], test[N_TOKENS * VOCAB];
static const int32_t target[N_TOKENS] = { 0, 1310, 600, 599, 7 };

static void make_logits(void)
{
    fill_stream(base, N_TOKENS * VOCAB, 1);
    fill_stream(test, N_TOKENS * VOCAB, 2);
    for (size_t i = 0; i < N_TOKENS * VOCAB; i++) {
        base[i] = base[i] * 9 + (float)(i % VOCAB) * 0.01f; /* the maximum rises slice by slice */
        test[i] = base[i] + test[i] * 0.3f;
    }
}

static double log_sum_exp(const float *z)
{
    double top = (double)z[0], sum = 0;

    for (size_t i = 0; i < VOCAB; i++)
        top = fmax(top, (double)z[i]);
    for (size_t i = 0; i < VOCAB; i++)
        sum += exp((double)z[i] - top);
    return top + log(sum);
}

static double divergence(const float *p, const float *q)
{
    double lse_p = log_sum_exp(p), lse_q = log_sum_exp(q), kl = 0;

    for (size_t i = 0; i < VOCAB; i++)
        kl += exp((double)p[i] - lse_p) * ((double)p[i] - lse_p - (double)q[i] + lse_q);
    return kl;
}

/* Feed both models in slices of n rows. */
static void feed(bl_logit_stats *stats, size_t n_models, size_t n)
{
    static float p[N_TOKENS * VOCAB], q[N_TOKENS * VOCAB];
    const float *const logits[2] = { p, q };

    assert_int_equal(bl_logit_stats_init(stats, n_models, target, N_TOKENS, NULL), BL_OK);
    for (size_t row = 0; row < VOCAB; row += n) {
        size_t step = n < VOCAB - row ? n : VOCAB - row;

        for (size_t t = 0; t < N_TOKENS; t++) {
            memcpy(p + t * step, base + t * VOCAB + row, step * sizeof(*p));
            memcpy(q + t * step, test + t * VOCAB + row, step * sizeof(*q));
        }
        assert_int_equal(bl_logit_stats_add(stats, 0, N_TOKENS, row, step, logits, NULL), BL_OK);
    }
}

static void slices_give_the_nll_and_kl_of_whole_rows(void **state)
{
    static const size_t slices[] = { 1, 8, 100, 513, VOCAB };

    (void)state;
    make_logits();
    for (size_t i = 0; i < sizeof(slices) / sizeof(*slices); i++) {
        bl_logit_stats stats;

        feed(&stats, 2, slices[i]);
        for (size_t t = 0; t < N_TOKENS; t++) {
            const float *p = base + t * VOCAB, *q = test + t * VOCAB;

            assert_true(fabs(bl_logit_stats_nll(&stats, t, 0) -
                             (log_sum_exp(p) - (double)p[target[t]])) < 1e-6);
            assert_true(fabs(bl_logit_stats_nll(&stats, t, 1) -
                             (log_sum_exp(q) - (double)q[target[t]])) < 1e-6);
            assert_true(fabs(bl_logit_stats_kl(&stats, t) - divergence(p, q)) < 1e-6);
        }
        bl_logit_stats_release(&stats);
    }
}

static void equal_models_have_a_divergence_of_exactly_zero(void **state)
{
    bl_logit_stats stats;

    (void)state;
    make_logits();
    memcpy(test, base, sizeof(test));
    feed(&stats, 2, 100);
    for (size_t t = 0; t < N_TOKENS; t++) {
        assert_true(bl_logit_stats_kl(&stats, t) == 0.0);
        assert_true(bl_logit_stats_same_top(&stats, t));
    }
    bl_logit_stats_release(&stats);
}

static void the_lowest_id_is_on_top_of_a_tie(void **state)
{
    bl_logit_stats stats;

    (void)state;
    memset(base, 0, sizeof(base));
    memset(test, 0, sizeof(test));
    base[5] = base[900] = 3;
    test[900] = 3;
    feed(&stats, 2, 64);
    assert_int_equal(stats.token[0].argmax, 5);
    assert_int_equal(stats.token[1].argmax, 900);
    assert_int_equal(stats.token[2].argmax, 0);
    assert_false(bl_logit_stats_same_top(&stats, 0));
    assert_true(bl_logit_stats_same_top(&stats, 1));
    bl_logit_stats_release(&stats);
}

static void one_model_alone_is_scored_the_same(void **state)
{
    bl_logit_stats pair, alone;

    (void)state;
    make_logits();
    feed(&pair, 2, 100);
    feed(&alone, 1, 100);
    for (size_t t = 0; t < N_TOKENS; t++)
        assert_true(bl_logit_stats_nll(&pair, t, 0) == bl_logit_stats_nll(&alone, t, 0));
    bl_logit_stats_release(&pair);
    bl_logit_stats_release(&alone);
}

/* Sharp models: far tails underflow to nothing, and that is right. */
static void a_certain_model_has_an_nll_of_almost_zero(void **state)
{
    bl_logit_stats stats;

    (void)state;
    for (size_t i = 0; i < N_TOKENS * VOCAB; i++)
        base[i] = -1000.0f;
    for (size_t t = 0; t < N_TOKENS; t++)
        base[t * VOCAB + (size_t)target[t]] = 1000.0f;
    feed(&stats, 1, 100);
    for (size_t t = 0; t < N_TOKENS; t++)
        assert_true(bl_logit_stats_nll(&stats, t, 0) == 0.0);
    bl_logit_stats_release(&stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_give_the_nll_and_kl_of_whole_rows),
        cmocka_unit_test(equal_models_have_a_divergence_of_exactly_zero),
        cmocka_unit_test(the_lowest_id_is_on_top_of_a_tie),
        cmocka_unit_test(one_model_alone_is_scored_the_same),
        cmocka_unit_test(a_certain_model_has_an_nll_of_almost_zero),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
