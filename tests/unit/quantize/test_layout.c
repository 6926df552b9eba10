/*
 * test_layout.c - nano-r1 driven into every folder layout, opened again: which parts there are, what
 * they decode to, what config.json says, and what happens when memory ends on the way. Its many
 * lines share what writes and compares folders.
 */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/source.h"
#include "convert/archive.h"
#include "convert/cast.h"
#include "formats/bln/bln_reader.h"
#include "formats/ckpt/ckpt.h"
#include "formats/dtype/float_bits.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/hf/hf_dir.h"
#include "quantize/layout.h"
#include "quantize/policy.h"
#include "quantize/requantize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../scratch.h"

#include <limits.h>

static char model[PATH_MAX];

static int enter(void **state)
{
    return realpath("data/nano-r1", model) ? scratch_enter(state) : -1;
}

static bl_status write_layout(const char *path, const char *source, const bl_layout_options *wanted,
                              bool requantize, struct bl_err *err)
{
    bl_write_options options = { .n_threads = 1, .label = "test", .shard_size = 3000000 };
    bl_folder_layout layout;
    bl_ckpt *ckpt = NULL;
    bl_plan plan = { 0 };
    bl_text from = { 0 };
    bl_status rc = bl_layout_resolve(&layout, wanted, err);

    if (rc == BL_OK)
        rc = bl_ckpt_open(&ckpt, source, err);
    if (rc == BL_OK)
        rc = bl_requantize_check(&from, ckpt, requantize, err);
    options.requantized_from = from.bytes;
    if (rc == BL_OK)
        rc = bl_layout_plan(&plan, ckpt, &layout, err);
    if (rc == BL_OK)
        rc = bl_layout_write(path, ckpt, &plan, &layout, &options, err);
    bl_text_release(&from);
    bl_plan_release(&plan);
    bl_ckpt_close(ckpt);
    return rc;
}

static void make(const char *path, const char *source, const bl_layout_options *wanted)
{
    struct bl_err err = { 0 };

    if (write_layout(path, source, wanted, false, &err) != BL_OK)
        fail_msg("%s", err.text);
}

static bl_ckpt *open_model(const char *path)
{
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;

    if (bl_ckpt_open(&ckpt, path, &err) != BL_OK)
        fail_msg("%s", err.text);
    return ckpt;
}

static char *read_file(const char *path)
{
    struct bl_err err = { 0 };
    char *text = NULL;

    if (bl_source_read_file(&text, NULL, path, 1 << 26, &err) != BL_OK)
        fail_msg("%s", err.text);
    return text;
}

static float *values_of(const bl_ckpt *ckpt, const bl_tensor *t)
{
    struct bl_err err = { 0 };
    float *x = bl_alloc((size_t)t->n_values, sizeof(*x));

    assert_non_null(x);
    if (bl_ckpt_read_rows(ckpt, t, 0, t->n_rows, x, &err) != BL_OK)
        fail_msg("%s", err.text);
    return x;
}

static double relative_error(const float *y, const float *x, size_t n)
{
    double error = 0, power = 0;

    for (size_t i = 0; i < n; i++) {
        error += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        power += (double)x[i] * (double)x[i];
    }
    return power > 0 ? error / power : 0;
}

/* XXH3-128 of the data of all stored tensors, in file order; its lower half. */
static uint64_t hash_of_data(const bl_container *c)
{
    struct bl_err err = { 0 };
    bl_hasher *hasher = NULL;
    uint64_t hash;

    assert_int_equal(bl_hasher_new(&hasher, &err), BL_OK);
    for (size_t i = 0; i < c->n_stored; i++) {
        size_t n = (size_t)c->stored[i].n_bytes;
        void *bytes = bl_alloc(n, 1);

        assert_int_equal(bl_container_read(c, i, 0, bytes, n, &err), BL_OK);
        bl_hasher_add(hasher, bytes, n);
        bl_free(bytes);
    }
    hash = bl_hasher_digest(hasher).low;
    bl_hasher_free(hasher);
    return hash;
}

/*
 * The layouts by the plain method, where their bytes follow from definitions alone:
 * tests/interop/layouts.py has found exactly these bytes equal to those of independent code. Whoever
 * changes a hash runs it first.
 */
static const struct expected {
    bl_layout_options wanted;
    bl_coding coding;
    double most; /* relative squared error of a matrix */
    uint64_t hash;
} layouts[] = {
    { { "fp8", NULL, 0, false, BL_METHOD_PLAIN }, BL_CODING_FP8_BLOCK, 0, 0x1705fb8e1f872922u },
    { { "fp8-ue8m0", NULL, 0, false, BL_METHOD_PLAIN },
      BL_CODING_FP8_BLOCK,
      1.5e-3,
      0xe6ae49c6865f8490u },
    { { NULL, "int4", 32, false, BL_METHOD_PLAIN },
      BL_CODING_INT4_GROUP,
      1.5e-2,
      0x93815c6f18322dbeu },
    { { NULL, "int4", 64, true, BL_METHOD_PLAIN },
      BL_CODING_INT4_GROUP,
      1.5e-2,
      0x6224c86ddfc33acdu },
    { { NULL, "int8", 0, false, BL_METHOD_PLAIN }, BL_CODING_INT8_ROW, 1e-4, 0xcdcc0646f2160701u },
    { { "ascend", NULL, 0, false, BL_METHOD_PLAIN },
      BL_CODING_INT8_ROW,
      1e-4,
      0x349f8b602391175bu },
    { { "gptq", NULL, 64, false, BL_METHOD_PLAIN }, BL_CODING_GPTQ, 2e-2, 0xe9d525cea7b238abu },
    { { "gptq", NULL, 32, true, BL_METHOD_PLAIN }, BL_CODING_GPTQ, 1.5e-2, 0xa5890fce43981589u },
    { { "awq", NULL, 64, false, BL_METHOD_PLAIN }, BL_CODING_AWQ, 1.5e-2, 0xb4baa56c8890f98cu },
};

enum { N_LAYOUTS = sizeof(layouts) / sizeof(*layouts) };

static bool is_linear(const bl_tensor *t)
{
    return t->ndim == 2 && (t->role == BL_ROLE_ATTENTION || t->role == BL_ROLE_DENSE_MLP ||
                            t->role == BL_ROLE_EXPERT || t->role == BL_ROLE_SHARED_EXPERT);
}

static void check_tensor(const bl_ckpt *source, const bl_tensor *a, const bl_ckpt *out,
                         const struct expected *e)
{
    const bl_tensor *b = bl_ckpt_find(out, a->name);
    const bool kv_b = strstr(a->name, "kv_b_proj") != NULL;
    const bool is_float =
        !is_linear(a) || (kv_b && e->wanted.layout && strcmp(e->wanted.layout, "ascend") == 0);
    float *x, *y;
    double error;

    if (!b)
        fail_msg("%s is missing", a->name);
    assert_int_equal(bl_ckpt_parts(out, b)->coding, is_float ? BL_CODING_PLAIN : e->coding);
    x = values_of(source, a);
    y = values_of(out, b);
    error = relative_error(y, x, (size_t)a->n_values);
    if (error > (is_linear(a) ? e->most : 0) || (error == 0 && is_linear(a) && e->most > 0))
        fail_msg("%s in %s: relative error %g", a->name, e->wanted.layout, error);
    bl_free(x);
    bl_free(y);
}

static void every_layout_holds_the_model_and_the_expected_bytes(void **state)
{
    bl_ckpt *source = open_model(model);

    (void)state;
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        bl_ckpt *out;
        uint64_t hash;

        make("out", model, &layouts[i].wanted);
        out = open_model("out");
        assert_true(bl_ckpt_container(out)->n_shards > 1);
        assert_int_equal(bl_ckpt_n_tensors(out), bl_ckpt_n_tensors(source));
        for (size_t k = 0; k < bl_ckpt_n_tensors(source); k++)
            check_tensor(source, bl_ckpt_tensor(source, k), out, &layouts[i]);
        hash = hash_of_data(bl_ckpt_container(out));
        if (hash != layouts[i].hash)
            fail_msg("layout %zu: 0x%016llxu", i, (unsigned long long)hash);
        bl_ckpt_close(out);
        scratch_remove("out");
    }
    bl_ckpt_close(source);
}

/* The stored tensor of this name, whole. */
static void *stored_bytes(size_t *n, const bl_container *c, const char *name)
{
    struct bl_err err = { 0 };
    size_t i;
    void *bytes;

    if (!bl_container_find(&i, c, name))
        fail_msg("%s is missing", name);
    *n = (size_t)c->stored[i].n_bytes;
    bytes = bl_alloc(*n, 1);
    assert_non_null(bytes);
    assert_int_equal(bl_container_read(c, i, 0, bytes, *n, &err), BL_OK);
    return bytes;
}

static void check_same_data(const bl_container *a, const bl_container *b)
{
    assert_int_equal(a->n_stored, b->n_stored);
    for (size_t i = 0; i < a->n_stored; i++) {
        size_t n_x, n_y;
        void *x = stored_bytes(&n_x, a, a->stored[i].name);
        void *y = stored_bytes(&n_y, b, a->stored[i].name);

        assert_int_equal(n_x, n_y);
        assert_memory_equal(x, y, n_x);
        bl_free(x);
        bl_free(y);
    }
}

/* kv_b included: every stored byte of an FP8 source is there again. */
static void fp8_of_fp8_is_the_same_to_the_bit(void **state)
{
    const bl_layout_options fp8 = { .layout = "fp8", .method = BL_METHOD_SEARCH };
    bl_ckpt *a, *b;
    char path[PATH_MAX + 16], *config, *config_out;

    (void)state;
    make("fp8", model, &fp8);
    a = open_model(model);
    b = open_model("fp8");
    check_same_data(bl_ckpt_container(a), bl_ckpt_container(b));
    snprintf(path, sizeof(path), "%s/config.json", model);
    config = read_file(path);
    config_out = read_file("fp8/config.json");
    assert_string_equal(config, config_out);
    bl_free(config);
    bl_free(config_out);
    bl_ckpt_close(a);
    bl_ckpt_close(b);
}

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

/* Where codes and scales are the same, three layouts decode to the same values. */
static void layouts_of_the_same_codes_decode_alike(void **state)
{
    static const bl_layout_options pairs[2][2] = {
        { { NULL, "int4", 32, false, BL_METHOD_PLAIN },
          { "gptq", NULL, 32, false, BL_METHOD_PLAIN } },
        { { NULL, "int4", 32, true, BL_METHOD_PLAIN }, { "awq", NULL, 32, true, BL_METHOD_PLAIN } },
    };

    (void)state;
    for (int i = 0; i < 2; i++) {
        bl_ckpt *a, *b;

        make("a", model, &pairs[i][0]);
        make("b", model, &pairs[i][1]);
        a = open_model("a");
        b = open_model("b");
        for (size_t k = 0; k < bl_ckpt_n_tensors(a); k++) {
            const bl_tensor *t = bl_ckpt_tensor(a, k), *u = bl_ckpt_find(b, t->name);
            float *x = values_of(a, t), *y = values_of(b, u);

            /* F16 has fewer exponents than BF16: scales below 2^-14 are rounded */
            assert_true(relative_error(y, x, (size_t)t->n_values) < 1e-9);
            bl_free(x);
            bl_free(y);
        }
        bl_ckpt_close(a);
        bl_ckpt_close(b);
        scratch_remove("a");
        scratch_remove("b");
    }
}

static void says_words(const char *path, const char *const *words)
{
    char *text = read_file(path);

    for (; *words; words++)
        if (!strstr(text, *words))
            fail_msg("%s does not say %s", path, *words);
    bl_free(text);
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

static void archives_hold_every_layout(void **state)
{
    static const bl_layout_options some[] = {
        { .layout = "ascend" },
        { .layout = "awq", .group_size = 64 },
        { .type = "int4", .group_size = 32, .asymmetric = true },
        { .layout = "fp8-ue8m0" }
    };
    const bl_archive_options options = { .n_threads = 1 };

    (void)state;
    for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++) {
        struct bl_err err = { 0 };
        bl_container *c = NULL;
        bl_ckpt *a, *b;

        make("out", model, &some[i]);
        assert_int_equal(bl_hf_open(&c, "out", &err), BL_OK);
        if (bl_archive_store(c, "out.bln", &options, &err) != BL_OK)
            fail_msg("%s", err.text);
        bl_container_close(c);
        a = open_model("out");
        b = open_model("out.bln");
        for (size_t k = 0; k < bl_ckpt_n_tensors(a); k++) {
            const bl_tensor *t = bl_ckpt_tensor(a, k), *u = bl_ckpt_find(b, t->name);
            float *x = values_of(a, t), *y = values_of(b, u);

            assert_string_equal(t->type_name, u->type_name);
            assert_memory_equal(x, y, (size_t)t->n_values * sizeof(*x));
            bl_free(x);
            bl_free(y);
        }
        assert_int_equal(bl_archive_restore(bl_ckpt_container(b), "back", &options, &err), BL_OK);
        bl_ckpt_close(b);
        b = open_model("back");
        check_same_data(bl_ckpt_container(a), bl_ckpt_container(b));
        bl_ckpt_close(a);
        bl_ckpt_close(b);
        scratch_remove("out");
        scratch_remove("out.bln");
        scratch_remove("back");
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
    if (kv) {
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

/* Memory may end at any allocation: in ever larger steps, as there are thousands. */
static void leaves_no_folder_when_memory_ends(void **state)
{
    static const bl_layout_options some[] = { { .layout = "awq", .group_size = 64 },
                                              { .layout = "ascend" },
                                              { .layout = "fp8" } };
    const int64_t live = bl_alloc_live();

    (void)state;
    for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++)
        for (uint64_t k = 1;; k += 1 + k / 2) {
            struct bl_err err = { 0 };
            bl_status rc;

            bl_alloc_fail_at(k);
            rc = write_layout("x", model, &some[i], false, &err);
            bl_alloc_fail_at(0);
            assert_true(bl_alloc_live() == live);
            if (rc == BL_OK) {
                assert_true(k > 100);
                scratch_remove("x");
                break;
            }
            if (rc != BL_E_NOMEM)
                fail_msg("allocation %llu: status %d, %s", (unsigned long long)k, (int)rc,
                         err.text);
            assert_false(scratch_exists("x") || scratch_exists("x.partial"));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_layout_holds_the_model_and_the_expected_bytes,
                                  scratch_clear),
        cmocka_unit_test_teardown(fp8_of_fp8_is_the_same_to_the_bit, scratch_clear),
        cmocka_unit_test_teardown(fp8_of_bf16_says_what_it_is, scratch_clear),
        cmocka_unit_test_teardown(layouts_of_the_same_codes_decode_alike, scratch_clear),
        cmocka_unit_test_teardown(configurations_say_what_loaders_read, scratch_clear),
        cmocka_unit_test(lists_what_a_group_size_leaves_out),
        cmocka_unit_test(refuses_what_does_not_fit_together),
        cmocka_unit_test_teardown(archives_hold_every_layout, scratch_clear),
        cmocka_unit_test_teardown(lossy_on_lossy_is_asked_for_and_recorded, scratch_clear),
        cmocka_unit_test_teardown(leaves_no_folder_when_memory_ends, scratch_clear),
    };

    return cmocka_run_group_tests(tests, enter, scratch_leave);
}
