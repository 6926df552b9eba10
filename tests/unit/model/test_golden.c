/*
 * The forward pass against transformers: every layer's hidden state, the routing, the logits, the
 * MTP head, within 5e-4 (docs/numerics.md). Another model and its golden file can be named on the
 * command line.
 */
#include "golden_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const double tolerance = 5e-4;

static int open_golden(void **state, const char *model, const char *values)
{
    struct golden *g = bl_calloc(1, sizeof(*g));
    struct bl_err err = { 0 };

    if (golden_open(g, model, values, &err) != BL_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    *state = g;
    return 0;
}

static int close_golden(void **state)
{
    golden_close(*state);
    bl_free(*state);
    return 0;
}

static int open_nano_r1(void **state)
{
    return open_golden(state, "data/nano-r1", "data/golden/nano-r1.safetensors");
}

static int open_qwen2(void **state) /* biases, untied head */
{
    return open_golden(state, "data/toy-qwen2", "data/golden/toy-qwen2.safetensors");
}

static int open_llama(void **state) /* llama3 scaling, tied head, heads x head_dim != hidden */
{
    return open_golden(state, "data/toy-llama", "data/golden/toy-llama.safetensors");
}

static int open_mla(void **state) /* no q_lora, one expert group, 20 heads */
{
    return open_golden(state, "data/toy-mla", "data/golden/toy-mla.safetensors");
}

/* The same networks in files that llama.cpp's converter wrote. */
static int open_qwen2_gguf(void **state)
{
    return open_golden(state, "data/gguf/toy-qwen2.gguf", "data/golden/toy-qwen2.safetensors");
}

static int open_llama_gguf(void **state) /* q and k in pairs, frequencies' divisors as a tensor */
{
    return open_golden(state, "data/gguf/toy-llama.gguf", "data/golden/toy-llama.safetensors");
}

static int open_mla_gguf(void **state)
{
    return open_golden(state, "data/gguf/toy-mla.gguf", "data/golden/toy-mla.safetensors");
}

static int open_whole_mla_gguf(void **state) /* the older form, attn_kv_b */
{
    return open_golden(state, "data/gguf/toy-mla-whole.gguf", "data/golden/toy-mla.safetensors");
}

static const char *named_model, *named_values;

static int open_named(void **state)
{
    return open_golden(state, named_model, named_values);
}

static bl_state begin(const struct golden *g)
{
    bl_state s;

    assert_int_equal(bl_state_init(&s, g->tokens, 1, (uint32_t)g->n_tokens,
                                   g->network.config->hidden_size, NULL, NULL),
                     BL_OK);
    assert_int_equal(bl_embed(&s, &g->weights, NULL), BL_OK);
    return s;
}

static void assert_golden(const struct golden *g, const char *name, const float *x, size_t n)
{
    double error = golden_error(g, name, x, n);

    print_message("  %-18s largest error %.2g\n", name, error);
    if (!(error < tolerance))
        fail_msg("%s is off by %g", name, error);
}

static void hidden_states_after_every_layer_are_golden(void **state)
{
    const struct golden *g = *state;
    const uint32_t n_layers = g->network.config->n_layers;
    bl_state s = begin(g);
    size_t n = s.n_tokens * s.hidden_size;
    float *last = bl_alloc(n, sizeof(*last));
    char name[32];

    assert_golden(g, "hidden.0", s.hidden.values, n);
    for (uint32_t layer = 0; layer < n_layers; layer++) {
        assert_int_equal(bl_layer_step(&s, layer, &g->weights, NULL, NULL, NULL), BL_OK);
        snprintf(name, sizeof(name), "hidden.%u", layer + 1);
        if (layer + 1 < n_layers)
            assert_golden(g, name, s.hidden.values, n);
    }
    assert_int_equal(bl_final_norm(last, &s, NULL, s.n_tokens, &g->weights, NULL), BL_OK);
    assert_golden(g, name, last, n); /* the last one is kept after the final norm */
    bl_free(last);
    bl_state_release(&s);
}

static void logits_are_golden(void **state)
{
    const struct golden *g = *state;
    float *logits = NULL;

    assert_int_equal(
        golden_forward(&logits, g->tokens, 1, (uint32_t)g->n_tokens, &g->weights, NULL, NULL),
        BL_OK);
    assert_golden(g, "logits", logits, g->n_tokens * g->network.config->vocab_size);
    bl_free(logits);
}

static bl_status check_choice(void *context, const bl_activation *a, struct bl_err *err)
{
    const struct golden *g = context;
    size_t n = a->n_rows * a->n_cols;
    float *experts = bl_alloc(n, sizeof(*experts));
    char name[32];

    (void)err;
    for (size_t i = 0; i < n; i++)
        experts[i] = (float)a->choice[i];
    snprintf(name, sizeof(name), "router.%u.experts", a->layer);
    assert_true(golden_error(g, name, experts, n) == 0); /* no margin here is below 1e-5 */
    snprintf(name, sizeof(name), "router.%u.weights", a->layer);
    assert_golden(g, name, a->value, n);
    bl_free(experts);
    return BL_OK;
}

static void every_token_goes_to_the_golden_experts(void **state)
{
    struct golden *g = *state;
    const bl_taps taps = { check_choice, g, 1u << BL_TAP_ROUTER_CHOICE };
    bl_state s = begin(g);

    assert_int_equal(golden_layers(&s, g->network.config->n_layers, &g->weights, NULL, &taps, NULL),
                     BL_OK);
    bl_state_release(&s);
}

static void mtp_logits_are_golden(void **state)
{
    const struct golden *g = *state;
    const bl_config *c = g->network.config;
    const bl_tensor *table = NULL;
    bl_state s, mtp = { 0 };
    float *x, *logits = NULL;

    if (c->n_mtp_layers == 0)
        skip();
    s = begin(g);
    assert_int_equal(golden_layers(&s, c->n_layers, &g->weights, NULL, NULL, NULL), BL_OK);
    assert_int_equal(bl_mtp_begin(&mtp, &s, &g->weights, NULL), BL_OK);
    assert_int_equal(golden_layers(&mtp, c->n_layers + 1, &g->weights, NULL, NULL, NULL), BL_OK);
    x = bl_alloc(mtp.n_tokens, mtp.hidden_size * sizeof(*x));
    assert_int_equal(bl_mtp_norm(x, &mtp, &g->weights, NULL), BL_OK);
    assert_int_equal(bl_mtp_table(&table, &g->weights, NULL), BL_OK);
    assert_int_equal(golden_logits(&logits, x, mtp.n_tokens, table, &g->weights, NULL), BL_OK);
    assert_golden(g, "mtp.logits", logits, mtp.n_tokens * c->vocab_size);
    bl_free(x);
    bl_free(logits);
    bl_state_release(&s);
    bl_state_release(&mtp);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest r1[] = {
        cmocka_unit_test(hidden_states_after_every_layer_are_golden),
        cmocka_unit_test(logits_are_golden),
        cmocka_unit_test(every_token_goes_to_the_golden_experts),
        cmocka_unit_test(mtp_logits_are_golden),
    };
    const struct CMUnitTest dense[] = {
        cmocka_unit_test(hidden_states_after_every_layer_are_golden),
        cmocka_unit_test(logits_are_golden),
    };
    const struct CMUnitTest mla[] = {
        cmocka_unit_test(hidden_states_after_every_layer_are_golden),
        cmocka_unit_test(logits_are_golden),
        cmocka_unit_test(every_token_goes_to_the_golden_experts),
    };

    if (argc == 3) {
        named_model = argv[1];
        named_values = argv[2];
        return cmocka_run_group_tests_name(argv[1], r1, open_named, close_golden);
    }
    return cmocka_run_group_tests_name("nano-r1", r1, open_nano_r1, close_golden) +
           cmocka_run_group_tests_name("toy-qwen2", dense, open_qwen2, close_golden) +
           cmocka_run_group_tests_name("toy-llama", dense, open_llama, close_golden) +
           cmocka_run_group_tests_name("toy-mla", mla, open_mla, close_golden) +
           cmocka_run_group_tests_name("qwen2 GGUF", dense, open_qwen2_gguf, close_golden) +
           cmocka_run_group_tests_name("llama GGUF", dense, open_llama_gguf, close_golden) +
           cmocka_run_group_tests_name("MLA GGUF", mla, open_mla_gguf, close_golden) +
           cmocka_run_group_tests_name("whole MLA GGUF", mla, open_whole_mla_gguf, close_golden);
}
