/*
 * test_criteria.c - scores are what their formulas say of statistics written here, few tokens do not decide,
 * domains add up as they are weighted, and super experts are found.
 */
#include "base/alloc.h"
#include "formats/stats/stats_writer.h"
#include "prune/criteria.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../scratch.h"

static void assert_near(double got, double wanted, double margin)
{
    if (!(fabs(got - wanted) <= margin))
        fail_msg("%.17g, not %.17g", got, wanted);
}

enum { LAYERS = 3, EXPERTS = 8 };

static bl_ckpt *model;

/* Mean squares, all zero, and the tokens behind each row: an expert's, or all. */
static void pack_site(bl_text *out, bl_stats_shape shape, const bl_stats_saliency *s)
{
    float *mean = bl_calloc(shape.n_rows, shape.n_cols * sizeof(*mean));
    uint64_t count[EXPERTS], all = 0;

    for (int e = 0; e < EXPERTS; e++)
        all += count[e] = s[e].n;
    bl_stats_pack_f32(out, mean, shape.n_rows * shape.n_cols);
    bl_stats_pack_counts(out, shape.n_rows == EXPERTS ? count : &all, shape.n_rows);
    bl_free(mean);
}

/* Saliencies of layers 1 and 2 (0 is dense), and the sites that go with them. */
static bl_stats *write_stats(const char *path, const bl_stats_saliency (*s)[EXPERTS])
{
    static const bl_stats_site sites[] = { BL_SITE_EXPERT_INPUT, BL_SITE_EXPERTS_INPUT,
                                           BL_SITE_EXPERT_INNER, BL_SITE_EXPERTS_INNER };
    bl_stats_shape shape[LAYERS + 1][BL_SITE_COUNT] = { { { 0 } } };
    bl_stats_plan plan = { .info = { .n_layers = LAYERS, .ctx = 512, .n_parts = 1, .part = { 1 } },
                           .shape = shape[0],
                           .saliency = true };
    bl_stats_writer *w = NULL;
    bl_stats *stats = NULL;
    struct bl_err err = { 0 };
    bl_status rc;

    for (uint32_t l = 1; l < LAYERS; l++)
        for (size_t i = 0; i < sizeof(sites) / sizeof(*sites); i++)
            shape[l][sites[i]] = bl_stats_site_shape(bl_ckpt_config(model), sites[i], l);
    rc = bl_stats_writer_begin(&w, path, true, &plan, &err);
    for (uint32_t l = 1; l < LAYERS && rc == BL_OK; l++) {
        bl_text bytes = { 0 };

        for (int site = 0; site < BL_SITE_COUNT; site++)
            if (shape[l][site].n_rows > 0)
                pack_site(&bytes, shape[l][site], s[l]);
        bl_stats_pack_saliency(&bytes, s[l], EXPERTS);
        rc = bl_stats_writer_write(w, bytes.bytes, bytes.n, &err);
        bl_text_release(&bytes);
    }
    if (rc == BL_OK)
        rc = bl_stats_writer_commit(&w, &err);
    if (rc == BL_OK)
        rc = bl_stats_open(&stats, path, &err);
    if (rc != BL_OK)
        fail_msg("%s", err.text);
    return stats;
}

/* 100 tokens each, and numbers that rank the experts differently in each column. */
static void fill(bl_stats_saliency (*s)[EXPERTS])
{
    memset(s, 0, LAYERS * sizeof(*s));
    for (int l = 1; l < LAYERS; l++)
        for (int e = 0; e < EXPERTS; e++)
            s[l][e] = (bl_stats_saliency){ .n = 100 + (uint64_t)(e * 7 % 5),
                                           .gate = 20 + e,
                                           .norm = 300 - e,
                                           .norm2 = 1000 + (e * 3 % 8) * 10,
                                           .gate_norm = 50 + (e * 5 % 8) * l,
                                           .gate_norm_turn = 5 + (e * 7 % 8),
                                           .max_abs = 1 };
}

static bl_prune_scores score(bl_prune_method method, const bl_prune_domain *domain, size_t n,
                             uint64_t seed)
{
    bl_prune_scores scores = { 0 };
    struct bl_err err = { 0 };

    if (bl_prune_score(&scores, model, method, domain, n, seed, 2, &err) != BL_OK)
        fail_msg("%s", err.text);
    return scores;
}

static double wanted(bl_prune_method method, const bl_stats_saliency *s)
{
    const double n = (double)s->n;

    return method == BL_PRUNE_REAP      ? s->gate_norm / n
           : method == BL_PRUNE_MSAN    ? s->norm2 / n
           : method == BL_PRUNE_EASY_EP ? s->gate_norm_turn
                                        : n;
}

static void scores_are_what_the_formulas_say(void **state)
{
    bl_stats_saliency s[LAYERS][EXPERTS];
    bl_prune_domain domain = { .weight = 1 };
    bl_stats *stats;

    (void)state;
    fill(s);
    domain.stats = stats = write_stats("s.safetensors", (const bl_stats_saliency(*)[EXPERTS])s);
    for (int m = BL_PRUNE_REAP; m <= BL_PRUNE_FREQUENCY; m++) {
        bl_prune_scores got = score((bl_prune_method)m, &domain, 1, 0);

        for (int l = 1; l < LAYERS; l++) {
            double sum = 0;

            for (int e = 0; e < EXPERTS; e++)
                sum += wanted((bl_prune_method)m, &s[l][e]);
            for (int e = 0; e < EXPERTS; e++) /* their sum is 1, so that domains can be added */
                assert_near(got.score[l * EXPERTS + e], wanted((bl_prune_method)m, &s[l][e]) / sum,
                            1e-15);
        }
        for (int e = 0; e < EXPERTS; e++) /* the MTP layer has those of the last one */
            assert_near(got.score[3 * EXPERTS + e], got.score[2 * EXPERTS + e], 0);
        bl_prune_scores_release(&got);
    }
    bl_stats_close(stats);
}

/* One expert met one token, by chance a loud one: as good as the layer's mean and a sixteenth of that. */
static void few_tokens_do_not_decide(void **state)
{
    bl_stats_saliency s[LAYERS][EXPERTS];
    bl_prune_domain domain = { .weight = 1 };
    bl_stats *stats;
    bl_prune_scores got;
    double sum = 0, n = 0, mean;

    (void)state;
    fill(s);
    for (int e = 0; e < EXPERTS; e++)
        s[1][e] = (bl_stats_saliency){ .n = 1000, .gate_norm = 1000 + e, .norm2 = 1 };
    s[1][3] = (bl_stats_saliency){ .n = 1, .gate_norm = 9, .norm2 = 1 };
    s[1][4] = (bl_stats_saliency){ .n = 0 };
    domain.stats = stats = write_stats("s.safetensors", (const bl_stats_saliency(*)[EXPERTS])s);
    got = score(BL_PRUNE_REAP, &domain, 1, 0);
    for (int e = 0; e < EXPERTS; e++) {
        sum += s[1][e].gate_norm;
        n += (double)s[1][e].n;
    }
    mean = sum / n;
    assert_int_equal(got.n_few, 2);
    assert_near(got.score[EXPERTS + 3] / got.score[EXPERTS + 7], (9 + 15 * mean) / 16 / 1.007,
                1e-12);
    assert_near(got.score[EXPERTS + 4] / got.score[EXPERTS + 7], mean / 1.007, 1e-12);
    bl_prune_scores_release(&got);
    bl_stats_close(stats);
}

static void domains_are_weighted(void **state)
{
    bl_stats_saliency s[2][LAYERS][EXPERTS];
    bl_prune_domain domain[2] = { { .weight = 3 }, { .weight = 1 } };
    bl_stats *stats[2];
    bl_prune_scores one[2], both;

    (void)state;
    fill(s[0]);
    fill(s[1]);
    for (int e = 0; e < EXPERTS; e++) /* much louder, which counts for nothing */
        s[1][1][e].gate_norm_turn = 1e6 * (e + 1);
    for (int d = 0; d < 2; d++) {
        domain[d].stats = stats[d] = write_stats(d ? "b.safetensors" : "a.safetensors",
                                                 (const bl_stats_saliency(*)[EXPERTS])s[d]);
        one[d] = score(BL_PRUNE_EASY_EP, &(const bl_prune_domain){ .stats = stats[d], .weight = 1 },
                       1, 0);
    }
    both = score(BL_PRUNE_EASY_EP, domain, 2, 0);
    for (int i = EXPERTS; i < LAYERS * EXPERTS; i++)
        assert_near(both.score[i], 3 * one[0].score[i] + one[1].score[i], 1e-15);
    for (int d = 0; d < 2; d++) {
        bl_prune_scores_release(&one[d]);
        bl_stats_close(stats[d]);
    }
    bl_prune_scores_release(&both);
}

static void super_experts_are_found(void **state)
{
    bl_stats_saliency s[LAYERS][EXPERTS];
    bl_prune_domain domain = { .weight = 1 };
    bl_stats *stats;
    bl_prune_scores got;

    (void)state;
    fill(s);
    s[1][5].max_abs = 800;
    domain.stats = stats = write_stats("s.safetensors", (const bl_stats_saliency(*)[EXPERTS])s);
    got = score(BL_PRUNE_REAP, &domain, 1, 0);
    assert_int_equal(bl_prune_find_super(&got, model, &domain, 1, NULL), BL_OK);
    assert_int_equal(got.n_super, 1);
    assert_true(got.super[EXPERTS + 5]);
    bl_prune_scores_release(&got);
    bl_stats_close(stats);
    s[1][5].max_abs = 1; /* all alike, and one in the last quarter of the layers: none */
    s[2][5].max_abs = 800;
    domain.stats = stats = write_stats("s.safetensors", (const bl_stats_saliency(*)[EXPERTS])s);
    got = score(BL_PRUNE_REAP, &domain, 1, 0);
    assert_int_equal(bl_prune_find_super(&got, model, &domain, 1, NULL), BL_OK);
    assert_int_equal(got.n_super, 0);
    bl_prune_scores_release(&got);
    bl_stats_close(stats);
}

/* mean |w| / rms(w) over the three matrices of an expert, from its rows. */
static void aimer_is_a_ratio_of_weights(void **state)
{
    static const char *const parts[] = { "gate_proj", "up_proj", "down_proj" };
    bl_prune_scores got = score(BL_PRUNE_AIMER, NULL, 0, 0);
    double a = 0, b = 0, n = 0;

    (void)state;
    for (int k = 0; k < 3; k++) {
        char name[128];
        const bl_tensor *t;
        float *x;

        snprintf(name, sizeof(name), "model.layers.2.mlp.experts.6.%s.weight", parts[k]);
        t = bl_ckpt_find(model, name);
        x = bl_alloc(t->n_values, sizeof(*x));
        assert_int_equal(bl_ckpt_read_rows(model, t, 0, t->n_rows, x, NULL), BL_OK);
        for (uint64_t i = 0; i < t->n_values; i++) {
            a += fabs((double)x[i]);
            b += (double)x[i] * (double)x[i];
        }
        n += (double)t->n_values;
        bl_free(x);
    }
    /* the highest ratio goes first: what stays has the larger score */
    assert_near(got.score[2 * EXPERTS + 6], -(a / n) / sqrt(b / n), 1e-12);
    assert_true(got.score[3 * EXPERTS] < 0); /* the MTP layer has weights of its own */
    bl_prune_scores_release(&got);
}

static void random_depends_on_the_seed_alone(void **state)
{
    bl_prune_scores a = score(BL_PRUNE_RANDOM, NULL, 0, 1), b = score(BL_PRUNE_RANDOM, NULL, 0, 1);
    bl_prune_scores c = score(BL_PRUNE_RANDOM, NULL, 0, 2);
    int differ = 0;

    (void)state;
    for (int i = 0; i < 4 * EXPERTS; i++) {
        assert_near(a.score[i], b.score[i], 0);
        differ += fabs(a.score[i] - c.score[i]) > 0;
    }
    assert_int_equal(differ, 4 * EXPERTS);
    bl_prune_scores_release(&a);
    bl_prune_scores_release(&b);
    bl_prune_scores_release(&c);
}

static void what_cannot_be_scored_is_refused(void **state)
{
    bl_prune_scores got = { 0 };
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(bl_prune_score(&got, model, BL_PRUNE_REAP, NULL, 0, 0, 1, &err), BL_E_USAGE);
    assert_non_null(strstr(err.text, "--stats FILE"));
}

static int enter(void **state)
{
    return bl_ckpt_open(&model, "data/nano-r1", NULL) == BL_OK ? scratch_enter(state) : -1;
}

static int leave(void **state)
{
    bl_ckpt_close(model);
    return scratch_leave(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(scores_are_what_the_formulas_say, scratch_clear),
        cmocka_unit_test_teardown(few_tokens_do_not_decide, scratch_clear),
        cmocka_unit_test_teardown(domains_are_weighted, scratch_clear),
        cmocka_unit_test_teardown(super_experts_are_found, scratch_clear),
        cmocka_unit_test(aimer_is_a_ratio_of_weights),
        cmocka_unit_test(random_depends_on_the_seed_alone),
        cmocka_unit_test(what_cannot_be_scored_is_refused),
    };

    return cmocka_run_group_tests(tests, enter, leave);
}
