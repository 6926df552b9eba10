/*
 * test_sensitivity.c - measured sensitivities against the long way round: a file in which just that
 * tensor is quantized, scored beside the original; and what must not change them.
 */
#include "base/alloc.h"
#include "base/sink.h"
#include "convert/cast.h"
#include "convert/plan.h"
#include "convert/write.h"
#include "quantize/quant.h"
#include "quantize/sensitivity.h"
#include "quantize/sensitivity_store.h"
#include "verify/logit_stats.h"
#include "verify/score.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../scratch.h"

#include <limits.h>

enum { N_SEQS = 2, N_POSITIONS = 8, N_TOKENS = N_SEQS * N_POSITIONS };

static char nano[PATH_MAX], toy[PATH_MAX];
static int32_t tokens[N_TOKENS];

static int enter(void **state)
{
    if (!realpath("data/nano-r1", nano) || !realpath("data/toy-mla", toy))
        return -1;
    for (int i = 0; i < N_TOKENS; i++)
        tokens[i] = 2 + (i * 37 + i * i) % 47;
    return scratch_enter(state);
}

static bl_sensitivity_options q4_0(void)
{
    return (bl_sensitivity_options){ .reference = bl_encoder_of(BL_Q4_0, BL_METHOD_PLAIN),
                                     .n_threads = 1 };
}

static bl_sensitivity measure(const char *path, const bl_sensitivity_options *options)
{
    bl_sensitivity s = { 0 };
    bl_ckpt *ckpt = NULL;
    struct bl_err err = { 0 };
    bl_status rc = bl_ckpt_open(&ckpt, path, &err);

    if (rc == BL_OK)
        rc = bl_sensitivity_measure(&s, ckpt, tokens, N_SEQS, N_POSITIONS, options, &err);
    if (rc != BL_OK)
        fail_msg("%s", err.text);
    bl_ckpt_close(ckpt);
    return s;
}

static const bl_arch_row *row_of(const bl_sensitivity *s, const char *end)
{
    for (size_t i = 0; i < s->arch->n_rows; i++) {
        const char *name = s->arch->row[i].name;
        size_t n = strlen(name), n_end = strlen(end);

        if (n >= n_end && strcmp(name + n - n_end, end) == 0)
            return &s->arch->row[i];
    }
    fail_msg("no row %s", end);
    return NULL;
}

static const bl_encoder *choose_one(const void *context, const bl_choice *choice)
{
    bool is_it = strcmp(choice->name, context) == 0;

    return is_it ? bl_encoder_of(BL_Q4_0, BL_METHOD_PLAIN) : bl_cast_encoder(BL_F32);
}

/* KL of the model in which the GGUF tensor of this name alone is Q4_0. */
static double kl_of_file(const char *name)
{
    const bl_write_options options = { .force = true, .n_threads = 1, .label = "test" };
    const bl_score_options how = { .n_threads = 1 };
    size_t row[N_TOKENS];
    bl_score score = { .token = tokens, .n_seqs = N_SEQS, .n_positions = N_POSITIONS };
    bl_logit_stats stats = { 0 };
    bl_ckpt *base = NULL, *test = NULL;
    bl_plan plan = { 0 };
    double sum = 0;

    assert_int_equal(bl_ckpt_open(&base, nano, NULL), BL_OK);
    assert_int_equal(bl_plan_gguf(&plan, base, choose_one, name, NULL), BL_OK);
    assert_int_equal(bl_write_gguf("one.gguf", base, &plan, BL_GGUF_FILE_F32, &options, NULL),
                     BL_OK);
    bl_plan_release(&plan);
    assert_int_equal(bl_ckpt_open(&test, "one.gguf", NULL), BL_OK);
    bl_score_set_models(&score, base, test, NULL);
    for (size_t i = 0; i < N_TOKENS; i++)
        row[i] = i;
    score.row = row;
    score.n_rows = N_TOKENS;
    score.fn = bl_logit_stats_add;
    score.context = &stats;
    assert_int_equal(bl_logit_stats_init(&stats, 2, tokens, N_TOKENS, NULL), BL_OK);
    assert_int_equal(bl_score_run(&score, &how, NULL), BL_OK);
    for (size_t i = 0; i < N_TOKENS; i++)
        sum += bl_logit_stats_kl(&stats, i);
    bl_logit_stats_release(&stats);
    bl_ckpt_close(test);
    bl_ckpt_close(base);
    return sum / N_TOKENS;
}

static void a_variant_loses_what_a_file_with_that_tensor_quantized_loses(void **state)
{
    static const struct {
        const char *gguf, *row;
        uint32_t layer;
    } cases[] = {
        { "token_embd.weight", "embed_tokens.weight", 0 },
        { "output.weight", "lm_head.weight", 0 },
        { "blk.0.ffn_up.weight", "}.mlp.up_proj.weight", 0 },
        { "blk.1.ffn_down_exps.weight", "experts.{E}.down_proj.weight", 1 },
        { "blk.2.ffn_gate_exps.weight", "experts.{E}.gate_proj.weight", 2 },
        { "blk.2.ffn_up_shexp.weight", "shared_experts.up_proj.weight", 2 },
    };
    const bl_sensitivity_options options = q4_0();
    bl_sensitivity s = measure(nano, &options);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        double have = bl_sensitivity_kl(&s, row_of(&s, cases[i].row), cases[i].layer);
        double want = kl_of_file(cases[i].gguf);

        assert_true(want > 1e-6);
        if (fabs(have - want) > 1e-3 * want + 2e-8)
            fail_msg("%s: %g, the file %g", cases[i].gguf, have, want);
    }
    assert_true(bl_sensitivity_kl(&s, row_of(&s, "mlp.gate.weight"), 1) < 0);
    assert_true(bl_sensitivity_kl(&s, row_of(&s, "experts.{E}.up_proj.weight"), 0) < 0);
    bl_sensitivity_release(&s);
}

static void memory_changes_no_sensitivity(void **state)
{
    bl_sensitivity_options options = q4_0();
    bl_sensitivity all = measure(toy, &options), blocks;
    const size_t n = ((size_t)all.n_layers + 1) * all.arch->n_rows;

    (void)state;
    options.memory = 1;
    options.scratch = ".";
    {
        bl_sensitivity s = { 0 };
        bl_ckpt *ckpt = NULL;

        assert_int_equal(bl_ckpt_open(&ckpt, toy, NULL), BL_OK);
        assert_int_equal(
            bl_sensitivity_measure(&s, ckpt, tokens, N_SEQS, N_POSITIONS, &options, NULL),
            BL_E_USAGE);
        bl_ckpt_close(ckpt);
    }
    for (options.memory = 1 << 16; options.memory < (1u << 26); options.memory *= 2) {
        bl_ckpt *ckpt = NULL;
        bl_status rc;

        assert_int_equal(bl_ckpt_open(&ckpt, toy, NULL), BL_OK);
        rc = bl_sensitivity_measure(&blocks, ckpt, tokens, N_SEQS, N_POSITIONS, &options, NULL);
        bl_ckpt_close(ckpt);
        if (rc == BL_E_USAGE)
            continue;
        assert_int_equal(rc, BL_OK);
        for (size_t i = 0; i < n; i++)
            assert_true(fabs(all.kl[i] - blocks.kl[i]) <= 1e-3 * fabs(all.kl[i]) + 1e-7);
        bl_sensitivity_release(&blocks);
    }
    bl_sensitivity_release(&all);
}

/* KL of a group is about the sum of its members', and its shares sum up to it. */
static void groups_lose_about_what_their_members_lose(void **state)
{
    bl_sensitivity_options options = q4_0();
    bl_sensitivity each = measure(nano, &options), grouped;
    double sum_each = 0, sum_grouped = 0;

    (void)state;
    options.grouped = true;
    grouped = measure(nano, &options);
    for (uint32_t layer = 0; layer < each.n_layers; layer++)
        for (size_t i = 0; i < each.arch->n_rows; i++) {
            const bl_arch_row *row = &each.arch->row[i];

            assert_true((each.kl[layer * each.arch->n_rows + i] < 0) ==
                        (grouped.kl[layer * each.arch->n_rows + i] < 0));
            if (row->where == BL_ONCE || bl_sensitivity_kl(&each, row, layer) < 0)
                continue;
            sum_each += bl_sensitivity_kl(&each, row, layer);
            sum_grouped += bl_sensitivity_kl(&grouped, row, layer);
        }
    assert_true(sum_grouped > 0.7 * sum_each && sum_grouped < 1.4 * sum_each);
    bl_sensitivity_release(&grouped);
    options.layers_together = 2;
    grouped = measure(nano, &options);
    sum_grouped = 0;
    for (size_t i = 0; i < grouped.n_layers * grouped.arch->n_rows; i++)
        sum_grouped += fmax(grouped.kl[i], 0);
    assert_true(sum_grouped > 0.7 * sum_each && sum_grouped < 1.4 * sum_each);
    bl_sensitivity_release(&grouped);
    bl_sensitivity_release(&each);
}

static void a_plan_says_what_a_measurement_takes(void **state)
{
    bl_sensitivity_options options = q4_0();
    bl_config r1 = { .arch = bl_arch_by_model_type("deepseek_v3"),
                     .n_layers = 61,
                     .first_k_dense = 3,
                     .moe_layer_freq = 1,
                     .n_experts = 256,
                     .n_shared_experts = 1,
                     .q_lora_rank = 1536 };
    bl_sensitivity_plan plan;

    (void)state;
    options.grouped = true;
    options.layers_together = 4;
    assert_int_equal(bl_sensitivity_plan_make(&plan, &r1, &options, NULL), BL_OK);
    /* 16 groups of layers: attention, gate and up, down; and all of them experts' two */
    assert_int_equal(plan.n_variants, 2 + 16 * 5);
    assert_int_equal(
        plan.layer_passes,
        61 + 61 + 5 * (61 + 57 + 53 + 49 + 45 + 41 + 37 + 33 + 29 + 25 + 21 + 17 + 13 + 9 + 5 + 1));
    assert_int_equal(plan.head_passes, 82 + 28);
    assert_true(bl_sensitivity_prior(&r1, &r1.arch->row[0], 0) == 6);
}

/* Statistics of a model of three layers that know next to nothing. */
static bl_stats *make_stats(void)
{
    const uint64_t count = 5;
    const float mean[2] = { 1, 2 };
    bl_stats_shape shape[4][BL_SITE_COUNT] = { 0 };
    const bl_stats_plan plan = { .info = { .has_model = true,
                                           .n_tokens = 5,
                                           .ctx = 5,
                                           .n_layers = 3,
                                           .n_parts = 1,
                                           .part = { 1 } },
                                 .shape = shape[0] };
    bl_stats_writer *w = NULL;
    bl_stats *stats = NULL;
    bl_text bytes = { 0 };

    for (int layer = 0; layer < 3; layer++) {
        shape[layer][BL_SITE_FFN_INPUT] = (bl_stats_shape){ 1, 2 };
        bl_stats_pack_f32(&bytes, mean, 2);
        bl_stats_pack_counts(&bytes, &count, 1);
    }
    assert_int_equal(bl_stats_writer_begin(&w, "bare", true, &plan, NULL), BL_OK);
    assert_int_equal(bl_stats_writer_write(w, bytes.bytes, bytes.n, NULL), BL_OK);
    assert_int_equal(bl_stats_writer_commit(&w, NULL), BL_OK);
    bl_text_release(&bytes);
    assert_int_equal(bl_stats_open(&stats, "bare", NULL), BL_OK);
    return stats;
}

static void sensitivities_come_back_from_statistics(void **state)
{
    static const char *const bad[] = { "down_proj.weight", "q4_9 mlp.down_proj.weight",
                                       "f8_e4m3 mlp.down_proj.weight" };
    bl_config config = { .arch = bl_arch_by_model_type("deepseek_v3"), .n_layers = 3 };
    bl_sensitivity s = { .arch = config.arch, .n_layers = 3, .reference = BL_Q4_0 }, back = { 0 };
    const size_t n = 4 * config.arch->n_rows;
    bl_stats *stats = make_stats(), *with = NULL;
    bool known = true;

    (void)state;
    assert_int_equal(bl_sensitivity_load(&back, &known, stats, &config, NULL), BL_OK);
    assert_false(known);
    s.kl = bl_alloc(n, sizeof(*s.kl));
    assert_non_null(s.kl);
    for (size_t i = 0; i < n; i++)
        s.kl[i] = i % 3 ? 1.0 / (double)(i + 1) : -1;
    assert_int_equal(bl_sensitivity_save("with", true, stats, &s, NULL), BL_OK);
    assert_int_equal(bl_stats_open(&with, "with", NULL), BL_OK);
    assert_int_equal(bl_sensitivity_load(&back, &known, with, &config, NULL), BL_OK);
    assert_true(known && back.reference == BL_Q4_0 && back.n_layers == 3);
    for (size_t i = 0; i < n; i++)
        assert_true(
            back.kl[i] ==
            (bl_sensitivity_is_role(&config.arch->row[i % config.arch->n_rows]) ? s.kl[i] : -1));
    bl_sensitivity_release(&back);
    config.n_layers = 4;
    assert_int_equal(bl_sensitivity_load(&back, &known, with, &config, NULL), BL_E_FORMAT);
    config.n_layers = 3;
    bl_stats_close(with);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(
            bl_stats_add_sensitivity("bad", true, stats, &bad[i], 1, (double[4]){ 1 }, 4, NULL),
            BL_OK);
        assert_int_equal(bl_stats_open(&with, "bad", NULL), BL_OK);
        assert_int_equal(bl_sensitivity_load(&back, &known, with, &config, NULL), BL_E_FORMAT);
        assert_false(known);
        bl_stats_close(with);
    }
    bl_stats_close(stats);
    bl_sensitivity_release(&s);
}

static void failing_allocations_leave_nothing_behind(void **state)
{
    const bl_sensitivity_options options = { .reference = bl_encoder_of(BL_Q4_0, BL_METHOD_PLAIN),
                                             .grouped = true,
                                             .layers_together = 8,
                                             .n_threads = 1 };
    bl_ckpt *ckpt = NULL;
    bl_status rc = BL_E_NOMEM;
    int64_t live;

    (void)state;
    assert_int_equal(bl_ckpt_open(&ckpt, toy, NULL), BL_OK);
    live = bl_alloc_live();
    for (uint64_t k = 1; rc != BL_OK; k += 1 + k / 8) {
        bl_sensitivity s = { 0 };

        bl_alloc_fail_at(k);
        rc = bl_sensitivity_measure(&s, ckpt, tokens, 1, 8, &options, NULL);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        bl_sensitivity_release(&s);
        assert_int_equal(bl_alloc_live(), live);
    }
    bl_ckpt_close(ckpt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_variant_loses_what_a_file_with_that_tensor_quantized_loses),
        cmocka_unit_test(memory_changes_no_sensitivity),
        cmocka_unit_test(groups_lose_about_what_their_members_lose),
        cmocka_unit_test(a_plan_says_what_a_measurement_takes),
        cmocka_unit_test(sensitivities_come_back_from_statistics),
        cmocka_unit_test(failing_allocations_leave_nothing_behind),
    };

    return cmocka_run_group_tests(tests, enter, scratch_leave);
}
