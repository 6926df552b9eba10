/*
 * test_trials.c - a pruning that is tried as a mask does to a text what the model without those experts and
 * layers does, run by itself.
 */
#include "base/alloc.h"
#include "prune/trials.h"
#include "tests/unit/model/golden_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_near(double got, double wanted, double margin)
{
    if (!(fabs(got - wanted) <= margin))
        fail_msg("%.17g, not %.17g", got, wanted);
}

enum { TOKENS = 700, CTX = 64 };

struct fixture {
    struct golden g;
    int32_t token[TOKENS];
    bl_stats *stats;
    bl_prune_domain domain;
};

static int open_fixture(void **state)
{
    struct fixture *f = bl_calloc(1, sizeof(*f));
    struct bl_err err = { 0 };

    if (golden_open(&f->g, "data/nano-r1", "data/golden/nano-r1.safetensors", &err) != BL_OK ||
        bl_stats_open(&f->stats, "data/nano-r1.statistics.safetensors", &err) != BL_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    for (size_t t = 0; t < TOKENS; t++)
        f->token[t] = f->g.tokens[(t * 7 + t / 50) % f->g.n_tokens];
    f->domain = (bl_prune_domain){ f->stats, 1 };
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;

    bl_stats_close(f->stats);
    golden_close(&f->g);
    bl_free(f);
    return 0;
}

/* The same pruning as a model. */
static bl_ckpt *open_pruned(const struct fixture *f, const bl_prune_sweep *sweep,
                            bl_prune_method method, int64_t seed, double ratio)
{
    const bl_config *c = bl_ckpt_config(f->g.ckpt);
    const bl_prune_order order = { .n_experts = bl_prune_count(c, ratio, sweep->ungroup),
                                   .ungroup = sweep->ungroup,
                                   .experts_per_token = sweep->experts_per_token };
    bl_prune_scores scores = { 0 };
    bl_prune_choice choice = { 0 };
    bl_slice slice;
    bl_ckpt *view = NULL;
    struct bl_err err = { 0 };
    bl_status rc =
        bl_prune_judge(&scores, f->g.ckpt, method, &f->domain, 1, (uint64_t)seed, true, 1, &err);

    if (rc == BL_OK)
        rc = bl_prune_choose(&choice, c, &scores, &order, sweep->n_drop, &f->domain, 1, &err);
    slice = bl_prune_slice_of(&choice);
    if (rc == BL_OK)
        rc = bl_slice_open(&view, f->g.ckpt, &slice, &err);
    if (rc != BL_OK)
        fail_msg("%s", err.text);
    bl_prune_choice_release(&choice);
    bl_prune_scores_release(&scores);
    return view;
}

static void compare(const struct fixture *f, bl_prune_sweep sweep, double ratio)
{
    static const struct {
        bl_prune_method method;
        int64_t seed;
    } tried[] = { { BL_PRUNE_REAP, -1 }, { BL_PRUNE_RANDOM, 1 }, { BL_PRUNE_RANDOM, 2 } };
    const bl_variants_text text[2] = { { f->token, TOKENS }, { f->token + 100, 200 } };
    const bl_ppl_options options = { .ctx = CTX, .bos = 0, .run = { .n_threads = 2 } };
    bl_prune_trials trials = { 0 };
    struct bl_err err = { 0 };

    sweep.ckpt = f->g.ckpt;
    sweep.domain = &f->domain;
    sweep.n_domains = 1;
    sweep.only_layer = -1;
    for (size_t i = 0; i < 3; i++) {
        bl_prune_scores scores = { 0 };

        if (bl_prune_judge(&scores, f->g.ckpt, tried[i].method, &f->domain, 1,
                           (uint64_t)tried[i].seed, true, 2, &err) != BL_OK ||
            bl_prune_trials_add(&trials, &sweep, &scores, bl_prune_method_name(tried[i].method),
                                tried[i].seed, ratio, &err) != BL_OK)
            fail_msg("%s", err.text);
        bl_prune_scores_release(&scores);
    }
    if (bl_prune_trials_run(&trials, &sweep, text, 2, &options, &err) != BL_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < 3; i++) {
        bl_ckpt *pruned = open_pruned(f, &sweep, tried[i].method, tried[i].seed, ratio);
        uint64_t n_bytes = 0;

        for (size_t k = 0; k < bl_ckpt_n_tensors(pruned); k++)
            n_bytes += bl_ckpt_tensor(pruned, k)->n_bytes;
        assert_int_equal(trials.trial[i].n_bytes, n_bytes);
        for (size_t t = 0; t < 2; t++) {
            const bl_ppl_result *masked = &trials.trial[i].result[t];
            bl_ppl_result r = { 0 };

            assert_int_equal(
                bl_ppl_run(&r, f->g.ckpt, pruned, text[t].token, text[t].n_tokens, &options, NULL),
                BL_OK);
            assert_int_equal(masked->n_scored, r.n_scored);
            assert_true(r.kl_mean > 1e-5); /* it does something */
            assert_near(masked->kl_mean, r.kl_mean, 1e-6 * r.kl_mean);
            for (int m = 0; m < 2; m++)
                assert_near(masked->model[m].perplexity, r.model[m].perplexity,
                            1e-6 * r.model[m].perplexity);
            assert_near(masked->same_top, r.same_top, 2.0 / (double)r.n_scored);
            bl_ppl_release(&r);
        }
        bl_ckpt_close(pruned);
    }
    bl_prune_trials_release(&trials);
}

static void a_mask_is_what_is_written(void **state)
{
    compare(*state, (bl_prune_sweep){ .ungroup = true }, 0.25);
    compare(*state, (bl_prune_sweep){ .ungroup = true }, 0.5);
}

static void fewer_experts_per_token_too(void **state)
{
    compare(*state, (bl_prune_sweep){ .ungroup = true, .experts_per_token = 1 }, 0.5);
}

static void dropped_layers_too(void **state)
{
    compare(*state, (bl_prune_sweep){ .ungroup = true, .n_drop = 1 }, 0.5);
}

/* Without an expert that a token chose something changes, and one that is missing is named. */
static void single_experts_are_missing_one_at_a_time(void **state)
{
    const struct fixture *f = *state;
    const bl_variants_text text = { f->token, TOKENS };
    const bl_ppl_options options = { .ctx = CTX, .bos = 0, .run = { .n_threads = 2 } };
    const bl_prune_sweep sweep = { .ckpt = f->g.ckpt, .only_layer = 2 };
    bl_prune_trials trials = { 0 };

    assert_int_equal(bl_prune_trials_add_singles(&trials, &sweep, 2, NULL), BL_OK);
    assert_int_equal(trials.n, 8);
    assert_int_equal(bl_prune_trials_run(&trials, &sweep, &text, 1, &options, NULL), BL_OK);
    for (size_t e = 0; e < 8; e++) {
        assert_int_equal(trials.trial[e].without, e);
        assert_true(bl_prune_trial_kl(&trials.trial[e], 1) > 1e-7);
        assert_null(trials.trial[e].mask.policy[1].disabled);
    }
    bl_prune_trials_release(&trials);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mask_is_what_is_written),
        cmocka_unit_test(fewer_experts_per_token_too),
        cmocka_unit_test(dropped_layers_too),
        cmocka_unit_test(single_experts_are_missing_one_at_a_time),
    };

    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
