/*
 * test_importance.c - which statistics meet which tensor, how a starved expert is shrunk toward its
 * layer, and for which model statistics are good.
 */
#include "base/sink.h"
#include "formats/stats/imatrix.h"
#include "quantize/calibrate.h"
#include "quantize/importance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../model/golden_run.h"
#include "../scratch.h"

static char path[4][128]; /* statistics: of nano-r1, toy-mla, toy-llama; an imatrix of toy-mla */
static const char *const models[] = { "nano-r1", "toy-mla", "toy-llama" };

static bl_ckpt *open_model(const char *name)
{
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;

    if (bl_ckpt_open(&ckpt, name, &err) != BL_OK)
        fail_msg("%s", err.text);
    return ckpt;
}

static bl_stats *open_stats(int i)
{
    struct bl_err err = { 0 };
    bl_stats *stats = NULL;

    if (bl_stats_open(&stats, path[i], &err) != BL_OK)
        fail_msg("%s", err.text);
    return stats;
}

/* Few tokens: some experts have none. */
static int make_stats(void **state)
{
    bl_stats *stats;

    (void)state;
    snprintf(scratch_folder, sizeof(scratch_folder), "/tmp/baleen-test-XXXXXX");
    if (!mkdtemp(scratch_folder))
        return -1;
    for (int i = 0; i < 3; i++) {
        const bl_calibrate_options o = {
            .ctx = 16, .max_tokens = 32, .bos = -1, .run = { .n_threads = 1 }
        };
        struct golden g = { 0 };
        char model[64], values[64];

        snprintf(path[i], sizeof(path[i]), "%s/%s", scratch_folder, models[i]);
        snprintf(model, sizeof(model), "data/%s", models[i]);
        snprintf(values, sizeof(values), "data/golden/%s.safetensors", models[i]);
        if (golden_open(&g, model, values, NULL) != BL_OK ||
            bl_calibrate_run(path[i], g.ckpt, g.tokens, g.n_tokens, &o, NULL) != BL_OK)
            return -1;
        golden_close(&g);
    }
    snprintf(path[3], sizeof(path[3]), "%s/x.gguf", scratch_folder);
    stats = open_stats(1);
    if (bl_imatrix_write(path[3], false, stats, NULL) != BL_OK)
        return -1;
    bl_stats_close(stats);
    return 0;
}

static int remove_stats(void **state)
{
    (void)state;
    scratch_remove(scratch_folder);
    return 0;
}

/* Importance of a tensor to out; whether it is known. */
static bool importance(float *out, const bl_stats *stats, const bl_ckpt *ckpt, const char *name)
{
    const bl_tensor *t = bl_ckpt_find(ckpt, name);
    struct bl_err err = { 0 };
    bool known = true;

    assert_non_null(t);
    assert_true(t->n_cols <= 1024);
    if (bl_importance_of_tensor(out, &known, stats, bl_ckpt_config(ckpt), t, &err) != BL_OK)
        fail_msg("%s", err.text);
    return known;
}

static uint64_t read_site(float *out, const bl_stats *stats, bl_stats_site site, uint32_t layer,
                          uint64_t row)
{
    uint64_t n = 0;

    assert_int_equal(bl_stats_read(out, &n, stats, site, layer, row, 1, NULL), BL_OK);
    return n;
}

static void a_tensor_has_the_mean_squares_of_what_it_meets(void **state)
{
    static const struct {
        const char *name;
        bl_stats_site site;
        uint32_t layer;
    } pair[] = {
        { "model.layers.0.self_attn.q_a_proj.weight", BL_SITE_ATTENTION_INPUT, 0 },
        { "model.layers.2.self_attn.kv_a_proj_with_mqa.weight", BL_SITE_ATTENTION_INPUT, 2 },
        { "model.layers.1.self_attn.q_b_proj.weight", BL_SITE_QUERY_LATENT, 1 },
        { "model.layers.1.self_attn.kv_b_proj.weight", BL_SITE_KEY_LATENT, 1 },
        { "model.layers.1.self_attn.o_proj.weight", BL_SITE_ATTENTION_HEADS, 1 },
        { "model.layers.0.mlp.gate_proj.weight", BL_SITE_FFN_INPUT, 0 },
        { "model.layers.0.mlp.down_proj.weight", BL_SITE_FFN_INNER, 0 },
        { "model.layers.1.mlp.gate.weight", BL_SITE_FFN_INPUT, 1 },
        { "model.layers.1.mlp.shared_experts.up_proj.weight", BL_SITE_FFN_INPUT, 1 },
        { "model.layers.2.mlp.shared_experts.down_proj.weight", BL_SITE_FFN_INNER, 2 },
        { "lm_head.weight", BL_SITE_FINAL, 3 },
    };
    bl_ckpt *ckpt = open_model("data/nano-r1");
    bl_stats *stats = open_stats(0);
    float got[1024], want[1024];

    (void)state;
    for (size_t i = 0; i < sizeof(pair) / sizeof(*pair); i++) {
        const uint64_t n = bl_stats_shape_of(stats, pair[i].site, pair[i].layer).n_cols;

        assert_true(importance(got, stats, ckpt, pair[i].name));
        assert_true(read_site(want, stats, pair[i].site, pair[i].layer, 0) == 32);
        assert_memory_equal(got, want, (size_t)n * sizeof(float));
    }
    bl_stats_close(stats);
    bl_ckpt_close(ckpt);
}

/* h' = (N_e h_e + 256 h_layer) / (N_e + 256), from our file and from an imatrix of it. */
static void an_expert_is_shrunk_toward_its_layer(void **state)
{
    bl_ckpt *ckpt = open_model("data/toy-mla");
    const uint32_t n_experts = bl_ckpt_config(ckpt)->n_experts;
    float got[64], own[64], sum[64], layer[64];
    char name[64];

    (void)state;
    for (int file = 1; file <= 3; file += 2) {
        bl_stats *stats = open_stats(file);
        uint64_t n_all = 0;

        memset(sum, 0, sizeof(sum));
        for (uint32_t e = 0; e < n_experts; e++) {
            const uint64_t n = read_site(own, stats, BL_SITE_EXPERT_INNER, 1, e);

            n_all += n;
            for (int c = 0; c < 16; c++)
                sum[c] += (float)n * own[c];
        }
        assert_int_equal(n_all, 64); /* two for each of 32 tokens */
        for (int c = 0; c < 16; c++)
            layer[c] = sum[c] / 64;
        for (uint32_t e = 0; e < n_experts; e++) {
            const float n = (float)read_site(own, stats, BL_SITE_EXPERT_INNER, 1, e);

            snprintf(name, sizeof(name), "model.layers.1.mlp.experts.%u.down_proj.weight", e);
            assert_true(importance(got, stats, ckpt, name));
            for (int c = 0; c < 16; c++)
                assert_true(fabsf(got[c] - (n * own[c] + 256 * layer[c]) / (n + 256)) <=
                            1e-5f * layer[c]);
        }
        bl_stats_close(stats);
    }
    bl_ckpt_close(ckpt);
}

static void the_halves_of_kv_b_have_a_row_for_each_head(void **state)
{
    bl_ckpt *ckpt = open_model("data/toy-mla");
    const bl_config *c = bl_ckpt_config(ckpt);
    bl_stats *stats = open_stats(1), *imatrix = open_stats(3);
    float got[20 * 8], want[20 * 8], other[20 * 8];
    bool known = false;

    (void)state;
    assert_true(c->n_heads == 20 && c->kv_lora_rank == 8 && c->qk_nope_head_dim == 4);
    assert_int_equal(bl_importance_of_k_b(got, &known, stats, c, 1, NULL), BL_OK);
    assert_true(known);
    (void)read_site(want, stats, BL_SITE_QUERY_NOPE, 1, 0);
    assert_memory_equal(got, want, 80 * sizeof(float));
    assert_int_equal(bl_importance_of_v_b(got, &known, stats, c, 1, NULL), BL_OK);
    (void)read_site(want, stats, BL_SITE_VALUE_LATENT, 1, 0);
    assert_memory_equal(got, want, 160 * sizeof(float));
    assert_memory_not_equal(got, got + 8, 8 * sizeof(float));
    assert_int_equal(bl_importance_of_v_b(other, &known, imatrix, c, 1, NULL), BL_OK);
    for (int i = 0; i < 160; i++)
        assert_true(fabsf(got[i] - other[i]) <= 1e-6f * got[i]);
    assert_int_equal(bl_importance_of_k_b(got, &known, stats, c, 2, NULL), BL_OK);
    assert_false(known); /* the model ends at layer 1 */
    bl_stats_close(stats);
    bl_stats_close(imatrix);
    bl_ckpt_close(ckpt);
}

static void what_was_not_measured_is_not_known(void **state)
{
    static const char *const name[] = { "model.embed_tokens.weight",
                                        "model.norm.weight",
                                        "model.layers.0.input_layernorm.weight",
                                        "model.layers.3.eh_proj.weight",
                                        "model.layers.3.self_attn.o_proj.weight",
                                        "model.layers.3.mlp.experts.0.up_proj.weight",
                                        "model.layers.3.shared_head.head.weight" };
    bl_ckpt *ckpt = open_model("data/nano-r1");
    bl_stats *stats = open_stats(0);
    float out[1024];

    (void)state;
    for (size_t i = 0; i < sizeof(name) / sizeof(*name); i++)
        assert_false(importance(out, stats, ckpt, name[i]));
    bl_stats_close(stats);
    bl_ckpt_close(ckpt);
}

static void an_embedding_that_is_the_head_has_the_heads(void **state)
{
    bl_ckpt *ckpt = open_model("data/toy-llama");
    bl_stats *stats = open_stats(2);
    float got[64], want[64];

    (void)state;
    assert_true(importance(got, stats, ckpt, "model.embed_tokens.weight"));
    (void)read_site(want, stats, BL_SITE_FINAL, 2, 0);
    assert_memory_equal(got, want, 24 * sizeof(float));
    bl_stats_close(stats);
    bl_ckpt_close(ckpt);
}

static void a_tensor_of_another_shape_is_refused(void **state)
{
    bl_ckpt *ckpt = open_model("data/toy-mla");
    const bl_tensor *t = bl_ckpt_find(ckpt, "model.layers.0.mlp.up_proj.weight");
    bl_stats *stats = open_stats(0);
    struct bl_err err = { 0 };
    float out[64];
    bool known;

    (void)state;
    assert_int_equal(bl_importance_of_tensor(out, &known, stats, bl_ckpt_config(ckpt), t, &err),
                     BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "'ffn_input' is 1 x 256, row 0 of 24 values is needed"));
    bl_stats_close(stats);
    bl_ckpt_close(ckpt);
}

/* What bl_stats_check() says: a status, and in *other whether it is another precision. */
static bl_status check(bool *other, int i, const char *model)
{
    bl_stats *stats = open_stats(i);
    bl_ckpt *ckpt = open_model(model);
    struct bl_err err = { 0 };
    bl_status rc = bl_stats_check(other, stats, ckpt, &err);

    assert_true(rc == BL_OK || err.text[0]);
    bl_stats_close(stats);
    bl_ckpt_close(ckpt);
    return rc;
}

static void tells_precisions_of_one_model_from_another_model(void **state)
{
    bool other = true;

    (void)state;
    assert_int_equal(check(&other, 1, "data/toy-mla"), BL_OK);
    assert_false(other);
    assert_int_equal(check(&other, 1, "data/gguf/toy-mla.gguf"), BL_OK);
    assert_true(other);
    assert_int_equal(check(&other, 1, "data/gguf/toy-mla-whole.gguf"), BL_OK);
    assert_true(other);
    assert_int_equal(check(&other, 1, "data/nano-r1"), BL_E_MISMATCH);
    assert_int_equal(check(&other, 2, "data/toy-qwen2"), BL_E_MISMATCH);
    /* an imatrix has shapes only */
    assert_int_equal(check(&other, 3, "data/toy-mla"), BL_OK);
    assert_false(other);
    assert_int_equal(check(&other, 3, "data/gguf/toy-mla.gguf"), BL_OK);
    assert_int_equal(check(&other, 3, "data/toy-llama"), BL_E_MISMATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tensor_has_the_mean_squares_of_what_it_meets),
        cmocka_unit_test(an_expert_is_shrunk_toward_its_layer),
        cmocka_unit_test(the_halves_of_kv_b_have_a_row_for_each_head),
        cmocka_unit_test(what_was_not_measured_is_not_known),
        cmocka_unit_test(an_embedding_that_is_the_head_has_the_heads),
        cmocka_unit_test(a_tensor_of_another_shape_is_refused),
        cmocka_unit_test(tells_precisions_of_one_model_from_another_model),
    };

    return cmocka_run_group_tests(tests, make_stats, remove_stats);
}
