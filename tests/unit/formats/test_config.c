/* test_config.c - config.json of the families and their relatives; what must be refused. */
#include "base/source.h"
#include "base/alloc.h"
#include "formats/arch/arch.h"
#include "formats/arch/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bl_status parse_text(bl_config *out, const char *text, struct bl_err *err)
{
    bl_json *json = NULL;
    bl_status rc = bl_json_parse(&json, "config.json", text, strlen(text), 0, err);

    if (rc == BL_OK)
        rc = bl_config_parse(out, "config.json", json, err);
    bl_json_free(json);
    return rc;
}

static char *read_text(const char *path)
{
    bl_source *source = NULL;
    char *text = NULL;
    struct bl_err err = { 0 };

    if (bl_source_open(&source, path, &err) != BL_OK ||
        bl_source_read_all(&text, NULL, source, 1 << 20, &err) != BL_OK)
        fail_msg("%s", err.text);
    bl_source_close(source);
    return text;
}

/* nano-r1's configuration with one member replaced (value NULL: removed). */
static bl_status parse_with(bl_config *out, const char *key, const char *value, struct bl_err *err)
{
    char *text = read_text("data/nano-r1/config.json");
    bl_text edited = { 0 };
    bl_status rc;

    bl_json_set_member(&edited, text, strlen(text), key, value);
    rc = parse_text(out, edited.bytes, err);
    bl_text_release(&edited);
    bl_free(text);
    return rc;
}

static void reads_the_configuration_of_r1(void **state)
{
    struct bl_err err = { 0 };
    bl_config c;

    (void)state;
    assert_int_equal(parse_with(&c, "use_cache", "true", &err), BL_OK);
    assert_string_equal(c.arch->gguf_name, "deepseek2");
    assert_int_equal(c.n_layers, 3);
    assert_int_equal(c.n_mtp_layers, 1);
    assert_int_equal(c.q_lora_rank, 128);
    assert_int_equal(c.n_group, 4);
    assert_int_equal(c.topk_group, 2);
    assert_true(c.router_bias);
    assert_int_equal(c.scoring, BL_ROUTER_SIGMOID);
    assert_true(c.routed_scaling_factor == 2.5);
    assert_int_equal(c.rope_scaling, BL_ROPE_YARN);
    assert_true(c.rope_factor == 40 && c.yarn_mscale_all_dim == 1);
    assert_int_equal(c.quantization.storage, BL_STORAGE_FP8_BLOCK);
    assert_int_equal(c.quantization.block_rows, 128);
    assert_false(bl_config_layer_is_moe(&c, 0));
    assert_true(bl_config_layer_is_moe(&c, 1));
    assert_true(bl_config_layer_is_moe(&c, 3)); /* MTP: as the last layer */
}

static void takes_relatives_as_data(void **state)
{
    struct bl_err err = { 0 };
    bl_config c;

    (void)state;
    assert_int_equal(parse_with(&c, "q_lora_rank", "null", &err), BL_OK);
    assert_int_equal(c.q_lora_rank, 0);
    assert_int_equal(parse_with(&c, "n_group", NULL, &err), BL_E_FORMAT); /* 2 of 1 groups */
    assert_int_equal(parse_with(&c, "topk_method", "\"greedy\"", &err), BL_OK);
    assert_int_equal(c.n_group, 1);
    assert_false(c.router_bias);
    assert_int_equal(parse_with(&c, "scoring_func", "\"softmax\"", &err), BL_OK);
    assert_int_equal(c.scoring, BL_ROUTER_SOFTMAX);
    assert_int_equal(parse_with(&c, "model_type", "\"kimi_k2\"", &err), BL_OK);
    assert_int_equal(parse_with(&c, "n_routed_experts", "384", &err), BL_OK);
    assert_int_equal(parse_with(&c, "rope_scaling", "null", &err), BL_OK);
    assert_int_equal(c.rope_scaling, BL_ROPE_PLAIN);
}

static void names_the_field_that_is_wrong(void **state)
{
    static const struct {
        const char *key, *value;
        bl_status status;
    } bad[] = {
        { "model_type", NULL, BL_E_FORMAT },
        { "model_type", "\"mamba\"", BL_E_UNSUPPORTED },
        { "hidden_size", "0", BL_E_FORMAT },
        { "hidden_size", "-5", BL_E_FORMAT },
        { "hidden_size", "1.5", BL_E_FORMAT },
        { "hidden_size", "\"256\"", BL_E_FORMAT },
        { "hidden_size", "1e30", BL_E_FORMAT },
        { "num_hidden_layers", NULL, BL_E_FORMAT },
        { "vocab_size", "4294967296", BL_E_FORMAT },
        { "kv_lora_rank", NULL, BL_E_FORMAT },
        { "qk_rope_head_dim", "15", BL_E_FORMAT },
        { "num_experts_per_tok", "9", BL_E_FORMAT },
        { "num_experts_per_tok", "5", BL_E_FORMAT },
        { "n_routed_experts", "9", BL_E_FORMAT },
        { "topk_group", "5", BL_E_FORMAT },
        { "scoring_func", "\"tanh\"", BL_E_UNSUPPORTED },
        { "topk_method", "\"group_limited_greedy\"", BL_E_UNSUPPORTED },
        { "hidden_act", "\"gelu\"", BL_E_UNSUPPORTED },
        { "rope_scaling", "{\"type\":\"longrope\"}", BL_E_UNSUPPORTED },
        { "rope_scaling", "{\"type\":\"yarn\",\"factor\":0}", BL_E_FORMAT },
        { "rope_scaling", "{\"type\":\"yarn\",\"factor\":40,\"attention_factor\":1.2}",
          BL_E_UNSUPPORTED },
        { "attention_bias", "true", BL_E_UNSUPPORTED },
        { "rope_scaling", "7", BL_E_FORMAT },
        { "quantization_config", "{\"quant_method\":\"fp8\"}", BL_E_UNSUPPORTED },
        { "quantization_config", "{\"quant_method\":\"awq\"}", BL_E_UNSUPPORTED },
        { "rms_norm_eps", "-1", BL_E_FORMAT },
        { "tie_word_embeddings", "1", BL_E_FORMAT },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct bl_err err = { 0 };
        bl_config c;
        bl_status rc = parse_with(&c, bad[i].key, bad[i].value, &err);

        if (rc != bad[i].status || strncmp(err.text, "config.json: ", 13) != 0)
            fail_msg("%s = %s: status %d, '%s'", bad[i].key, bad[i].value, (int)rc, err.text);
    }
}

static void reads_both_spellings_of_rotary_settings(void **state)
{
    static const char head[] = "{\"model_type\":\"llama\",\"vocab_size\":10,\"hidden_size\":96,"
                               "\"num_hidden_layers\":2,\"intermediate_size\":8,"
                               "\"max_position_embeddings\":64,\"num_attention_heads\":6,"
                               "\"num_key_value_heads\":3,\"head_dim\":32,";
    static const char *const tail[] = {
        "\"rope_theta\":500000,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,"
        "\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":64}}",
        "\"rope_parameters\":{\"rope_theta\":500000.0,\"rope_type\":\"llama3\",\"factor\":8.0,"
        "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
        "\"original_max_position_embeddings\":64}}"
    };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct bl_err err = { 0 };
        char text[1024];
        bl_config c;

        snprintf(text, sizeof(text), "%s%s", head, tail[i]);
        if (parse_text(&c, text, &err) != BL_OK)
            fail_msg("%s", err.text);
        assert_int_equal(c.head_dim, 32); /* not hidden_size / heads */
        assert_int_equal(c.rope_scaling, BL_ROPE_LLAMA3);
        assert_true(c.rope_theta == 500000 && c.rope_factor == 8);
        assert_true(c.rope_original_context == 64);
        assert_false(c.qkv_bias);
    }
}

static void matches_names_to_rows_and_nothing_else(void **state)
{
    const bl_arch *arch = bl_arch_by_model_type("deepseek_v3");
    int32_t layer, expert;
    const bl_arch_row *row =
        bl_arch_match(arch, "model.layers.12.mlp.experts.255.up_proj.weight", &layer, &expert);
    char name[64];

    (void)state;
    assert_non_null(row);
    assert_int_equal(layer, 12);
    assert_int_equal(expert, 255);
    assert_int_equal(row->role, BL_ROLE_EXPERT);
    assert_true(bl_arch_expand(name, sizeof(name), row->gguf, 12, 255));
    assert_string_equal(name, "blk.12.ffn_up_exps.weight");
    assert_false(bl_arch_expand(name, 10, row->gguf, 12, 255));
    assert_null(bl_arch_match(arch, "model.layers.012.input_layernorm.weight", &layer, &expert));
    assert_null(bl_arch_match(arch, "model.layers.1.input_layernorm.weightx", &layer, &expert));
    assert_null(bl_arch_match(arch, "model.layers..input_layernorm.weight", &layer, &expert));
    assert_null(
        bl_arch_match(arch, "model.layers.99999999999.input_layernorm.weight", &layer, &expert));
    assert_int_equal(layer, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_configuration_of_r1),
        cmocka_unit_test(takes_relatives_as_data),
        cmocka_unit_test(names_the_field_that_is_wrong),
        cmocka_unit_test(reads_both_spellings_of_rotary_settings),
        cmocka_unit_test(matches_names_to_rows_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
