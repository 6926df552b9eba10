/*
 * test_layout.c - nano-r1 driven into every folder layout, opened again: which parts there are, what
 * they decode to, and what happens when memory ends on the way. What the files beside the weights
 * say is in test_layout_config.c.
 */
#include "base/hash.h"
#include "convert/archive.h"
#include "formats/hf/hf_dir.h"

#include "layout_folders.h"

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
        cmocka_unit_test_teardown(layouts_of_the_same_codes_decode_alike, scratch_clear),
        cmocka_unit_test_teardown(archives_hold_every_layout, scratch_clear),
        cmocka_unit_test_teardown(leaves_no_folder_when_memory_ends, scratch_clear),
    };

    return cmocka_run_group_tests(tests, enter, scratch_leave);
}
