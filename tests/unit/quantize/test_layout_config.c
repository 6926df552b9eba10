/*
 * test_layout_config.c - what a folder of each layout says of itself: config.json and Ascend's
 * description, what is listed as plain, what is refused, and what a source was before.
 */
#include "convert/cast.h"
#include "formats/gguf/gguf_reader.h"
#include "quantize/policy.h"

#include "layout_folders.h"

/* A folder in BF16, as a source that is not FP8. */
static const bl_encoder *all_bf16(const void *context, const bl_choice *choice)
{
    (void)context, (void)choice;
    return bl_cast_encoder(BL_BF16);
}

static void make_bf16(const char *path)
{
    const bl_write_options options = { .n_threads = 1, .label = "test" };
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = open_model(model);
    bl_plan plan = { 0 };

    assert_int_equal(bl_plan_folder(&plan, ckpt, all_bf16, NULL, &err), BL_OK);
    assert_int_equal(bl_write_folder(path, ckpt, &plan,
                                     &(bl_folder_text){ .torch_dtype = "bfloat16" }, &options,
                                     &err),
                     BL_OK);
    bl_plan_release(&plan);
    bl_ckpt_close(ckpt);
}

static void check_powers_of_two(const bl_container *c)
{
    size_t n_scales = 0;

    for (size_t i = 0; i < c->n_stored; i++) {
        size_t n;
        uint32_t *bits;

        if (!strstr(c->stored[i].name, "weight_scale_inv"))
            continue;
        bits = stored_bytes(&n, c, c->stored[i].name);
        for (size_t k = 0; k < n / 4; k++, n_scales++)
            assert_int_equal(bits[k] & 0x807fffffu, 0);
        bl_free(bits);
    }
    assert_true(n_scales > 100);
}

static void fp8_of_bf16_says_what_it_is(void **state)
{
    const bl_layout_options fp8 = { .layout = "fp8" }, ue8m0 = { .layout = "fp8-ue8m0" };
    bl_ckpt *a, *b;
    char *config;

    (void)state;
    make_bf16("bf16");
    make("fp8", "bf16", &fp8);
    config = read_file("fp8/config.json");
    assert_non_null(strstr(config, "\"quant_method\": \"fp8\""));
    assert_non_null(strstr(config, "\"weight_block_size\": [128, 128]"));
    assert_non_null(strstr(config, "\"modules_to_not_convert\": [\"lm_head\"]"));
    assert_null(strstr(config, "scale_fmt"));
    bl_free(config);
    make("ue8m0", "bf16", &ue8m0);
    config = read_file("ue8m0/config.json");
    assert_non_null(strstr(config, "\"scale_fmt\": \"ue8m0\""));
    bl_free(config);
    a = open_model("ue8m0");
    check_powers_of_two(bl_ckpt_container(a));
    /* once there, kept by either name */
    make("again", "ue8m0", &ue8m0);
    b = open_model("again");
    check_same_data(bl_ckpt_container(a), bl_ckpt_container(b));
    bl_ckpt_close(b);
    make("same", "ue8m0", &fp8);
    b = open_model("same");
    check_same_data(bl_ckpt_container(a), bl_ckpt_container(b));
    bl_ckpt_close(b);
    config = read_file("same/config.json");
    assert_non_null(strstr(config, "\"scale_fmt\": \"ue8m0\""));
    bl_free(config);
    bl_ckpt_close(a);
}

static void configurations_say_what_loaders_read(void **state)
{
    static const bl_layout_options int8 = { .type = "int8" }, ascend = { .layout = "ascend" },
                                   gptq = { .layout = "gptq" }, awq = { .layout = "awq" },
                                   zero = { .type = "int4", .group_size = 64, .asymmetric = true };
    char *text;

    (void)state;
    make("int8", model, &int8);
    says_words("int8/config.json",
               (const char *[]){ "\"format\": \"int-quantized\"", "\"strategy\": \"channel\"",
                                 "\"strategy\": \"token\"", "\"dynamic\": true",
                                 "\"re:.*mlp\\\\.gate$\"", "\"lm_head\"", NULL });
    make("ascend", model, &ascend);
    text = read_file("ascend/config.json");
    assert_null(strstr(text, "quantization_config"));
    bl_free(text);
    says_words("ascend/" BL_ASCEND_DESCRIPTION,
               (const char *[]){
                   "\"model_quant_type\": \"W8A8_DYNAMIC\"",
                   "\"model.layers.1.mlp.gate.weight\": \"FLOAT\"",
                   "\"model.layers.1.self_attn.kv_b_proj.weight\": \"FLOAT\"",
                   "\"model.layers.1.self_attn.o_proj.weight_offset\": \"W8A8_DYNAMIC\"",
                   "\"model.layers.3.mlp.experts.7.up_proj.weight\": \"W8A8_DYNAMIC\"", NULL });
    /* 64 columns of kv_b are no group of 128 */
    make("gptq", model, &gptq);
    says_words("gptq/config.json",
               (const char *[]){ "\"quant_method\": \"gptq\"", "\"sym\": true",
                                 "\"desc_act\": false", "\"checkpoint_format\": \"gptq\"",
                                 "\"-:.*self_attn\\\\.kv_b_proj$\"", "float16", NULL });
    make("awq", model, &awq);
    says_words("awq/config.json",
               (const char *[]){ "\"version\": \"gemm\"", "\"zero_point\": true",
                                 "\"self_attn.kv_b_proj\"", "\"lm_head\"", NULL });
    text = read_file("awq/config.json");
    assert_null(strstr(text, "\"mlp.gate\"")); /* would be found in mlp.gate_proj */
    bl_free(text);
    make("zero", model, &zero);
    says_words("zero/config.json",
               (const char *[]){ "\"symmetric\": false", "\"group_size\": 64", NULL });
}

/* What stays plain is excepted by name: experts whose columns are no groups, one by one for AWQ. */
static void lists_what_a_group_size_leaves_out(void **state)
{
    static const bl_layout_options awq = { .layout = "awq" }, ct = { .type = "int4" };
    char *config, edited[PATH_MAX + 16];
    struct bl_err err = { 0 };
    bl_folder_layout layout;
    bl_json *json = NULL;
    bl_text text = { 0 };
    bl_config c;

    (void)state;
    snprintf(edited, sizeof(edited), "%s/config.json", model);
    config = read_file(edited);
    assert_int_equal(bl_json_parse(&json, "config", config, strlen(config), 0, &err), BL_OK);
    assert_int_equal(bl_config_parse(&c, "config", json, &err), BL_OK);
    bl_json_free(json);
    bl_free(config);
    c.moe_intermediate_size = 192;
    assert_int_equal(bl_layout_resolve(&layout, &awq, &err), BL_OK);
    assert_int_equal(bl_layout_config(&text, &layout, &c, &err), BL_OK);
    assert_non_null(strstr(text.bytes, "\"mlp.experts.0.down_proj\""));
    assert_non_null(strstr(text.bytes, "\"mlp.experts.7.down_proj\""));
    assert_null(strstr(text.bytes, "\"mlp.experts.8.down_proj\""));
    assert_null(strstr(text.bytes, "up_proj"));
    bl_text_release(&text);
    assert_int_equal(bl_layout_resolve(&layout, &ct, &err), BL_OK);
    assert_int_equal(bl_layout_config(&text, &layout, &c, &err), BL_OK);
    assert_non_null(strstr(text.bytes, "\"re:.*mlp\\\\.experts\\\\.\\\\d+\\\\.down_proj$\""));
    bl_text_release(&text);
}

static void refuses_what_does_not_fit_together(void **state)
{
    static const struct {
        bl_layout_options wanted;
        const char *said;
    } bad[] = {
        { { .layout = "zip" }, "not 'zip'" },
        { { .layout = "fp8", .type = "int4" }, "does not hold --type int4" },
        { { .layout = "ascend", .type = "int4" }, "does not hold" },
        { { .layout = "fp8", .group_size = 64 }, "are for int4" },
        { { .type = "int8", .asymmetric = true }, "are for int4" },
        { { .type = "int4", .group_size = 100 }, "32, 64 or 128" },
        { { .type = "int4", .group_size = UINT64_MAX }, "32, 64 or 128" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct bl_err err = { 0 };
        bl_folder_layout layout;

        assert_int_equal(bl_layout_resolve(&layout, &bad[i].wanted, &err), BL_E_USAGE);
        if (!strstr(err.text, bad[i].said))
            fail_msg("'%s' does not say '%s'", err.text, bad[i].said);
    }
}

static bl_status write_gguf(const char *path, const char *source, bool requantize,
                            struct bl_err *err)
{
    bl_policy policy = { .recipe = bl_recipe_by_name("q8_0"), .method = BL_METHOD_PLAIN };
    bl_write_options options = { .n_threads = 1, .label = "test" };
    bl_ckpt *ckpt = open_model(source);
    bl_plan plan = { 0 };
    bl_text from = { 0 };
    bl_status rc = bl_requantize_check(&from, ckpt, requantize, err);

    policy.config = bl_ckpt_config(ckpt);
    options.requantized_from = from.bytes;
    if (rc == BL_OK)
        rc = bl_plan_gguf(&plan, ckpt, bl_policy_choose, &policy, err);
    if (rc == BL_OK)
        rc = bl_write_gguf(path, ckpt, &plan, BL_GGUF_FILE_Q8_0, &options, err);
    bl_text_release(&from);
    bl_plan_release(&plan);
    bl_ckpt_close(ckpt);
    return rc;
}

static void check_gguf_says(const char *path, const char *said)
{
    struct bl_err err = { 0 };
    bl_container *gguf = NULL;
    const bl_gguf_kv *kv;
    bl_gguf_string s;

    assert_int_equal(bl_gguf_open(&gguf, path, &err), BL_OK);
    kv = bl_gguf_find(bl_gguf_meta_of(gguf), "baleen.requantized_from");
    assert_true((kv != NULL) == (said != NULL));
    if (kv && said) {
        assert_int_equal(bl_gguf_kv_string(&s, kv, &err), BL_OK);
        assert_int_equal(s.n, strlen(said));
        assert_memory_equal(s.bytes, said, s.n);
    }
    bl_container_close(gguf);
}

static void lossy_on_lossy_is_asked_for_and_recorded(void **state)
{
    const bl_layout_options int4 = { .type = "int4" }, int8 = { .type = "int8" },
                            awq = { .layout = "awq", .group_size = 32 };
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(write_gguf("original.gguf", model, false, &err), BL_OK);
    check_gguf_says("original.gguf", NULL);
    make("int4", model, &int4);
    assert_int_equal(write_layout("x", "int4", &int8, false, &err), BL_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "already quantized (int4 g128)"));
    assert_non_null(strstr(err.text, "--requantize"));
    assert_false(scratch_exists("x"));
    assert_int_equal(write_layout("int8", "int4", &int8, true, &err), BL_OK);
    says_words("int8/config.json", (const char *[]){ "\"requantized_from\": \"int4 g128\"", NULL });
    /* int8 is no original either, and what it came from is not forgotten */
    assert_int_equal(write_layout("x", "int8", &awq, false, &err), BL_E_UNSUPPORTED);
    assert_int_equal(write_layout("awq", "int8", &awq, true, &err), BL_OK);
    says_words("awq/config.json",
               (const char *[]){ "\"requantized_from\": \"int4 g128, int8 by row\"", NULL });
    assert_int_equal(write_gguf("x.gguf", "awq", false, &err), BL_E_UNSUPPORTED);
    assert_int_equal(write_gguf("x.gguf", "awq", true, &err), BL_OK);
    check_gguf_says("x.gguf", "int4 g128, int8 by row, AWQ int4 g32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(fp8_of_bf16_says_what_it_is, scratch_clear),
        cmocka_unit_test_teardown(configurations_say_what_loaders_read, scratch_clear),
        cmocka_unit_test(lists_what_a_group_size_leaves_out),
        cmocka_unit_test(refuses_what_does_not_fit_together),
        cmocka_unit_test_teardown(lossy_on_lossy_is_asked_for_and_recorded, scratch_clear),
    };

    return cmocka_run_group_tests(tests, enter, scratch_leave);
}
