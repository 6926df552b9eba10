/*
 * test_quantize_model.c - nano-r1 driven through plan, pipeline and writer: what comes out, and
 * what happens when memory or the disk ends at any point on the way.
 */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/sink.h"
#include "base/source.h"
#include "convert/cast.h"
#include "convert/plan.h"
#include "convert/write.h"
#include "formats/ckpt/ckpt.h"
#include "formats/gguf/gguf_reader.h"
#include "quantize/layout.h"
#include "quantize/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../scratch.h"

#include <limits.h>

static char model[PATH_MAX], reference[PATH_MAX];

static int enter(void **state)
{
    if (!realpath("data/nano-r1", model) ||
        !realpath("data/reference/nano-r1.gguf.json", reference))
        return -1;
    return scratch_enter(state);
}

static bl_status write_gguf(const char *path, const char *type_name, int n_threads,
                            struct bl_err *err)
{
    /* the head by hand: independent code confirmed these bytes, and has no Q6_K */
    char head[] = "output.weight";
    bl_tensor_rule rule = { head, BL_Q8_0, false };
    const bl_tensor_rules rules = { &rule, 1 };
    bl_policy policy = { .recipe = bl_recipe_by_name(type_name),
                         .rules = &rules,
                         .method = BL_METHOD_PLAIN };
    const bl_write_options options = { .n_threads = n_threads, .label = "test" };
    bl_ckpt *ckpt = NULL;
    bl_plan plan = { 0 };
    bl_status rc = bl_ckpt_open(&ckpt, model, err);

    if (rc == BL_OK) {
        policy.config = bl_ckpt_config(ckpt);
        rc = bl_plan_gguf(&plan, ckpt, bl_policy_choose, &policy, err);
    }
    if (rc == BL_OK)
        rc = bl_write_gguf(path, ckpt, &plan, policy.recipe->file_type, &options, err);
    bl_plan_release(&plan);
    bl_ckpt_close(ckpt);
    return rc;
}

static bl_status write_int4(const char *path, struct bl_err *err)
{
    const bl_layout_options wanted = { .type = "int4", .method = BL_METHOD_PLAIN };
    const bl_write_options options = { .n_threads = 1, .label = "test", .shard_size = 3000000 };
    bl_folder_layout layout;
    bl_ckpt *ckpt = NULL;
    bl_plan plan = { 0 };
    bl_status rc = bl_layout_resolve(&layout, &wanted, err);

    if (rc == BL_OK)
        rc = bl_ckpt_open(&ckpt, model, err);
    if (rc == BL_OK)
        rc = bl_layout_plan(&plan, ckpt, &layout, err);
    if (rc == BL_OK)
        rc = bl_layout_write(path, ckpt, &plan, &layout, &options, err);
    bl_plan_release(&plan);
    bl_ckpt_close(ckpt);
    return rc;
}

static char *read_file(const char *path, size_t *n)
{
    bl_source *source = NULL;
    struct bl_err err = { 0 };
    char *bytes = NULL;

    if (bl_source_open(&source, path, &err) != BL_OK ||
        bl_source_read_all(&bytes, n, source, 1 << 26, &err) != BL_OK)
        fail_msg("%s", err.text);
    bl_source_close(source);
    return bytes;
}

static void writes_the_same_bytes_at_any_number_of_threads(void **state)
{
    struct bl_err err = { 0 };
    char *a, *b;
    size_t n_a, n_b;

    (void)state;
    assert_int_equal(write_gguf("a.gguf", "q4_0", 1, &err), BL_OK);
    assert_int_equal(write_gguf("b.gguf", "q4_0", 3, &err), BL_OK);
    a = read_file("a.gguf", &n_a);
    b = read_file("b.gguf", &n_b);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(a, b, n_a);
    bl_free(a);
    bl_free(b);
}

/* XXH3-128 of the data of all stored tensors, in file order; its lower half. */
static uint64_t hash_of_data(const char *path)
{
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;
    bl_hasher *hasher = NULL;
    const bl_container *c;
    uint64_t hash;

    if (bl_ckpt_open(&ckpt, path, &err) != BL_OK || bl_hasher_new(&hasher, &err) != BL_OK)
        fail_msg("%s", err.text);
    c = bl_ckpt_container(ckpt);
    for (size_t i = 0; i < c->n_stored; i++) {
        size_t n = (size_t)c->stored[i].n_bytes;
        void *bytes = bl_alloc(n, 1);

        assert_int_equal(bl_container_read(c, i, 0, bytes, n, &err), BL_OK);
        bl_hasher_add(hasher, bytes, n);
        bl_free(bytes);
    }
    hash = bl_hasher_digest(hasher).low;
    bl_hasher_free(hasher);
    bl_ckpt_close(ckpt);
    return hash;
}

/*
 * The contract of determinism: any compiler, CPU and number of threads. tests/interop/gguf_bytes.py
 * and int4_bytes.py have found exactly these bytes equal to numpy's, gguf's and compressed-tensors';
 * whoever changes a hash runs them first.
 */
static void writes_the_bytes_that_independent_code_confirmed(void **state)
{
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(write_gguf("q8.gguf", "q8_0", 2, &err), BL_OK);
    assert_int_equal(write_gguf("q4.gguf", "q4_0", 2, &err), BL_OK);
    assert_int_equal(write_int4("int4", &err), BL_OK);
    assert_true(hash_of_data("q8.gguf") == 0x31aef506d0a63306u);
    assert_true(hash_of_data("q4.gguf") == 0x917fefc89116758du);
    assert_true(hash_of_data("int4") == 0x1e09f71c42401a73u);
}

/* Value of a key as JSON would spell it; types as the reference names them. */
static void check_key(const bl_gguf_meta *meta, const bl_json_value *expected)
{
    const char *key = bl_json_key(expected);
    const char *type = bl_json_string(bl_json_get(expected, "type"));
    const bl_json_value *value = bl_json_get(expected, "value");
    const bl_gguf_kv *kv = bl_gguf_find(meta, key);
    struct bl_err err = { 0 };

    if (!kv)
        fail_msg("%s is missing", key);
    if (strcmp(type, "uint32") == 0) {
        uint32_t got = 0;
        uint64_t want = 1;

        assert_int_equal(bl_gguf_kv_u32(&got, kv, &err), BL_OK);
        assert_true(bl_json_u64(&want, value));
        if (got != want)
            fail_msg("%s is %u", key, got);
    } else if (strcmp(type, "float32") == 0) {
        float got = 0;
        double want = 1;

        assert_int_equal(bl_gguf_kv_f32(&got, kv, &err), BL_OK);
        assert_true(bl_json_f64(&want, value));
        if (got != (float)want)
            fail_msg("%s is %g", key, (double)got);
    } else if (strcmp(type, "bool") == 0) {
        bool got = false, want = true;

        assert_int_equal(bl_gguf_kv_bool(&got, kv, &err), BL_OK);
        assert_true(bl_json_bool(&want, value));
        if (got != want)
            fail_msg("%s is wrong", key);
    } else if (strcmp(type, "string") == 0) {
        bl_gguf_string got;

        assert_int_equal(bl_gguf_kv_string(&got, kv, &err), BL_OK);
        if (strlen(bl_json_string(value)) != got.n ||
            memcmp(bl_json_string(value), got.bytes, got.n) != 0)
            fail_msg("%s is '%.*s'", key, (int)got.n, got.bytes);
    } else {
        uint64_t length = 0;

        assert_true(bl_json_u64(&length, bl_json_get(expected, "length")));
        assert_int_equal(kv->n, length);
    }
}

static bool is_ours(const char *key)
{
    return strcmp(key, "general.name") == 0 || strcmp(key, "general.size_label") == 0 ||
           strcmp(key, "general.file_type") == 0 || strncmp(key, "general.sampling.", 17) == 0;
}

static void check_tensor(const bl_container *gguf, const bl_json_value *expected)
{
    const bl_json_value *ne = bl_json_first(bl_json_get(expected, "ne"));
    const bl_stored *t;
    size_t i;

    if (!bl_container_find(&i, gguf, bl_json_key(expected)))
        fail_msg("%s is missing", bl_json_key(expected));
    t = &gguf->stored[i];
    for (uint32_t d = t->ndim; d-- > 0; ne = bl_json_next(ne)) {
        uint64_t want = 0;

        assert_true(ne && bl_json_u64(&want, ne));
        assert_true(want == t->dim[d]);
    }
    assert_null(ne);
}

static void says_what_llama_cpps_converter_says(void **state)
{
    struct bl_err err = { 0 };
    bl_container *gguf = NULL;
    bl_json *json = NULL;
    size_t n, n_tensors = 0;
    char *text = read_file(reference, &n);

    (void)state;
    assert_int_equal(bl_json_parse(&json, "reference", text, n, 0, &err), BL_OK);
    assert_int_equal(write_gguf("a.gguf", "q8_0", 1, &err), BL_OK);
    assert_int_equal(bl_gguf_open(&gguf, "a.gguf", &err), BL_OK);
    for (const bl_json_value *m = bl_json_first(bl_json_get(bl_json_root(json), "keys")); m;
         m = bl_json_next(m))
        if (!is_ours(bl_json_key(m)))
            check_key(bl_gguf_meta_of(gguf), m);
    for (const bl_json_value *m = bl_json_first(bl_json_get(bl_json_root(json), "tensors")); m;
         m = bl_json_next(m), n_tensors++)
        check_tensor(gguf, m);
    assert_int_equal(gguf->n_stored, n_tensors);
    bl_container_close(gguf);
    bl_json_free(json);
    bl_free(text);
}

/* Every canonical tensor of the F32 file decodes to the values of the source. */
static void gives_every_value_back_through_the_layout_changes(void **state)
{
    const bl_write_options options = { .n_threads = 2, .label = "test" };
    struct bl_err err = { 0 };
    bl_ckpt *source = NULL, *gguf = NULL;
    bl_plan plan = { 0 };
    bl_policy policy = { .recipe = bl_recipe_by_name("f32") };
    size_t n_main = 0;

    (void)state;
    assert_int_equal(bl_ckpt_open(&source, model, &err), BL_OK);
    policy.config = bl_ckpt_config(source);
    assert_int_equal(bl_plan_gguf(&plan, source, bl_policy_choose, &policy, &err), BL_OK);
    assert_int_equal(bl_write_gguf("f32.gguf", source, &plan, BL_GGUF_FILE_F32, &options, &err),
                     BL_OK);
    assert_int_equal(bl_ckpt_open(&gguf, "f32.gguf", &err), BL_OK);
    for (size_t i = 0; i < bl_ckpt_n_tensors(source); i++) {
        const bl_tensor *a = bl_ckpt_tensor(source, i), *b = bl_ckpt_find(gguf, a->name);
        size_t n = (size_t)a->n_values;
        float *x, *y;

        if (a->is_mtp)
            continue;
        n_main++;
        if (!b)
            fail_msg("%s is missing", a->name);
        x = bl_alloc(n, sizeof(*x));
        y = bl_alloc(n, sizeof(*y));
        assert_int_equal(bl_ckpt_read_rows(source, a, 0, a->n_rows, x, &err), BL_OK);
        assert_int_equal(bl_ckpt_read_rows(gguf, b, 0, b->n_rows, y, &err), BL_OK);
        if (memcmp(x, y, n * sizeof(*x)) != 0)
            fail_msg("%s differs", a->name);
        bl_free(x);
        bl_free(y);
    }
    assert_int_equal(bl_ckpt_n_tensors(gguf), n_main);
    bl_plan_release(&plan);
    bl_ckpt_close(source);
    bl_ckpt_close(gguf);
}

/* The fields that vLLM's compressed-tensors loader reads (docs/interop.md). */
static void lays_int4_out_as_vllm_expects(void **state)
{
    static const char config_wanted[] = "\"quant_method\": \"compressed-tensors\"";
    static const char name[] = "model.layers.1.mlp.experts.3.down_proj.weight_packed";
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;
    const bl_container *c;
    const bl_tensor *t;
    size_t packed, scale, shape, n;
    int64_t rows_cols[2];
    char *config;

    (void)state;
    if (write_int4("int4", &err) != BL_OK || bl_ckpt_open(&ckpt, "int4", &err) != BL_OK)
        fail_msg("%s", err.text);
    c = bl_ckpt_container(ckpt);
    assert_true(c->n_shards > 1);
    assert_true(bl_container_find(&packed, c, name));
    assert_true(
        bl_container_find(&scale, c, "model.layers.1.mlp.experts.3.down_proj.weight_scale"));
    assert_true(
        bl_container_find(&shape, c, "model.layers.1.mlp.experts.3.down_proj.weight_shape"));
    assert_int_equal(c->stored[packed].dtype, BL_I32);
    assert_true(c->stored[packed].dim[0] == 256 && c->stored[packed].dim[1] == 256 / 8);
    assert_int_equal(c->stored[scale].dtype, BL_BF16);
    assert_true(c->stored[scale].dim[0] == 256 && c->stored[scale].dim[1] == 2);
    assert_int_equal(c->stored[shape].dtype, BL_I64);
    assert_int_equal(bl_container_read(c, shape, 0, rows_cols, sizeof(rows_cols), &err), BL_OK);
    assert_true(rows_cols[0] == 256 && rows_cols[1] == 256);
    /* not quantized: head, embedding, router, kv_b (64 columns), MTP projection */
    assert_true(bl_container_find(&n, c, "lm_head.weight"));
    assert_int_equal(c->stored[n].dtype, BL_BF16);
    assert_true(bl_container_find(&n, c, "model.layers.0.self_attn.kv_b_proj.weight"));
    assert_int_equal(c->stored[n].dtype, BL_BF16);
    assert_true(bl_container_find(&n, c, "model.layers.1.mlp.gate.weight"));
    assert_int_equal(c->stored[n].dtype, BL_BF16);
    assert_true(bl_container_find(&n, c, "model.layers.1.mlp.gate.e_score_correction_bias"));
    assert_int_equal(c->stored[n].dtype, BL_F32);
    assert_true(bl_container_find(&n, c, "model.layers.3.eh_proj.weight"));
    assert_int_equal(c->stored[n].dtype, BL_BF16);
    t = bl_ckpt_find(ckpt, "model.layers.1.mlp.experts.3.down_proj.weight");
    assert_non_null(t);
    assert_string_equal(t->type_name, "int4 g128");
    config = read_file("int4/config.json", &n);
    assert_non_null(strstr(config, config_wanted));
    assert_non_null(strstr(config, "\"format\": \"pack-quantized\""));
    assert_non_null(strstr(config, "\"targets\": [\"Linear\"]"));
    assert_non_null(strstr(config, "\"strategy\": \"group\""));
    assert_non_null(strstr(config, "\"group_size\": 128"));
    assert_non_null(strstr(config, "\"symmetric\": true"));
    assert_non_null(strstr(config, "\"lm_head\""));
    assert_non_null(strstr(config, "\"re:.*self_attn\\\\.kv_b_proj$\""));
    assert_non_null(strstr(config, "\"re:.*mlp\\\\.gate$\""));
    assert_non_null(strstr(config, "\"re:.*eh_proj$\""));
    assert_null(strstr(config, "weight_block_size"));
    assert_non_null(strstr(config, "\"mscale\": 1.0")); /* spelled as it was */
    bl_free(config);
    bl_ckpt_close(ckpt);
}

enum { EVERY_UP_TO = 200 };

/*
 * All of the first calls, then ever larger steps: names and tables repeat a thousand times. With
 * BALEEN_EVERY_ALLOCATION set (docs/testing.md) every call has its turn.
 */
static uint64_t next_failure(uint64_t k)
{
    return k < EVERY_UP_TO || getenv("BALEEN_EVERY_ALLOCATION") ? k + 1 : k + k / 16;
}

static void leaves_nothing_when_memory_ends_at_any_allocation(void **state)
{
    int64_t live = bl_alloc_live();
    uint64_t k = 1;

    (void)state;
    for (;; k = next_failure(k)) {
        struct bl_err err = { 0 };
        bl_status rc;

        bl_alloc_fail_at(k);
        rc = write_gguf("x.gguf", "q8_0", 1, &err);
        bl_alloc_fail_at(0);
        assert_true(bl_alloc_live() == live);
        if (rc == BL_OK)
            break;
        if (rc != BL_E_NOMEM)
            fail_msg("allocation %llu: status %d, %s", (unsigned long long)k, (int)rc, err.text);
        assert_int_equal(scratch_n_entries("."), 0);
    }
    assert_true(k > EVERY_UP_TO);
    print_message("the first call that did not matter was %llu\n", (unsigned long long)k);
}

static void leaves_nothing_when_the_disk_ends_at_any_write(void **state)
{
    int64_t live = bl_alloc_live();
    uint64_t k = 1;

    (void)state;
    for (;; k++) {
        struct bl_err err = { 0 };
        bl_status rc;

        bl_sink_fail_at(k);
        rc = write_gguf("x.gguf", "q8_0", 1, &err);
        bl_sink_fail_at(0);
        assert_true(bl_alloc_live() == live);
        if (rc == BL_OK)
            break;
        if (rc != BL_E_IO || !strstr(err.text, "No space left"))
            fail_msg("write %llu: status %d, %s", (unsigned long long)k, (int)rc, err.text);
        scratch_remove("x.gguf"); /* only there when all but the folder's sync was done */
        assert_int_equal(scratch_n_entries("."), 0);
    }
    assert_true(k > 5);
}

static void leaves_no_folder_when_the_disk_ends_at_any_write(void **state)
{
    uint64_t k = 1;

    (void)state;
    for (;; k++) {
        struct bl_err err = { 0 };
        bl_status rc;

        bl_sink_fail_at(k);
        rc = write_int4("x", &err);
        bl_sink_fail_at(0);
        if (rc == BL_OK)
            break;
        if (rc != BL_E_IO || !strstr(err.text, "No space left"))
            fail_msg("write %llu: status %d, %s", (unsigned long long)k, (int)rc, err.text);
        scratch_remove("x");
        assert_int_equal(scratch_n_entries("."), 0);
    }
    assert_true(k > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(writes_the_same_bytes_at_any_number_of_threads, scratch_clear),
        cmocka_unit_test_teardown(writes_the_bytes_that_independent_code_confirmed, scratch_clear),
        cmocka_unit_test_teardown(says_what_llama_cpps_converter_says, scratch_clear),
        cmocka_unit_test_teardown(gives_every_value_back_through_the_layout_changes, scratch_clear),
        cmocka_unit_test_teardown(lays_int4_out_as_vllm_expects, scratch_clear),
        cmocka_unit_test_teardown(leaves_nothing_when_memory_ends_at_any_allocation, scratch_clear),
        cmocka_unit_test_teardown(leaves_nothing_when_the_disk_ends_at_any_write, scratch_clear),
        cmocka_unit_test_teardown(leaves_no_folder_when_the_disk_ends_at_any_write, scratch_clear),
    };

    return cmocka_run_group_tests(tests, enter, scratch_leave);
}
