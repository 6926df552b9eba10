/*
 * test_init_cut.c - a cut teacher computes what it is said to: one FFN gives the sum of its scaled experts, kept
 * channels and layers are the teacher's own, those that stay are worth more than those that go.
 */
#include "base/alloc.h"
#include "distill/init/init.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bl_ckpt *nano, *toy;
static bl_stats *stats;
static const uint32_t all[] = { 0, 1, 2 };

static void must(bl_status rc, const struct bl_err *err)
{
    if (rc != BL_OK)
        fail_msg("%s", err->text);
}

static int open_models(void **state)
{
    struct bl_err err = { 0 };

    (void)state;
    if (bl_ckpt_open(&nano, "data/nano-r1", &err) == BL_OK &&
        bl_ckpt_open(&toy, "data/toy-mla", &err) == BL_OK &&
        bl_stats_open(&stats, "data/nano-r1.statistics.safetensors", &err) == BL_OK)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int close_models(void **state)
{
    (void)state;
    bl_stats_close(stats);
    bl_ckpt_close(toy);
    bl_ckpt_close(nano);
    return 0;
}

static bl_ckpt *open_cut(const bl_ckpt *teacher, const bl_init_cut *cut, bl_init_report *report)
{
    struct bl_err err = { 0 };
    bl_init_report unused;
    bl_ckpt *student = NULL;

    must(bl_init_cut_open(&student, report ? report : &unused, teacher, cut, &err), &err);
    return student;
}

static float *read_matrix(const bl_ckpt *ckpt, const char *name)
{
    struct bl_err err = { 0 };
    const bl_tensor *t = bl_ckpt_find(ckpt, name);
    float *out;

    if (!t)
        fail_msg("no tensor '%s'", name);
    out = bl_alloc((size_t)t->n_values, sizeof(*out));
    must(bl_ckpt_read_rows(ckpt, t, 0, t->n_rows, out, &err), &err);
    return out;
}

static uint64_t rows_of(const bl_ckpt *ckpt, const char *name)
{
    return bl_ckpt_find(ckpt, name)->n_rows;
}

/* Add scale * down(silu(gate x) * (up x)) of the three matrices behind a prefix to y[hidden]. */
static void add_ffn(double *y, const double *x, uint64_t hidden, const bl_ckpt *ckpt,
                    const char *prefix, double scale)
{
    char name[3][128];
    float *w[3];
    static const char *const part[] = { "gate", "up", "down" };
    uint64_t width;

    for (int i = 0; i < 3; i++) {
        snprintf(name[i], sizeof(name[i]), "%s.%s_proj.weight", prefix, part[i]);
        w[i] = read_matrix(ckpt, name[i]);
    }
    width = rows_of(ckpt, name[0]);
    for (uint64_t r = 0; r < width; r++) {
        double gate = 0, up = 0;

        for (uint64_t c = 0; c < hidden; c++) {
            gate += (double)w[0][r * hidden + c] * x[c];
            up += (double)w[1][r * hidden + c] * x[c];
        }
        for (uint64_t c = 0; c < hidden; c++)
            y[c] += scale * (double)w[2][c * width + r] * up * gate / (1 + exp(-gate));
    }
    for (int i = 0; i < 3; i++)
        bl_free(w[i]);
}

static void fill_input(double *x, uint64_t n)
{
    uint32_t state = 12345;

    for (uint64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (double)(state >> 8) / (1 << 23) - 1;
    }
}

static void assert_same(const double *a, const double *b, uint64_t n)
{
    double error = 0, power = 0;

    for (uint64_t i = 0; i < n; i++) {
        error += (a[i] - b[i]) * (a[i] - b[i]);
        power += b[i] * b[i];
    }
    assert_true(power > 0);
    if (!(error <= 1e-12 * power))
        fail_msg("relative squared error %g", error / power);
}

static void one_ffn_gives_the_sum_of_all_experts(void **state)
{
    const bl_init_cut cut = { .layer = all,
                              .n_layers = 2,
                              .n_experts = 5,
                              .method = BL_PRUNE_RANDOM,
                              .scale = BL_SCALE_ONE,
                              .n_threads = 1 };
    bl_init_report report;
    bl_ckpt *student = open_cut(toy, &cut, &report);
    double x[24], y[24] = { 0 }, z[24] = { 0 };
    char name[64];

    (void)state;
    assert_int_equal(bl_ckpt_config(student)->intermediate_size, 2 * 16 + 5 * 16);
    assert_int_equal(report.n_padded, 1); /* the dense layer of 40 */
    fill_input(x, 24);
    add_ffn(y, x, 24, student, "model.layers.1.mlp", 1);
    add_ffn(z, x, 24, toy, "model.layers.1.mlp.shared_experts", 1);
    for (int e = 0; e < 5; e++) {
        snprintf(name, sizeof(name), "model.layers.1.mlp.experts.%d", e);
        add_ffn(z, x, 24, toy, name, 1);
    }
    assert_same(y, z, 24);
    memset(y, 0, sizeof(y));
    memset(z, 0, sizeof(z));
    add_ffn(y, x, 24, student, "model.layers.0.mlp", 1);
    add_ffn(z, x, 24, toy, "model.layers.0.mlp", 1);
    assert_same(y, z, 24);
    bl_ckpt_close(student);
}

/* The two experts that met most tokens, ascending. */
static void find_two(uint32_t best[2], const bl_stats_saliency *s)
{
    uint32_t first = 0, second = 1;

    for (uint32_t e = 1; e < 8; e++)
        if (s[e].n > s[first].n)
            first = e;
    second = first == 0 ? 1 : 0;
    for (uint32_t e = 0; e < 8; e++)
        if (e != first && s[e].n > s[second].n)
            second = e;
    best[0] = first < second ? first : second;
    best[1] = first < second ? second : first;
}

/* What a scale is said to be (distill/init/init.h), from the file. */
static double expected_scale(bl_init_scale scale, const bl_stats_saliency *s, const uint32_t *kept,
                             uint32_t k)
{
    const bl_stats_saliency *mine = &s[kept[k]], *other = &s[kept[1 - k]];
    const double n = (double)bl_stats_info_of(stats)->n_tokens;
    double all_gates = 0, means;

    for (int e = 0; e < 8; e++)
        all_gates += s[e].gate;
    if (scale == BL_SCALE_ONE)
        return 1;
    if (scale == BL_SCALE_MEAN)
        return mine->gate / (double)mine->n;
    if (scale == BL_SCALE_EXPECTED)
        return mine->gate / n;
    means = mine->gate / (double)mine->n + other->gate / (double)other->n;
    return mine->gate / (mine->gate + other->gate) * fmin(all_gates / n, means);
}

static void kept_experts_are_scaled_by_their_router_weights(void **state)
{
    struct bl_err err = { 0 };
    double x[256], y[256], z[256];
    bl_stats_saliency s[8];
    uint32_t kept[2];
    char name[64];

    (void)state;
    fill_input(x, 256);
    for (int scale = 0; scale < BL_SCALE_COUNT; scale++) {
        const bl_init_cut cut = { .layer = all,
                                  .n_layers = 3,
                                  .n_experts = 2,
                                  .method = BL_PRUNE_FREQUENCY,
                                  .scale = (bl_init_scale)scale,
                                  .stats = stats,
                                  .n_threads = 1 };
        bl_ckpt *student = open_cut(nano, &cut, NULL);

        must(bl_stats_read_saliency(s, stats, 2, &err), &err);
        find_two(kept, s);
        memset(y, 0, sizeof(y));
        memset(z, 0, sizeof(z));
        add_ffn(y, x, 256, student, "model.layers.2.mlp", 1);
        add_ffn(z, x, 256, nano, "model.layers.2.mlp.shared_experts", 1);
        for (uint32_t k = 0; k < 2; k++) {
            snprintf(name, sizeof(name), "model.layers.2.mlp.experts.%u", kept[k]);
            add_ffn(z, x, 256, nano, name, expected_scale((bl_init_scale)scale, s, kept, k));
        }
        assert_same(y, z, 256);
        bl_ckpt_close(student);
    }
}

static void one_expert_does_not_stand_for_many(void **state)
{
    bl_init_cut cut = { .layer = all,
                        .n_layers = 3,
                        .n_experts = 1,
                        .method = BL_PRUNE_FREQUENCY,
                        .scale = BL_SCALE_SHARE,
                        .stats = stats,
                        .n_threads = 1 };
    bl_ckpt *share = open_cut(nano, &cut, NULL), *mean;
    float *a = read_matrix(share, "model.layers.1.mlp.down_proj.weight"), *b;

    (void)state;
    cut.scale = BL_SCALE_MEAN;
    mean = open_cut(nano, &cut, NULL);
    b = read_matrix(mean, "model.layers.1.mlp.down_proj.weight");
    for (uint64_t i = 0; i < 256 * 512; i++)
        assert_true(fabs((double)a[i] - (double)b[i]) <= 1e-6 * fabs((double)b[i]));
    bl_free(a);
    bl_free(b);
    bl_ckpt_close(share);
    bl_ckpt_close(mean);
}

static void a_narrow_ffn_ends_in_zeros(void **state)
{
    const bl_init_cut cut = { .layer = all,
                              .n_layers = 2,
                              .n_experts = 1,
                              .method = BL_PRUNE_RANDOM,
                              .scale = BL_SCALE_ONE,
                              .n_threads = 1 };
    bl_ckpt *student = open_cut(toy, &cut, NULL); /* 40, and 2 * 16 + 16 */
    float *up = read_matrix(student, "model.layers.0.mlp.up_proj.weight");
    float *down = read_matrix(student, "model.layers.0.mlp.down_proj.weight");

    (void)state;
    for (uint64_t i = 40 * 24; i < 48 * 24; i++)
        assert_float_equal(up[i], 0, 0);
    for (uint64_t i = 0; i < 24; i++)
        for (uint64_t c = 40; c < 48; c++)
            assert_float_equal(down[i * 48 + c], 0, 0);
    bl_free(up);
    bl_free(down);
    bl_ckpt_close(student);
}

static void the_student_is_dense_and_says_so(void **state)
{
    const bl_init_cut cut = { .layer = all,
                              .n_layers = 3,
                              .n_experts = 1,
                              .method = BL_PRUNE_AIMER,
                              .scale = BL_SCALE_ONE,
                              .n_threads = 2 };
    bl_ckpt *student = open_cut(nano, &cut, NULL);
    const bl_config *c = bl_ckpt_config(student);

    (void)state;
    assert_int_equal(c->first_k_dense, 3);
    assert_int_equal(c->n_mtp_layers, 0);
    assert_int_equal(c->n_experts, 8); /* loaders want to see some */
    assert_int_equal(c->quantization.storage, BL_STORAGE_PLAIN);
    for (size_t i = 0; i < bl_ckpt_n_tensors(student); i++) {
        assert_int_equal(bl_ckpt_tensor(student, i)->expert, -1);
        assert_false(bl_ckpt_tensor(student, i)->is_mtp);
    }
    bl_ckpt_close(student);
}

static void kept_layers_are_the_teachers(void **state)
{
    static const uint32_t kept[] = { 0, 2 };
    const bl_init_cut cut = { .layer = kept,
                              .n_layers = 2,
                              .n_experts = 1,
                              .method = BL_PRUNE_AIMER,
                              .scale = BL_SCALE_ONE,
                              .n_threads = 1 };
    bl_ckpt *student = open_cut(nano, &cut, NULL);
    float *a = read_matrix(student, "model.layers.1.self_attn.kv_b_proj.weight");
    float *b = read_matrix(nano, "model.layers.2.self_attn.kv_b_proj.weight");

    (void)state;
    assert_memory_equal(a, b, rows_of(nano, "model.layers.2.self_attn.kv_b_proj.weight") * 64 * 4);
    bl_free(a);
    bl_free(b);
    bl_ckpt_close(student);
}

/* Sum of squares of row or column i. */
static double norm2(const float *w, uint64_t n_rows, uint64_t n_cols, uint64_t i, bool row)
{
    double sum = 0;

    for (uint64_t k = 0; k < (row ? n_cols : n_rows); k++) {
        const double v = (double)w[row ? i * n_cols + k : k * n_cols + i];

        sum += v * v;
    }
    return sum;
}

static void ffn_channels_with_the_largest_norms_stay(void **state)
{
    const bl_init_cut whole = { .layer = all,
                                .n_layers = 2,
                                .n_experts = 2,
                                .method = BL_PRUNE_AIMER,
                                .scale = BL_SCALE_ONE,
                                .n_threads = 1 };
    bl_init_cut narrow = whole;
    bl_ckpt *wide, *cut;
    float *gate, *up, *down, *kept;
    double least = (double)INFINITY, most_dropped = 0;
    uint64_t k = 0;

    (void)state;
    narrow.intermediate = 50;
    wide = open_cut(toy, &whole, NULL);
    cut = open_cut(toy, &narrow, NULL);
    gate = read_matrix(wide, "model.layers.1.mlp.gate_proj.weight");
    up = read_matrix(wide, "model.layers.1.mlp.up_proj.weight");
    down = read_matrix(wide, "model.layers.1.mlp.down_proj.weight");
    kept = read_matrix(cut, "model.layers.1.mlp.gate_proj.weight");
    for (uint64_t i = 0; i < 64; i++) {
        const double score = norm2(gate, 64, 24, i, true) * norm2(up, 64, 24, i, true) *
                             norm2(down, 24, 64, i, false);

        if (k < 50 && memcmp(kept + 24 * k, gate + 24 * i, 24 * sizeof(*gate)) == 0) {
            least = fmin(least, score);
            k++;
        } else {
            most_dropped = fmax(most_dropped, score);
        }
    }
    assert_int_equal(k, 50);
    assert_true(least >= most_dropped && most_dropped > 0);
    bl_free(gate);
    bl_free(up);
    bl_free(down);
    bl_free(kept);
    bl_ckpt_close(wide);
    bl_ckpt_close(cut);
}

/* The columns of the teacher's embedding that are the student's, by their first rows. */
static void find_kept(uint32_t *kept, uint32_t n, const bl_ckpt *student)
{
    float *from = read_matrix(nano, "model.embed_tokens.weight");
    float *to = read_matrix(student, "model.embed_tokens.weight");
    uint32_t k = 0;

    for (uint32_t c = 0; c < 256 && k < n; c++) {
        bool same = true;

        for (uint32_t r = 0; r < 8; r++)
            same = same && memcmp(&from[r * 256 + c], &to[r * n + k], sizeof(float)) == 0;
        if (same)
            kept[k++] = c;
    }
    assert_int_equal(k, n);
    bl_free(from);
    bl_free(to);
}

/* The norm's weights make up for the mean square that went: by what the statistics say of it. */
static void assert_norm(const bl_ckpt *student, const uint32_t *kept, uint32_t n)
{
    struct bl_err err = { 0 };
    float *was = read_matrix(nano, "model.layers.1.input_layernorm.weight");
    float *is = read_matrix(student, "model.layers.1.input_layernorm.weight");
    float mean[256];
    double left = 0, all_of_it = 0;

    must(bl_stats_read(mean, NULL, stats, BL_SITE_ATTENTION_INPUT, 1, 0, 1, &err), &err);
    for (uint32_t c = 0; c < 256; c++)
        all_of_it += (double)mean[c] / ((double)was[c] * (double)was[c]) / 256;
    assert_true(fabs(all_of_it - 1) < 1e-3); /* what a norm is */
    for (uint32_t k = 0; k < n; k++)
        left += (double)mean[kept[k]] / ((double)was[kept[k]] * (double)was[kept[k]]) / n;
    assert_true(fabs(left - 1) > 1e-3);
    for (uint32_t k = 0; k < n; k++)
        assert_true(fabs((double)is[k] - (double)was[kept[k]] * sqrt(left)) < 1e-5);
    bl_free(was);
    bl_free(is);
}

static void hidden_channels_are_the_same_everywhere(void **state)
{
    const bl_init_cut cut = { .layer = all,
                              .n_layers = 3,
                              .n_experts = 1,
                              .hidden = 200,
                              .method = BL_PRUNE_REAP,
                              .scale = BL_SCALE_MEAN,
                              .stats = stats,
                              .n_threads = 2 };
    bl_ckpt *student = open_cut(nano, &cut, NULL);
    float *from = read_matrix(nano, "model.layers.1.self_attn.o_proj.weight");
    float *to = read_matrix(student, "model.layers.1.self_attn.o_proj.weight");
    uint32_t kept[200];

    (void)state;
    find_kept(kept, 200, student);
    for (uint32_t k = 0; k < 200; k++)
        assert_memory_equal(from + kept[k] * 128, to + k * 128, 128 * sizeof(float));
    assert_norm(student, kept, 200);
    bl_free(from);
    bl_free(to);
    bl_ckpt_close(student);
}

static void what_cannot_be_cut_is_refused(void **state)
{
    static const struct {
        bl_init_cut cut;
        bl_status status;
        const char *says;
    } bad[] = {
        { { .n_layers = 3 }, BL_E_USAGE, "--experts K" },
        { { .n_layers = 1, .n_experts = 2 }, BL_E_USAGE, "none of these layers has any" },
        { { .n_layers = 3, .n_experts = 9, .method = BL_PRUNE_AIMER, .scale = BL_SCALE_ONE },
          BL_E_USAGE,
          "has 8 in a layer" },
        { { .n_layers = 3, .n_experts = 2, .method = BL_PRUNE_AIMER, .scale = BL_SCALE_SHARE },
          BL_E_USAGE,
          "--stats" },
        { { .n_layers = 1, .hidden = 257 }, BL_E_USAGE, "256 channels" },
        { { .n_layers = 1, .intermediate = 513 }, BL_E_USAGE, "512 channels" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        bl_init_cut cut = bad[i].cut;
        struct bl_err err = { 0 };
        bl_init_report report;
        bl_ckpt *student = NULL;

        cut.layer = all;
        cut.n_threads = 1;
        assert_int_equal(bl_init_cut_open(&student, &report, nano, &cut, &err), bad[i].status);
        if (!strstr(err.text, bad[i].says))
            fail_msg("'%s' does not say '%s'", err.text, bad[i].says);
    }
}

static void memory_may_run_out(void **state)
{
    const bl_init_cut cut = { .layer = all,
                              .n_layers = 2,
                              .n_experts = 2,
                              .hidden = 16,
                              .intermediate = 30,
                              .method = BL_PRUNE_AIMER,
                              .scale = BL_SCALE_ONE,
                              .n_threads = 1 };
    const int64_t live = bl_alloc_live();
    bool done = false;

    (void)state;
    for (uint64_t k = 1; !done && k < 3000; k += 1 + k / 16) {
        struct bl_err err = { 0 };
        bl_init_report report;
        bl_ckpt *student = NULL;
        bl_status rc;

        bl_alloc_fail_at(k);
        rc = bl_init_cut_open(&student, &report, toy, &cut, &err);
        done = rc == BL_OK;
        if (!done)
            assert_int_equal(rc, BL_E_NOMEM);
        bl_alloc_fail_at(0);
        bl_ckpt_close(student);
        assert_int_equal(bl_alloc_live(), live);
    }
    assert_true(done);
}

static void layers_are_counted_or_listed(void **state)
{
    static const struct {
        const char *text;
        uint32_t n, layer[8];
    } good[] = {
        { "1", 1, { 0 } },
        { "2", 2, { 0, 60 } },
        { "3", 3, { 0, 30, 60 } },
        { "4", 4, { 0, 20, 40, 60 } },
        { "5,", 0, { 0 } },
        { "0,2-4,60", 5, { 0, 2, 3, 4, 60 } },
        { "7,", 0, { 0 } },
        { "8", 8, { 0, 9, 17, 26, 34, 43, 51, 60 } },
        { "", 0, { 0 } },
        { "3-1", 0, { 0 } },
        { "2,2", 0, { 0 } },
        { "61,", 0, { 0 } },
        { "0", 0, { 0 } },
        { "62", 0, { 0 } },
        { "99999999999999999999", 0, { 0 } },
        { "1,99999999999999999999", 0, { 0 } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        struct bl_err err = { 0 };
        uint32_t *layer = NULL, n = 0;
        bl_status rc = bl_init_parse_layers(&layer, &n, good[i].text, 61, &err);

        assert_int_equal(rc, good[i].n > 0 ? BL_OK : BL_E_USAGE);
        if (rc != BL_OK)
            continue;
        assert_int_equal(n, good[i].n);
        assert_memory_equal(layer, good[i].layer, n * sizeof(*layer));
        bl_free(layer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_ffn_gives_the_sum_of_all_experts),
        cmocka_unit_test(kept_experts_are_scaled_by_their_router_weights),
        cmocka_unit_test(one_expert_does_not_stand_for_many),
        cmocka_unit_test(a_narrow_ffn_ends_in_zeros),
        cmocka_unit_test(the_student_is_dense_and_says_so),
        cmocka_unit_test(kept_layers_are_the_teachers),
        cmocka_unit_test(ffn_channels_with_the_largest_norms_stay),
        cmocka_unit_test(hidden_channels_are_the_same_everywhere),
        cmocka_unit_test(what_cannot_be_cut_is_refused),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(layers_are_counted_or_listed),
    };

    return cmocka_run_group_tests(tests, open_models, close_models);
}
