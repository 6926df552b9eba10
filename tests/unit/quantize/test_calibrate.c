/*
 * test_calibrate.c - what calibration writes is what transformers' own modules met, whatever the
 * threads, the memory and the interruptions; and parts are as good as the whole.
 */
#include "base/clones.h"
#include "base/memory.h"
#include "base/sink.h"
#include "base/source.h"
#include "formats/stats/stats.h"
#include "quantize/calibrate.h"
#include "quantize/calibrate_merge.h"
#include "quantize/calibrate_moments.h"
#include "quantize/coverage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../model/golden_run.h"
#include "../scratch.h"

/* A path in the scratch folder; four at a time. */
static const char *at(const char *name)
{
    static char path[4][128];
    static int next;

    next = (next + 1) % 4;
    snprintf(path[next], sizeof(path[next]), "%s/%s", scratch_folder, name);
    return path[next];
}

static int make_scratch(void **state)
{
    (void)state;
    snprintf(scratch_folder, sizeof(scratch_folder), "/tmp/baleen-test-XXXXXX");
    return mkdtemp(scratch_folder) ? 0 : -1;
}

static int remove_scratch(void **state)
{
    (void)state;
    scratch_remove(scratch_folder);
    return 0;
}

/* Between tests: a new folder. */
static int renew_scratch(void **state)
{
    (void)remove_scratch(state);
    return make_scratch(state);
}

static void open_golden(struct golden *g, const char *name)
{
    struct bl_err err = { 0 };
    char model[64], values[64];

    snprintf(model, sizeof(model), "data/%s", name);
    snprintf(values, sizeof(values), "data/golden/%s.safetensors", name);
    if (golden_open(g, model, values, &err) != BL_OK)
        fail_msg("%s", err.text);
}

static bl_calibrate_options usual(uint32_t ctx)
{
    return (bl_calibrate_options){ .ctx = ctx, .bos = -1, .run = { .n_threads = 1 } };
}

static bl_status calibrate(const char *path, const struct golden *g,
                           const bl_calibrate_options *options, struct bl_err *err)
{
    return bl_calibrate_run(path, g->ckpt, g->tokens, g->n_tokens, options, err);
}

static void must_calibrate(const char *path, const struct golden *g,
                           const bl_calibrate_options *options)
{
    struct bl_err err = { 0 };

    if (calibrate(path, g, options, &err) != BL_OK)
        fail_msg("%s", err.text);
}

static bl_stats *open_stats(const char *path)
{
    struct bl_err err = { 0 };
    bl_stats *stats = NULL;

    if (bl_stats_open(&stats, path, &err) != BL_OK)
        fail_msg("%s", err.text);
    return stats;
}

static bool same_files(const char *a, const char *b)
{
    char *bytes = NULL;
    size_t n = 0;
    bool same;

    assert_int_equal(bl_source_read_file(&bytes, &n, a, 1 << 26, NULL), BL_OK);
    same = scratch_holds(b, bytes, n);
    bl_free(bytes);
    return same;
}

/* |a - b| <= tolerance * the largest |b| of a row. */
static void assert_rows_near(const float *a, const float *b, uint64_t n_rows, uint64_t n_cols,
                             double tolerance)
{
    for (uint64_t r = 0; r < n_rows; r++) {
        double most = 0;

        for (uint64_t c = 0; c < n_cols; c++)
            most = fmax(most, fabs((double)b[r * n_cols + c]));
        for (uint64_t c = 0; c < n_cols; c++)
            assert_true(fabs((double)a[r * n_cols + c] - (double)b[r * n_cols + c]) <=
                        tolerance * most);
    }
}

static void assert_site_near(const bl_stats *a, const bl_stats *b, bl_stats_site site,
                             uint32_t layer, double tolerance)
{
    const bl_stats_shape x = bl_stats_shape_of(a, site, layer);
    const bl_stats_shape y = bl_stats_shape_of(b, site, layer);
    const size_t n = (size_t)(x.n_rows * x.n_cols);
    float *mean = bl_alloc(2 * n, sizeof(*mean));
    uint64_t *count = bl_alloc(2 * (size_t)x.n_rows, sizeof(*count));

    assert_true(x.n_rows == y.n_rows && x.n_cols == y.n_cols);
    if (x.n_rows > 0) {
        assert_int_equal(bl_stats_read(mean, count, a, site, layer, 0, x.n_rows, NULL), BL_OK);
        assert_int_equal(
            bl_stats_read(mean + n, count + x.n_rows, b, site, layer, 0, x.n_rows, NULL), BL_OK);
        assert_memory_equal(count, count + x.n_rows, (size_t)x.n_rows * sizeof(*count));
        assert_rows_near(mean, mean + n, x.n_rows, x.n_cols, tolerance);
    }
    bl_free(mean);
    bl_free(count);
}

static void assert_saliency_near(const bl_stats *a, const bl_stats *b, uint32_t layer,
                                 double tolerance)
{
    const size_t n = (size_t)bl_stats_shape_of(a, BL_SITE_EXPERT_INPUT, layer).n_rows;
    bl_stats_saliency x[64], y[64];

    assert_int_equal(bl_stats_has_saliency(a, layer), bl_stats_has_saliency(b, layer));
    assert_int_equal(bl_stats_has_saliency(a, layer), n > 0);
    assert_true(n <= 64);
    if (n == 0)
        return;
    assert_int_equal(bl_stats_read_saliency(x, a, layer, NULL), BL_OK);
    assert_int_equal(bl_stats_read_saliency(y, b, layer, NULL), BL_OK);
    for (size_t e = 0; e < n; e++) {
        const double p[6] = { x[e].gate,      x[e].norm,           x[e].norm2,
                              x[e].gate_norm, x[e].gate_norm_turn, x[e].max_abs };
        const double q[6] = { y[e].gate,      y[e].norm,           y[e].norm2,
                              y[e].gate_norm, y[e].gate_norm_turn, y[e].max_abs };

        assert_true(x[e].n == y[e].n);
        for (int i = 0; i < 6; i++)
            assert_true(fabs(p[i] - q[i]) <= tolerance * fabs(q[i]));
        assert_true(y[e].n == 0 || y[e].gate_norm_turn > 0);
    }
}

static void assert_near(const bl_stats *a, const bl_stats *b, double tolerance)
{
    const uint32_t n_layers = bl_stats_info_of(b)->n_layers;

    assert_int_equal(bl_stats_info_of(a)->n_layers, n_layers);
    assert_true(bl_stats_info_of(a)->n_tokens == bl_stats_info_of(b)->n_tokens);
    for (uint32_t layer = 0; layer <= n_layers; layer++) {
        double x, y;
        uint64_t n_x, n_y;

        for (int site = 0; site < BL_SITE_COUNT; site++)
            assert_site_near(a, b, (bl_stats_site)site, layer, tolerance);
        if (layer == n_layers)
            continue;
        assert_saliency_near(a, b, layer, tolerance);
        assert_int_equal(bl_stats_read_angle(&x, &n_x, a, layer, NULL), BL_OK);
        assert_int_equal(bl_stats_read_angle(&y, &n_y, b, layer, NULL), BL_OK);
        assert_true(n_x == n_y && n_y > 0 && y > 0 && fabs(x - y) <= tolerance * y);
    }
}

/* The golden files: tests/oracle/make_stats.py. */
static void gathers_what_the_modules_of_transformers_met(void **state)
{
    static const char *const name[] = { "nano-r1", "toy-mla", "toy-qwen2" };

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct golden g = { 0 };
        bl_calibrate_options o;
        bl_stats *ours, *theirs;
        char path[64];

        open_golden(&g, name[i]);
        o = usual((uint32_t)g.n_tokens);
        must_calibrate(at(name[i]), &g, &o);
        snprintf(path, sizeof(path), "data/golden/%s.stats.safetensors", name[i]);
        ours = open_stats(at(name[i]));
        theirs = open_stats(path);
        assert_near(ours, theirs, 5e-5);
        bl_stats_close(ours);
        bl_stats_close(theirs);
        golden_close(&g);
    }
}

/* The golden tokens again and again, so that hidden states are what takes the memory. */
static void repeat_tokens(struct golden *g, size_t n)
{
    int32_t *tokens = bl_alloc(n, sizeof(*tokens));

    for (size_t i = 0; i < n; i++)
        tokens[i] = g->tokens[i % g->n_tokens];
    bl_free(g->tokens);
    g->tokens = tokens;
    g->n_tokens = n;
}

/* All at once, in blocks of whole tiles, and with hidden states and their copies in a file. */
static void neither_threads_nor_memory_change_a_bit(void **state)
{
    struct golden g = { 0 };
    bl_calibrate_options o = usual(32);
    bl_score_plan plan = { 0 };
    struct bl_err err = { 0 };
    bool blocks = false, spilled = false;

    (void)state;
    open_golden(&g, "nano-r1");
    repeat_tokens(&g, 3072);
    must_calibrate(at("one"), &g, &o);
    o.run.n_threads = 3;
    must_calibrate(at("three"), &g, &o);
    assert_true(same_files(at("one"), at("three")));
    o.run.n_threads = 1;
    o.run.scratch = scratch_folder;
    assert_int_equal(bl_calibrate_plan(&plan, g.ckpt, g.n_tokens, &o, &err), BL_OK);
    for (o.run.memory = plan.memory; !spilled; o.run.memory -= 1 << 19) {
        if (bl_calibrate_plan(&plan, g.ckpt, g.n_tokens, &o, &err) != BL_OK)
            break;
        spilled = plan.room.scratch != NULL;
        if (!spilled && (blocks || plan.room.block_seqs == 0 || plan.room.block_seqs % 8 != 0))
            continue;
        blocks = blocks || !spilled;
        scratch_remove(at("less"));
        must_calibrate(at("less"), &g, &o);
        assert_true(same_files(at("one"), at("less")));
    }
#ifndef BL_HAS_SANITIZER /* which takes memory of its own */
    assert_true(blocks && spilled);
#endif
    golden_close(&g);
}

/* A run that fails at any write goes on to the same bytes, also when its output was left behind. */
static void goes_on_after_any_interruption_to_the_same_bytes(void **state)
{
    struct golden g = { 0 };
    bl_calibrate_options o = usual(16);
    bl_status rc = BL_E_IO;

    (void)state;
    open_golden(&g, "toy-mla");
    must_calibrate(at("whole"), &g, &o);
    assert_int_equal(mkdir(at("kept"), 0700), 0);
    for (uint64_t k = 1; rc != BL_OK; k += getenv("BALEEN_EVERY_ALLOCATION") ? 1 : 1 + k / 8) {
        const int64_t live = bl_alloc_live();

        o.run.scratch = at("kept");
        o.run.resume = false;
        bl_sink_fail_at(k);
        rc = calibrate(at("cut"), &g, &o, NULL);
        bl_sink_fail_at(0);
        assert_int_equal(bl_alloc_live(), live);
        if (rc != BL_OK) {
            if (scratch_exists(at("cut"))) { /* all was done but the tidying up */
                scratch_remove(at("cut"));
                scratch_remove(at("kept"));
                assert_int_equal(mkdir(at("kept"), 0700), 0);
                continue;
            }
            scratch_puts(at("cut.partial"), "left by a kill");
            o.run.resume = true;
            o.run.scratch = at("kept");
            must_calibrate(at("cut"), &g, &o);
        }
        assert_true(same_files(at("whole"), at("cut")));
        assert_int_equal(scratch_n_entries(at("kept")), 0);
        scratch_remove(at("cut"));
    }
    golden_close(&g);
}

/* The kept file of layer 0: another byte in its middle, or gone. */
static void spoil_first_layer(bool damage)
{
    DIR *d = opendir(scratch_folder);
    const struct dirent *e;
    char path[512] = "";
    FILE *f;

    assert_non_null(d);
    while ((e = readdir(d)))
        if (strstr(e->d_name, ".layer-0"))
            snprintf(path, sizeof(path), "%s/%s", scratch_folder, e->d_name);
    closedir(d);
    if (!damage) {
        assert_int_equal(remove(path), 0);
        return;
    }
    f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 60, SEEK_SET), 0);
    assert_int_equal(fputc('x', f), 'x');
    assert_int_equal(fclose(f), 0);
}

static void a_layer_that_was_not_kept_or_is_damaged_is_an_error(void **state)
{
    struct golden g = { 0 };
    bl_calibrate_options o = usual(16);
    struct bl_err err = { 0 };
    uint64_t calls = bl_sink_call_count();

    (void)state;
    open_golden(&g, "toy-mla");
    o.run.scratch = scratch_folder;
    must_calibrate(at("out"), &g, &o);
    calls = bl_sink_call_count() - calls;
    scratch_remove(at("out"));
    for (int damage = 0; damage < 2; damage++) {
        /* Cut off near the end: both layers are kept. */
        bl_sink_fail_at(calls - 14);
        assert_int_equal(calibrate(at("out"), &g, &o, &err), BL_E_IO);
        bl_sink_fail_at(0);
        spoil_first_layer(damage);
        o.run.resume = true;
        assert_int_equal(calibrate(at("out"), &g, &o, &err), damage ? BL_E_FORMAT : BL_E_IO);
        assert_non_null(strstr(err.text, ".layer-0"));
        o.run.resume = false;
        assert_int_equal(calibrate(at("out"), &g, &o, &err), BL_E_USAGE); /* a state is there */
        o.force = true;
        must_calibrate(at("out"), &g, &o);
        o.force = false;
        scratch_remove(at("out"));
    }
    golden_close(&g);
}

static void memory_that_ends_is_said(void **state)
{
    struct golden g = { 0 };
    const bl_calibrate_options o = usual(16);
    bl_status rc = BL_E_NOMEM;
    uint64_t step = 1;

    (void)state;
    open_golden(&g, "toy-mla");
    for (uint64_t k = 1; rc != BL_OK; k += step) {
        const int64_t live = bl_alloc_live();

        step = getenv("BALEEN_EVERY_ALLOCATION") ? 1 : 1 + k / 20;
        bl_alloc_fail_at(k);
        rc = calibrate(at("out"), &g, &o, NULL);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        assert_int_equal(bl_alloc_live(), live);
        assert_true((rc == BL_OK) == scratch_exists(at("out")));
        assert_false(scratch_exists(at("out.partial")));
    }
    golden_close(&g);
}

static void make_parts(const struct golden *g, uint32_t ctx, uint32_t n)
{
    char name[16];

    for (uint32_t i = 0; i < n; i++) {
        bl_calibrate_options o = usual(ctx);

        o.part = i;
        o.n_parts = n;
        snprintf(name, sizeof(name), "part%u", i + 1);
        must_calibrate(at(name), g, &o);
    }
}

static bl_status merge(const char *out, const char *a, const char *b, const char *c,
                       struct bl_err *err)
{
    bl_stats *stats[3] = { open_stats(at(a)), open_stats(at(b)), c ? open_stats(at(c)) : NULL };
    bl_status rc =
        bl_calibrate_merge(at(out), true, (const bl_stats *const *)stats, c ? 3 : 2, err);

    for (int i = 0; i < 3; i++)
        bl_stats_close(stats[i]);
    return rc;
}

static void parts_add_up_to_the_whole(void **state)
{
    struct golden g = { 0 };
    const bl_calibrate_options o = usual(8);
    bl_stats *whole, *merged;

    (void)state;
    open_golden(&g, "toy-mla"); /* 70 tokens: 8 sequences */
    must_calibrate(at("whole"), &g, &o);
    make_parts(&g, 8, 3);
    assert_int_equal(merge("all", "part1", "part2", "part3", NULL), BL_OK);
    assert_int_equal(merge("again", "part3", "part1", "part2", NULL), BL_OK);
    assert_true(same_files(at("all"), at("again")));
    assert_int_equal(merge("two", "part3", "part1", NULL, NULL), BL_OK);
    assert_int_equal(merge("late", "part2", "two", NULL, NULL), BL_OK);
    whole = open_stats(at("whole"));
    for (int i = 0; i < 2; i++) {
        merged = open_stats(at(i ? "late" : "all"));
        assert_int_equal(bl_stats_n_parts_in(bl_stats_info_of(merged)), 3);
        assert_near(merged, whole, 1e-5); /* other tiles of BLAS */
        bl_stats_close(merged);
    }
    bl_stats_close(whole);
    golden_close(&g);
}

static void refuses_to_merge_what_does_not_belong_together(void **state)
{
    struct golden g = { 0 }, other = { 0 };
    bl_calibrate_options o = usual(8);
    struct bl_err err = { 0 };

    (void)state;
    open_golden(&g, "toy-mla");
    open_golden(&other, "toy-qwen2");
    make_parts(&g, 8, 3);
    o.n_parts = 3;
    o.part = 1;
    must_calibrate(at("model"), &other, &o);
    o.text.low = 1;
    must_calibrate(at("text"), &g, &o);
    o.text.low = 0;
    o.max_tokens = 40;
    must_calibrate(at("tokens"), &g, &o);
    o = usual(16);
    o.n_parts = 3;
    must_calibrate(at("ctx"), &g, &o);
    o = usual(8);
    o.n_parts = 4;
    o.part = 3;
    must_calibrate(at("division"), &g, &o);
    assert_int_equal(merge("out", "part1", "model", NULL, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "two models"));
    assert_int_equal(merge("out", "part1", "text", NULL, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "two texts"));
    assert_int_equal(merge("out", "part1", "tokens", NULL, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "two lengths of the text"));
    assert_int_equal(merge("out", "part2", "ctx", NULL, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "contexts"));
    assert_int_equal(merge("out", "part1", "division", NULL, &err), BL_E_MISMATCH);
    assert_int_equal(merge("out", "part1", "part2", "part1", &err), BL_E_USAGE);
    assert_non_null(strstr(err.text, "part 1 of 3 is there twice"));
    assert_false(scratch_exists(at("out")));
    golden_close(&g);
    golden_close(&other);
}

static void says_which_experts_are_starved(void **state)
{
    struct golden g = { 0 };
    bl_calibrate_options o = usual(8);
    bl_coverage c = { 0 };
    bl_stats *stats;
    uint64_t n[5];

    (void)state;
    open_golden(&g, "toy-mla");
    o.max_tokens = 8; /* one sequence, two of five experts a token: some are left out */
    g.tokens[1] = g.tokens[2] = g.tokens[3] = g.tokens[4] = g.tokens[5] = g.tokens[6] =
        g.tokens[7] = g.tokens[0];
    must_calibrate(at("out"), &g, &o);
    stats = open_stats(at("out"));
    assert_int_equal(bl_coverage_of(&c, stats, NULL), BL_OK);
    assert_int_equal(bl_stats_read(NULL, n, stats, BL_SITE_EXPERT_INPUT, 1, 0, 5, NULL), BL_OK);
    assert_int_equal(c.n_layers, 1);
    assert_true(c.layer[0].layer == 1 && c.layer[0].n_experts == 5);
    assert_true(fabs(c.layer[0].mean - 16.0 / 5) < 1e-12);
    assert_true(c.n_unseen > 0 && c.n_unseen == c.n_starved);
    for (uint32_t i = 0; i < c.layer[0].n_starved; i++)
        assert_true(n[c.layer[0].starved[i]] == 0);
    bl_coverage_release(&c);
    bl_stats_close(stats);
    golden_close(&g);
}

static void refuses_texts_and_parts_that_make_no_sense(void **state)
{
    struct golden g = { 0 };
    bl_calibrate_options o = usual(128);
    struct bl_err err = { 0 };

    (void)state;
    open_golden(&g, "toy-mla");
    assert_int_equal(calibrate(at("out"), &g, &o, &err), BL_E_USAGE);
    assert_string_equal(err.text, "the text has 70 tokens: 1 part needs 128");
    o = usual(16);
    o.n_parts = 5;
    assert_int_equal(calibrate(at("out"), &g, &o, &err), BL_E_USAGE);
    o.n_parts = 2;
    o.part = 2;
    assert_int_equal(calibrate(at("out"), &g, &o, &err), BL_E_USAGE);
    scratch_puts(at("out"), "mine");
    o = usual(16);
    assert_int_equal(calibrate(at("out"), &g, &o, &err), BL_E_USAGE);
    assert_true(scratch_holds(at("out"), "mine", 4));
    golden_close(&g);
}

static void products_are_the_same_in_every_instruction_set(void **state)
{
    float a[67], b[67];

    (void)state;
    for (int i = 0; i < 67; i++) {
        a[i] = sinf((float)i * 1.7f) * expf((float)(i % 9));
        b[i] = cosf((float)i * 0.9f) * expf((float)(i % 5));
    }
    for (size_t n = 0; n <= 67; n++) {
        const bl_products x = bl_products_of(a, b, n), y = bl_products_of_ref(a, b, n);

        assert_true(x.aa == y.aa && x.ab == y.ab && x.bb == y.bb);
    }
    assert_true(bl_cosine(&(bl_products){ 4, -6, 9 }) == -1);
    assert_true(bl_cosine(&(bl_products){ 0, 0, 9 }) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(gathers_what_the_modules_of_transformers_met, renew_scratch),
        cmocka_unit_test_teardown(neither_threads_nor_memory_change_a_bit, renew_scratch),
        cmocka_unit_test_teardown(goes_on_after_any_interruption_to_the_same_bytes, renew_scratch),
        cmocka_unit_test_teardown(a_layer_that_was_not_kept_or_is_damaged_is_an_error,
                                  renew_scratch),
        cmocka_unit_test_teardown(memory_that_ends_is_said, renew_scratch),
        cmocka_unit_test_teardown(parts_add_up_to_the_whole, renew_scratch),
        cmocka_unit_test_teardown(refuses_to_merge_what_does_not_belong_together, renew_scratch),
        cmocka_unit_test_teardown(says_which_experts_are_starved, renew_scratch),
        cmocka_unit_test_teardown(refuses_texts_and_parts_that_make_no_sense, renew_scratch),
        cmocka_unit_test(products_are_the_same_in_every_instruction_set),
    };

    bl_memory_return_freed(); /* what is held counts against --memory */
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
