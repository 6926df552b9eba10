/* Derived constants against transformers' rotary scalings and the published check values. */
#include "formats/arch/arch.h"
#include "model/network.h"
#include "op_vectors.inc"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bl_config r1(void)
{
    return (bl_config){
        .vocab_size = 129280,
        .hidden_size = 7168,
        .n_layers = 61,
        .n_mtp_layers = 1,
        .intermediate_size = 18432,
        .rms_norm_eps = 1e-6,
        .latent_norm_eps = 1e-6,
        .n_heads = 128,
        .n_kv_heads = 128,
        .q_lora_rank = 1536,
        .kv_lora_rank = 512,
        .qk_nope_head_dim = 128,
        .qk_rope_head_dim = 64,
        .v_head_dim = 128,
        .rope_theta = 10000,
        .rope_scaling = BL_ROPE_YARN,
        .rope_interleaved = true,
        .rope_factor = 40,
        .rope_original_context = 4096,
        .yarn_beta_fast = 32,
        .yarn_beta_slow = 1,
        .yarn_mscale = 1,
        .yarn_mscale_all_dim = 1,
        .n_experts = 256,
        .n_experts_used = 8,
        .n_shared_experts = 1,
        .moe_intermediate_size = 2048,
        .first_k_dense = 3,
        .moe_layer_freq = 1,
        .n_group = 8,
        .topk_group = 4,
        .routed_scaling_factor = 2.5,
        .norm_topk_prob = true,
        .router_bias = true,
        .scoring = BL_ROUTER_SIGMOID,
    };
}

static bl_config llama(void)
{
    return (bl_config){
        .vocab_size = 128256,
        .hidden_size = 4096,
        .n_layers = 32,
        .intermediate_size = 14336,
        .rms_norm_eps = 1e-5,
        .n_heads = 32,
        .n_kv_heads = 8,
        .head_dim = 128,
        .rope_theta = 500000,
        .rope_scaling = BL_ROPE_LLAMA3,
        .rope_factor = 8,
        .rope_original_context = 8192,
        .llama3_low_freq_factor = 1,
        .llama3_high_freq_factor = 4,
    };
}

static void assert_frequencies(const bl_network *net, const float *want, size_t n)
{
    assert_int_equal(net->rope_dim, 2 * n);
    for (size_t i = 0; i < n; i++)
        if (fabs(net->inv_freq[i] / (double)want[i] - 1) > 1e-6)
            fail_msg("pair %zu turns by %.9g, not %.9g", i, net->inv_freq[i], (double)want[i]);
}

static void yarn_frequencies_are_those_of_transformers(void **state)
{
    bl_config c = r1(), qwen = llama();
    bl_network net;

    (void)state;
    assert_int_equal(bl_network_init(&net, &c, NULL), BL_OK);
    assert_frequencies(&net, rope_yarn_r1, 32);
    assert_float_equal(net.rope_magnitude, rope_yarn_r1_magnitude[0], 1e-7);
    qwen.rope_scaling = BL_ROPE_YARN;
    qwen.rope_theta = 1000000;
    qwen.rope_factor = 4;
    qwen.rope_original_context = 32768;
    qwen.yarn_beta_fast = 32;
    qwen.yarn_beta_slow = 1;
    assert_int_equal(bl_network_init(&net, &qwen, NULL), BL_OK);
    assert_frequencies(&net, rope_yarn_qwen, 64);
    assert_float_equal(net.rope_magnitude, rope_yarn_qwen_magnitude[0], 1e-7);
}

static void yarn_frequencies_have_the_published_check_values(void **state)
{
    static const struct {
        uint32_t pair;
        double inv_freq;
    } rows[] = { { 0, 1.0 },           { 10, 0.0562341325 }, { 11, 0.0390069266 },
                 { 15, 0.0083345090 }, { 16, 0.0055 },       { 20, 7.905694e-4 },
                 { 22, 1.778279e-4 },  { 23, 3.3338036e-5 }, { 31, 3.3338036e-6 } };
    bl_config c = r1();
    bl_network net;

    (void)state;
    assert_int_equal(bl_network_init(&net, &c, NULL), BL_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_true(fabs(net.inv_freq[rows[i].pair] / rows[i].inv_freq - 1) < 1e-6);
}

static void llama3_frequencies_are_those_of_transformers(void **state)
{
    static const double multiplier[] = {
        0.828168, 0.643743, 0.493507, 0.371122, 0.271425, 0.190211
    };
    bl_config c = llama(), linear = llama();
    bl_network net;

    (void)state;
    assert_int_equal(bl_network_init(&net, &c, NULL), BL_OK);
    assert_frequencies(&net, rope_llama3_8b, 64);
    for (uint32_t i = 0; i < 6; i++)
        assert_true(
            fabs(net.inv_freq[29 + i] / pow(500000, -2.0 * (29 + i) / 128) - multiplier[i]) < 1e-6);
    linear.rope_scaling = BL_ROPE_LINEAR;
    linear.rope_theta = 10000;
    linear.rope_factor = 2.5;
    linear.head_dim = 64;
    assert_int_equal(bl_network_init(&net, &linear, NULL), BL_OK);
    assert_frequencies(&net, rope_linear_64, 32);
}

static void the_softmax_scale_has_the_squared_temperature(void **state)
{
    bl_config c = r1(), plain = llama();
    bl_network net;

    (void)state;
    assert_int_equal(bl_network_init(&net, &c, NULL), BL_OK);
    assert_int_equal(net.qk_dim, 192);
    assert_float_equal(bl_yarn_mscale(40, 1), 1.3688879454, 1e-9);
    assert_float_equal(net.softmax_scale, 0.1352337789, 1e-8);
    c.rope_scaling = BL_ROPE_PLAIN;
    assert_int_equal(bl_network_init(&net, &c, NULL), BL_OK);
    assert_float_equal(net.softmax_scale, 0.0721687836, 1e-8);
    assert_int_equal(bl_network_init(&net, &plain, NULL), BL_OK);
    assert_float_equal(net.softmax_scale, 0.08838834765, 1e-8);
    assert_int_equal(net.heads_per_kv, 4);
}

static void refuses_what_it_cannot_run(void **state)
{
    bl_config rows[11];
    const char *says[11] = { "vocab_size", "num_attention_heads", "v_head_dim", "groups",
                             "topk_group", "num_experts_per_tok", "rotated",    "rope_theta",
                             "factor",     "beta_fast",           "context" };

    (void)state;
    for (size_t i = 0; i < 11; i++)
        rows[i] = r1();
    rows[0].vocab_size = 0;
    rows[1].n_heads = 0;
    rows[2].v_head_dim = 0;
    rows[3].n_group = 7;
    rows[4].topk_group = 9;
    rows[5].n_experts_used = 129;
    rows[6].qk_rope_head_dim = 63;
    rows[7].rope_theta = (double)NAN;
    rows[8].rope_factor = 0;
    rows[9].yarn_beta_fast = 0;
    rows[10].rope_original_context = 0;
    for (size_t i = 0; i < 11; i++) {
        struct bl_err err = { 0 };
        bl_network net;

        assert_int_equal(bl_network_init(&net, &rows[i], &err), BL_E_UNSUPPORTED);
        if (!strstr(err.text, says[i]))
            fail_msg("'%s' does not speak of %s", err.text, says[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yarn_frequencies_are_those_of_transformers),
        cmocka_unit_test(yarn_frequencies_have_the_published_check_values),
        cmocka_unit_test(llama3_frequencies_are_those_of_transformers),
        cmocka_unit_test(the_softmax_scale_has_the_squared_temperature),
        cmocka_unit_test(refuses_what_it_cannot_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
