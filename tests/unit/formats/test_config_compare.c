/* test_config_compare.c - what differs in what a network computes is named; nothing else is. */
#include "base/alloc.h"
#include "base/source.h"
#include "formats/arch/config_compare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* data/<model>/config.json with one member replaced (key NULL: as it is). */
static bl_config config_with(const char *model, const char *key, const char *value)
{
    char path[64];
    bl_source *source = NULL;
    bl_text edited = { 0 };
    char *text = NULL;
    bl_json *json = NULL;
    bl_config c = { 0 };
    struct bl_err err = { 0 };
    size_t n;

    snprintf(path, sizeof(path), "data/%s/config.json", model);
    if (bl_source_open(&source, path, &err) != BL_OK ||
        bl_source_read_all(&text, &n, source, 1 << 20, &err) != BL_OK)
        fail_msg("%s", err.text);
    bl_source_close(source);
    if (key)
        bl_json_set_member(&edited, text, n, key, value);
    else
        bl_text_add(&edited, text, n);
    if (bl_json_parse(&json, path, edited.bytes, edited.n, 0, &err) != BL_OK ||
        bl_config_parse(&c, path, json, &err) != BL_OK)
        fail_msg("%s: %s", key ? key : "", err.text);
    bl_json_free(json);
    bl_text_release(&edited);
    bl_free(text);
    return c;
}

/* One member of a config.json replaced, and the one difference that must be named. */
struct edit {
    const char *model, *key, *value, *field, *test, *reference;
};

#define YARN(members) "{\"type\": \"yarn\", " members "}"

static const struct edit edits[] = {
    { "nano-r1", "rope_theta", "20000", "rope_theta", "20000", "10000" },
    { "nano-r1", "rms_norm_eps", "1e-5", "rms_norm_eps", "1e-05", "1e-06" },
    { "nano-r1", "num_hidden_layers", "2", "num_hidden_layers", "2", "3" },
    { "nano-r1", "vocab_size", "2000", "vocab_size", "2000", "2048" },
    { "nano-r1", "tie_word_embeddings", "true", "tie_word_embeddings", "true", "false" },
    { "nano-r1", "kv_lora_rank", "32", "kv_lora_rank", "32", "64" },
    { "nano-r1", "qk_nope_head_dim", "64", "qk_nope_head_dim", "64", "32" },
    { "nano-r1", "rope_scaling", "null", "rope_scaling.type", "none", "yarn" },
    { "nano-r1", "rope_scaling",
      YARN("\"factor\": 40, \"mscale\": 1, \"original_max_position_embeddings\": 4096"),
      "rope_scaling.mscale_all_dim", "0", "1" },
    { "nano-r1", "rope_scaling",
      YARN("\"factor\": 40, \"mscale\": 0.5, \"mscale_all_dim\": 1, "
           "\"original_max_position_embeddings\": 4096"),
      "rope_scaling.mscale", "0.5", "1" },
    { "nano-r1", "rope_scaling",
      YARN("\"factor\": 4, \"mscale_all_dim\": 1, \"original_max_position_embeddings\": 4096"),
      "rope_scaling.factor", "4", "40" },
    { "nano-r1", "rope_scaling",
      YARN("\"factor\": 40, \"mscale_all_dim\": 1, \"original_max_position_embeddings\": 8192"),
      "rope_scaling.original_max_position_embeddings", "8192", "4096" },
    { "nano-r1", "scoring_func", "\"softmax\"", "scoring_func", "softmax", "sigmoid" },
    { "nano-r1", "topk_group", "1", "topk_group", "1", "2" },
    { "nano-r1", "n_group", "2", "n_group", "2", "4" },
    { "nano-r1", "num_experts_per_tok", "1", "num_experts_per_tok", "1", "2" },
    { "nano-r1", "routed_scaling_factor", "1", "routed_scaling_factor", "1", "2.5" },
    { "nano-r1", "norm_topk_prob", "false", "norm_topk_prob", "false", "true" },
    { "nano-r1", "n_shared_experts", "2", "n_shared_experts", "2", "1" },
    { "nano-r1", "first_k_dense_replace", "2", "first_k_dense_replace", "2", "1" },
    { "toy-qwen2", "num_key_value_heads", "1", "num_key_value_heads", "1", "2" },
    { "toy-llama", "rope_parameters",
      "{\"rope_type\": \"llama3\", \"rope_theta\": 500000, \"factor\": 8, \"low_freq_factor\": 2, "
      "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 32}",
      "rope_scaling.low_freq_factor", "2", "1" },
};

static void every_difference_is_named_with_both_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(edits) / sizeof(*edits); i++) {
        const struct edit *e = &edits[i];
        bl_config_difference d[BL_CONFIG_MAX_DIFFERENCES];
        const bl_config reference = config_with(e->model, NULL, NULL);
        const bl_config test = config_with(e->model, e->key, e->value);
        size_t n = bl_config_compare(d, &test, &reference);

        if (n != 1)
            fail_msg("%s = %s: %zu differences", e->key, e->value, n);
        assert_string_equal(d[0].field, e->field);
        assert_string_equal(d[0].test, e->test);
        assert_string_equal(d[0].reference, e->reference);
    }
}

/* A GGUF file has divisors where config.json has the parameters that they follow from. */
static void divisors_are_compared_with_what_they_follow_from(void **state)
{
    static const float right[] = { 1, 8 }, wrong[] = { 1, 4 };
    bl_config_difference d[BL_CONFIG_MAX_DIFFERENCES];
    const bl_config reference = config_with("toy-llama", NULL, NULL);
    const bl_config plain = config_with("toy-llama", "rope_parameters", "null");
    bl_config test = reference;

    (void)state;
    test.rope_scaling = BL_ROPE_DIVISORS;
    test.rope_divisors = right;
    assert_int_equal(bl_config_compare(d, &test, &reference), 0);
    assert_int_equal(bl_config_compare(d, &reference, &test), 0);
    test.rope_divisors = wrong;
    assert_int_equal(bl_config_compare(d, &test, &reference), 1);
    assert_string_equal(d[0].field, "rope_scaling");
    assert_string_equal(d[0].test, "4 for pair 1");
    assert_string_equal(d[0].reference, "8 for pair 1");
    test.rope_theta = plain.rope_theta;
    assert_int_equal(bl_config_compare(d, &plain, &test), 1);
    assert_string_equal(d[0].test, "1 for pair 1");
}

static void the_choice_without_groups_differs_in_the_method_and_the_groups(void **state)
{
    bl_config_difference d[BL_CONFIG_MAX_DIFFERENCES];
    const bl_config reference = config_with("nano-r1", NULL, NULL);
    const bl_config test = config_with("nano-r1", "topk_method", "\"greedy\"");

    (void)state;
    assert_int_equal(bl_config_compare(d, &test, &reference), 3);
    assert_string_equal(d[0].field, "topk_method");
    assert_string_equal(d[0].test, "greedy");
    assert_string_equal(d[0].reference, "noaux_tc");
    assert_string_equal(d[1].field, "n_group");
    assert_string_equal(d[2].field, "topk_group");
}

static void what_changes_no_result_is_no_difference(void **state)
{
    static const struct {
        const char *key, *value;
    } same[] = {
        { "bos_token_id", "5" },
        { "eos_token_id", "[1, 2]" },
        { "max_position_embeddings", "4096" },
        { "num_nextn_predict_layers", "0" },
        { "quantization_config", NULL },
        { "num_key_value_heads", "1" },                   /* latent attention has none */
        { "rms_norm_eps", "9.99999997475242707878e-07" }, /* what is left of 1e-6 in F32 */
    };
    bl_config_difference d[BL_CONFIG_MAX_DIFFERENCES];
    const bl_config reference = config_with("nano-r1", NULL, NULL);
    bl_config all = config_with("nano-r1", "topk_group", "4"), one = all;

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++) {
        const bl_config test = config_with("nano-r1", same[i].key, same[i].value);

        if (bl_config_compare(d, &test, &reference) != 0)
            fail_msg("%s: %s is %s", same[i].key, d[0].field, d[0].test);
    }
    one.n_group = one.topk_group = 1;
    assert_int_equal(bl_config_compare(d, &all, &one), 0);
    assert_int_equal(bl_config_compare(d, &one, &all), 0);
}

static void families_are_not_compared_further(void **state)
{
    bl_config_difference d[BL_CONFIG_MAX_DIFFERENCES];
    const bl_config a = config_with("toy-llama", NULL, NULL);
    const bl_config b = config_with("nano-r1", NULL, NULL);

    (void)state;
    assert_int_equal(bl_config_compare(d, &a, &b), 1);
    assert_string_equal(d[0].field, "model_type");
    assert_string_equal(d[0].test, "llama");
    assert_string_equal(d[0].reference, "deepseek_v3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_difference_is_named_with_both_values),
        cmocka_unit_test(divisors_are_compared_with_what_they_follow_from),
        cmocka_unit_test(the_choice_without_groups_differs_in_the_method_and_the_groups),
        cmocka_unit_test(what_changes_no_result_is_no_difference),
        cmocka_unit_test(families_are_not_compared_further),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
