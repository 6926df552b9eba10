/*
 * test_identity.c - one model has one identity, in every container and layout; another value of a
 * norm or a router, or another shape of the network, has another.
 */
#include "base/alloc.h"
#include "convert/archive.h"
#include "convert/cast.h"
#include "convert/plan.h"
#include "convert/write.h"
#include "formats/ckpt/identity.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../scratch.h"

static bl_ckpt *open_model(const char *path)
{
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;

    if (bl_ckpt_open(&ckpt, path, &err) != BL_OK)
        fail_msg("%s", err.text);
    return ckpt;
}

static bl_hash128 identity_of(const char *path)
{
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = open_model(path);
    bl_hash128 hash = { 0 };

    if (bl_ckpt_identity(&hash, ckpt, &err) != BL_OK)
        fail_msg("%s", err.text);
    bl_ckpt_close(ckpt);
    return hash;
}

static void assert_identity(const char *path, const char *hex)
{
    const bl_hash128 hash = identity_of(path);
    char got[33];

    snprintf(got, sizeof(got), "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
    assert_string_equal(got, hex);
}

/* Printed by tests/oracle/identity.py. */
static void is_what_independent_code_computes(void **state)
{
    (void)state;
    assert_identity("data/nano-r1", "4fda22abf947793a8c05c26db89aaf1d");
    assert_identity("data/toy-mla", "ef73670b15de8f11926fb76d3a754f38");
    assert_identity("data/toy-llama", "ef2f657ee5223b1339259844f67ed5d9");
    assert_identity("data/toy-qwen2", "8dedc2a96c3a17a0eed46955ddb2cea3");
}

/* The GGUF files were written by other code: permuted q and k, k_b and v_b split, or kv_b whole. */
static void is_the_same_in_a_gguf_of_any_layout(void **state)
{
    static const char *const pair[][2] = { { "data/toy-mla", "data/gguf/toy-mla.gguf" },
                                           { "data/toy-mla", "data/gguf/toy-mla-whole.gguf" },
                                           { "data/toy-llama", "data/gguf/toy-llama.gguf" },
                                           { "data/toy-qwen2", "data/gguf/toy-qwen2.gguf" } };

    (void)state;
    for (size_t i = 0; i < sizeof(pair) / sizeof(*pair); i++)
        assert_true(bl_hash128_equal(identity_of(pair[i][0]), identity_of(pair[i][1])));
}

static const bl_encoder *choose_f32(const void *context, const bl_choice *choice)
{
    (void)context;
    (void)choice;
    return bl_cast_encoder(BL_F32);
}

static const bl_encoder *choose_bf16(const void *context, const bl_choice *choice)
{
    (void)context;
    return bl_cast_encoder(choice->ndim == 1 ? BL_F32 : BL_BF16);
}

static void write_gguf(const char *path, const bl_ckpt *ckpt, bl_choose_fn choose)
{
    const bl_write_options options = { .n_threads = 1, .label = "test" };
    struct bl_err err = { 0 };
    bl_plan plan = { 0 };
    bl_status rc = bl_plan_gguf(&plan, ckpt, choose, NULL, &err);

    if (rc == BL_OK)
        rc = bl_write_gguf(path, ckpt, &plan, BL_GGUF_FILE_F32, &options, &err);
    if (rc != BL_OK)
        fail_msg("%s", err.text);
    bl_plan_release(&plan);
}

static void is_the_same_in_an_archive_and_in_our_gguf(void **state)
{
    const bl_archive_options options = { .n_threads = 1 };
    bl_ckpt *ckpt = open_model("data/nano-r1");
    const bl_hash128 hash = identity_of("data/nano-r1");
    char path[3][128];
    struct bl_err err = { 0 };

    (void)state;
    snprintf(path[0], sizeof(path[0]), "%s/x.bln", scratch_folder);
    snprintf(path[1], sizeof(path[1]), "%s/f32.gguf", scratch_folder);
    snprintf(path[2], sizeof(path[2]), "%s/bf16.gguf", scratch_folder);
    if (bl_archive_store(bl_ckpt_container(ckpt), path[0], &options, &err) != BL_OK)
        fail_msg("%s", err.text);
    write_gguf(path[1], ckpt, choose_f32);
    write_gguf(path[2], ckpt, choose_bf16);
    bl_ckpt_close(ckpt);
    for (int i = 0; i < 3; i++)
        assert_true(bl_hash128_equal(identity_of(path[i]), hash));
}

/* A copy of toy-mla with `n` bytes at the first place of `from` in one of its files replaced. */
static bl_hash128 identity_of_changed(const char *file, long at, const void *to, size_t n)
{
    static const char *const files[] = { "config.json", "model.safetensors" };
    char from[64], copy[256], folder[128];
    bl_hash128 hash;

    snprintf(folder, sizeof(folder), "%s/changed", scratch_folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    for (int i = 0; i < 2; i++) {
        static unsigned char bytes[1 << 20];
        size_t n_bytes;
        FILE *f;

        snprintf(from, sizeof(from), "data/toy-mla/%s", files[i]);
        snprintf(copy, sizeof(copy), "%s/%s", folder, files[i]);
        f = fopen(from, "rb");
        assert_non_null(f);
        n_bytes = fread(bytes, 1, sizeof(bytes), f);
        fclose(f);
        if (strcmp(files[i], file) == 0)
            memcpy(bytes + at, to, n);
        scratch_write(copy, bytes, n_bytes);
    }
    hash = identity_of(folder);
    scratch_remove(folder);
    return hash;
}

/* Where the data of a stored tensor begins, in the one shard of toy-mla. */
static long offset_of(const char *name)
{
    bl_ckpt *ckpt = open_model("data/toy-mla");
    const bl_container *c = bl_ckpt_container(ckpt);
    size_t i = 0;
    long at;

    assert_true(bl_container_find(&i, c, name));
    at = (long)c->stored[i].offset;
    bl_ckpt_close(ckpt);
    return at;
}

static void changes_with_a_norm_a_router_or_its_bias_and_not_with_what_is_quantized(void **state)
{
    const bl_hash128 hash = identity_of("data/toy-mla");
    static const char *const parts[] = { "model.norm.weight", "model.layers.1.mlp.gate.weight",
                                         "model.layers.1.mlp.gate.e_score_correction_bias",
                                         "model.layers.0.self_attn.kv_a_layernorm.weight" };
    static const char *const others[] = { "model.layers.0.self_attn.o_proj.weight",
                                          "model.layers.1.mlp.experts.3.up_proj.weight",
                                          "model.embed_tokens.weight" };
    const float value = 0.75f;

    (void)state;
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        assert_false(bl_hash128_equal(
            identity_of_changed("model.safetensors", offset_of(parts[i]), &value, 4), hash));
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        assert_true(bl_hash128_equal(
            identity_of_changed("model.safetensors", offset_of(others[i]), &value, 4), hash));
}

static void an_allocation_that_fails_is_said(void **state)
{
    bl_ckpt *ckpt = open_model("data/toy-mla");
    const int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;
    bl_hash128 hash;

    (void)state;
    for (uint64_t k = 1; rc != BL_OK; k++) {
        bl_alloc_fail_at(k);
        rc = bl_ckpt_identity(&hash, ckpt, NULL);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        assert_int_equal(bl_alloc_live(), live);
    }
    bl_ckpt_close(ckpt);
}

/* A folder for what is written, without going there. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_what_independent_code_computes),
        cmocka_unit_test(is_the_same_in_a_gguf_of_any_layout),
        cmocka_unit_test(is_the_same_in_an_archive_and_in_our_gguf),
        cmocka_unit_test(changes_with_a_norm_a_router_or_its_bias_and_not_with_what_is_quantized),
        cmocka_unit_test(an_allocation_that_fails_is_said),
    };

    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
