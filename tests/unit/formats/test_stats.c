/*
 * test_stats.c - statistics as files: what is written is read back, by position; files that
 * contradict themselves are refused; imatrix and back; failures leave nothing.
 */
#include "base/alloc.h"
#include "base/sink.h"
#include "formats/stats/imatrix.h"
#include "formats/stats/stats_writer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../scratch.h"

enum { N_LAYERS = 2, HIDDEN = 3, HEADS = 2, EXPERTS = 2, WIDTH = 2, LORA = 2, NOPE = 2, V = 2 };

static const uint64_t tokens[EXPERTS] = { 30, 10 };

/* A dense layer, and one with experts and latent attention. */
static void fill_shapes(bl_stats_shape shape[N_LAYERS + 1][BL_SITE_COUNT])
{
    memset(shape, 0, (N_LAYERS + 1) * sizeof(*shape));
    for (int layer = 0; layer < N_LAYERS; layer++) {
        shape[layer][BL_SITE_ATTENTION_INPUT] = (bl_stats_shape){ 1, HIDDEN };
        shape[layer][BL_SITE_KEY_LATENT] = (bl_stats_shape){ 1, LORA };
        shape[layer][BL_SITE_QUERY_NOPE] = (bl_stats_shape){ 1, (uint64_t)HEADS * NOPE };
        shape[layer][BL_SITE_ATTENTION_HEADS] = (bl_stats_shape){ 1, (uint64_t)HEADS * V };
        shape[layer][BL_SITE_FFN_INPUT] = (bl_stats_shape){ 1, HIDDEN };
        shape[layer][BL_SITE_FFN_INNER] = (bl_stats_shape){ 1, WIDTH };
    }
    shape[1][BL_SITE_EXPERT_INPUT] = (bl_stats_shape){ EXPERTS, HIDDEN };
    shape[1][BL_SITE_EXPERT_INNER] = (bl_stats_shape){ EXPERTS, WIDTH };
    shape[1][BL_SITE_EXPERTS_INPUT] = (bl_stats_shape){ 1, HIDDEN };
    shape[1][BL_SITE_EXPERTS_INNER] = (bl_stats_shape){ 1, WIDTH };
    shape[N_LAYERS][BL_SITE_FINAL] = (bl_stats_shape){ 1, HIDDEN };
}

/* The mean of channel c of a site's row: exact in F32, also times its tokens. */
static float mean_of(int layer, int site, uint64_t row, uint64_t c)
{
    return (float)(1 + layer * 64 + site * 4) + (float)row * 0.5f + (float)c * 0.25f;
}

static void pack_site(bl_text *out, int layer, int site, bl_stats_shape shape)
{
    for (uint64_t row = 0; row < shape.n_rows; row++)
        for (uint64_t c = 0; c < shape.n_cols; c++) {
            float x = mean_of(layer, site, row, c);

            /* Over all pairs: three of the first expert's to one of the second's. */
            if (site == BL_SITE_EXPERTS_INPUT || site == BL_SITE_EXPERTS_INNER)
                x = 0.75f * mean_of(layer, site - 2, 0, c) + 0.25f * mean_of(layer, site - 2, 1, c);
            bl_stats_pack_f32(out, &x, 1);
        }
    for (uint64_t row = 0; row < shape.n_rows; row++) {
        const bool all = site == BL_SITE_EXPERTS_INPUT || site == BL_SITE_EXPERTS_INNER;
        const bool one = site == BL_SITE_EXPERT_INPUT || site == BL_SITE_EXPERT_INNER;
        const uint64_t n = all ? 40 : one ? tokens[row] : 20;

        bl_stats_pack_counts(out, &n, 1);
    }
}

static bl_stats_plan make_plan(bl_stats_shape shape[N_LAYERS + 1][BL_SITE_COUNT])
{
    fill_shapes(shape);
    return (bl_stats_plan){ .info = { .has_model = true,
                                      .identity = { .low = 1, .high = 2 },
                                      .fingerprint = { .low = 3, .high = 4 },
                                      .text = { .low = 5, .high = 6 },
                                      .token_ids = { .low = 7, .high = UINT64_MAX },
                                      .n_tokens = 20,
                                      .ctx = 10,
                                      .n_layers = N_LAYERS,
                                      .n_heads = HEADS,
                                      .n_parts = 12,
                                      .part = { 0x05, 0x08 } },
                            .shape = shape[0],
                            .saliency = true,
                            .angle = true };
}

static bl_status write_stats(const char *path, struct bl_err *err)
{
    static const bl_stats_saliency saliency[EXPERTS] = { { 0, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5 },
                                                         { 0, 7.5, 8.5, 9.5, 10.5, 11.5, 12.5 } };
    bl_stats_shape shape[N_LAYERS + 1][BL_SITE_COUNT];
    const bl_stats_plan plan = make_plan(shape);
    bl_stats_writer *w = NULL;
    bl_text bytes = { 0 };
    bl_status rc = bl_stats_writer_begin(&w, path, false, &plan, err);

    for (int layer = 0; layer <= N_LAYERS && rc == BL_OK; layer++) {
        const double angle = 0.25 * (layer + 1);

        bytes.n = 0;
        for (int site = 0; site < BL_SITE_COUNT; site++)
            pack_site(&bytes, layer, site, shape[layer][site]);
        if (layer == 1)
            bl_stats_pack_saliency(&bytes, saliency, EXPERTS);
        if (layer < N_LAYERS)
            bl_stats_pack_f64(&bytes, &angle, 1);
        rc = bl_text_check(&bytes, err);
        if (rc == BL_OK)
            rc = bl_stats_writer_write(w, bytes.bytes, bytes.n, err);
    }
    bl_text_release(&bytes);
    if (rc == BL_OK)
        rc = bl_stats_writer_commit(&w, err);
    bl_stats_writer_abort(&w);
    return rc;
}

static bl_stats *open_stats(const char *path)
{
    struct bl_err err = { 0 };
    bl_stats *stats = NULL;

    if (bl_stats_open(&stats, path, &err) != BL_OK)
        fail_msg("%s", err.text);
    return stats;
}

static bl_stats *make_stats(void)
{
    struct bl_err err = { 0 };

    if (write_stats("x.safetensors", &err) != BL_OK)
        fail_msg("%s", err.text);
    return open_stats("x.safetensors");
}

static void assert_means(const bl_stats *stats, int layer, int site, float scale)
{
    const bl_stats_shape shape = bl_stats_shape_of(stats, (bl_stats_site)site, (uint32_t)layer);
    float mean[16];

    for (uint64_t row = 0; row < shape.n_rows; row++) {
        assert_int_equal(
            bl_stats_read(mean, NULL, stats, (bl_stats_site)site, (uint32_t)layer, row, 1, NULL),
            BL_OK);
        for (uint64_t c = 0; c < shape.n_cols; c++)
            assert_true(mean[c] == scale * mean_of(layer, site, row, c));
    }
}

static void gives_back_every_value_that_was_written(void **state)
{
    bl_stats *stats = make_stats();
    const bl_stats_info *info = bl_stats_info_of(stats);
    bl_stats_saliency saliency[EXPERTS];
    uint64_t count[EXPERTS], n = 0;
    double angle = 0;
    float mean[HIDDEN];

    (void)state;
    assert_true(info->has_model && info->identity.high == 2 && info->fingerprint.low == 3);
    assert_true(info->text.low == 5 && info->token_ids.high == UINT64_MAX);
    assert_int_equal(info->n_tokens, 20);
    assert_int_equal(info->ctx, 10);
    assert_int_equal(info->n_parts, 12);
    assert_int_equal(bl_stats_n_parts_in(info), 3); /* 1, 3 and 12 */
    assert_int_equal(info->part[1], 8);
    for (int layer = 0; layer <= N_LAYERS; layer++)
        for (int site = 0; site < BL_SITE_EXPERTS_INPUT; site++)
            assert_means(stats, layer, site, 1);
    assert_means(stats, N_LAYERS, BL_SITE_FINAL, 1);
    assert_int_equal(bl_stats_read(NULL, count, stats, BL_SITE_EXPERT_INNER, 1, 0, 2, NULL), BL_OK);
    assert_true(count[0] == 30 && count[1] == 10);
    assert_int_equal(bl_stats_read(mean, count, stats, BL_SITE_EXPERTS_INPUT, 1, 0, 1, NULL),
                     BL_OK);
    assert_true(count[0] == 40);
    assert_false(bl_stats_has_saliency(stats, 0));
    assert_true(bl_stats_has_saliency(stats, 1));
    assert_int_equal(bl_stats_read_saliency(saliency, stats, 1, NULL), BL_OK);
    assert_true(saliency[1].n == 10 && saliency[1].gate == 7.5 && saliency[1].max_abs == 12.5);
    assert_true(saliency[0].gate_norm == 4.5 && saliency[0].gate_norm_turn == 5.5);
    assert_int_equal(bl_stats_read_angle(&angle, &n, stats, 1, NULL), BL_OK);
    assert_true(angle == 0.5 && n == 20);
    bl_stats_close(stats);
}

/* Both have the mean over a layer's pairs, of which an imatrix says nothing. */
static void survives_the_way_into_an_imatrix_and_back(void **state)
{
    bl_stats *stats = make_stats(), *imatrix, *back;
    float own[HIDDEN], other[HIDDEN];
    uint64_t n = 0;

    (void)state;
    assert_int_equal(bl_imatrix_write("x.gguf", false, stats, NULL), BL_OK);
    imatrix = open_stats("x.gguf");
    assert_false(bl_stats_info_of(imatrix)->has_model);
    assert_int_equal(bl_stats_info_of(imatrix)->n_tokens, 20);
    assert_int_equal(bl_stats_info_of(imatrix)->n_layers, N_LAYERS);
    assert_int_equal(bl_stats_copy("back.safetensors", false, imatrix, NULL), BL_OK);
    back = open_stats("back.safetensors");
    for (int layer = 0; layer <= N_LAYERS; layer++)
        for (int site = 0; site < BL_SITE_EXPERTS_INPUT; site++) {
            if (site == BL_SITE_VALUE_LATENT)
                continue;
            assert_means(imatrix, layer, site, 1);
            assert_means(back, layer, site, 1);
        }
    assert_int_equal(bl_stats_read(own, NULL, stats, BL_SITE_EXPERTS_INPUT, 1, 0, 1, NULL), BL_OK);
    assert_int_equal(bl_stats_read(other, &n, back, BL_SITE_EXPERTS_INPUT, 1, 0, 1, NULL), BL_OK);
    assert_memory_equal(own, other, sizeof(own));
    assert_int_equal(n, 40);
    assert_false(bl_stats_has_saliency(back, 1));
    bl_stats_close(stats);
    bl_stats_close(imatrix);
    bl_stats_close(back);
}

static void takes_a_table_of_sensitivities_into_a_copy(void **state)
{
    static const char *const role[2] = { "attention", "routed expert" };
    static const double value[4] = { 0.5, -1, 2, 0 };
    bl_stats *stats = make_stats(), *copy, *again;
    uint64_t n_rows, n_roles;
    double got[4];

    (void)state;
    assert_false(bl_stats_sensitivity_shape(&n_rows, &n_roles, stats));
    assert_int_equal(bl_stats_add_sensitivity("y", false, stats, role, 2, value, 2, NULL), BL_OK);
    copy = open_stats("y");
    assert_int_equal(bl_stats_copy("z", false, copy, NULL), BL_OK);
    again = open_stats("z");
    assert_true(bl_stats_sensitivity_shape(&n_rows, &n_roles, again));
    assert_true(n_rows == 2 && n_roles == 2);
    assert_string_equal(bl_stats_sensitivity_role(again, 1), "routed expert");
    assert_int_equal(bl_stats_read_sensitivity(got, again, NULL), BL_OK);
    assert_memory_equal(got, value, sizeof(value));
    assert_means(again, 1, BL_SITE_EXPERT_INNER, 1);
    assert_int_equal(
        bl_stats_add_sensitivity("u", false, stats, &role[1], 1, &(double){ (double)NAN }, 1, NULL),
        BL_E_USAGE);
    bl_stats_close(stats);
    bl_stats_close(copy);
    bl_stats_close(again);
}

/* Every step that allocates or writes fails once; nothing is left on the disk or in memory. */
static void failures_leave_nothing(void **state)
{
    bl_stats *stats = make_stats();
    const int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    (void)state;
    for (int what = 0; what < 2; what++, rc = BL_E_NOMEM)
        for (uint64_t k = 1; rc != BL_OK; k++) {
            struct bl_err err = { 0 };

            (what == 0 ? bl_alloc_fail_at : bl_sink_fail_at)(k);
            rc = bl_stats_copy("y", false, stats, &err);
            if (rc == BL_OK)
                rc = bl_imatrix_write("z", false, stats, &err);
            bl_alloc_fail_at(0);
            bl_sink_fail_at(0);
            assert_int_equal(bl_alloc_live(), live);
            assert_true(rc == BL_OK || err.text[0]);
            assert_false(scratch_exists("y.partial") || scratch_exists("z.partial"));
            scratch_remove("y");
            if (rc == BL_OK)
                scratch_remove("z");
            assert_false(scratch_exists("z"));
        }
    bl_stats_close(stats);
}

static void opening_frees_all_when_memory_ends(void **state)
{
    bl_stats *stats = make_stats();
    int64_t live;

    (void)state;
    assert_int_equal(bl_imatrix_write("x.gguf", false, stats, NULL), BL_OK);
    bl_stats_close(stats);
    live = bl_alloc_live();
    for (int i = 0; i < 2; i++) {
        bl_status rc = BL_E_NOMEM;

        for (uint64_t k = 1; rc != BL_OK; k++) {
            bl_alloc_fail_at(k);
            rc = bl_stats_open(&stats, i ? "x.gguf" : "x.safetensors", NULL);
            bl_alloc_fail_at(0);
            if (rc == BL_OK)
                bl_stats_close(stats);
            assert_int_equal(bl_alloc_live(), live);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(gives_back_every_value_that_was_written, scratch_clear),
        cmocka_unit_test_teardown(survives_the_way_into_an_imatrix_and_back, scratch_clear),
        cmocka_unit_test_teardown(takes_a_table_of_sensitivities_into_a_copy, scratch_clear),
        cmocka_unit_test_teardown(failures_leave_nothing, scratch_clear),
        cmocka_unit_test_teardown(opening_frees_all_when_memory_ends, scratch_clear),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
