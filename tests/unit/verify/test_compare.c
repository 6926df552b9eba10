/* Two checkpoints tensor by tensor: equal is equal, and whatever differs is named. */
#include "spoiled.h"
#include "verify/compare.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bl_comparison compare_with(const char *folder, int n_threads, bl_ckpt **ref, bl_ckpt **test)
{
    const bl_compare_options options = { .n_threads = n_threads };
    bl_comparison c = { 0 };
    struct bl_err err = { 0 };

    *ref = spoiled_open(spoiled_source);
    *test = spoiled_open(folder);
    if (bl_compare_run(&c, *ref, *test, &options, &err) != BL_OK)
        fail_msg("%s", err.text);
    return c;
}

static void release(bl_comparison *c, bl_ckpt *ref, bl_ckpt *test)
{
    bl_compare_release(c);
    bl_ckpt_close(ref);
    bl_ckpt_close(test);
}

static void a_checkpoint_is_identical_to_itself(void **state)
{
    bl_ckpt *ref, *test;
    bl_comparison c = compare_with(spoiled_source, 2, &ref, &test);

    (void)state;
    assert_int_equal(c.n_compared, bl_ckpt_n_tensors(ref));
    assert_int_equal(c.n_identical, c.n_compared);
    assert_true(c.all.identical && c.all.rel_rms == 0);
    assert_true(bl_compare_same_structure(&c));
    release(&c, ref, test);
}

static void a_tensor_scaled_by_1_01_is_named_first(void **state)
{
    static const char *const name = "model.layers.2.mlp.experts.5.down_proj.weight";
    bl_ckpt *ref, *test;
    bl_comparison c;

    (void)state;
    spoiled_copy("scaled", NULL, NULL);
    spoiled_scale("scaled", "model.layers.2.mlp.experts.5.down_proj.weight_scale_inv", 1.01f);
    c = compare_with("scaled", 2, &ref, &test);
    assert_string_equal(c.compared[0].ref->name, name);
    assert_true(fabs(c.compared[0].metrics.rel_rms - 0.01) < 1e-5);
    assert_int_equal(c.n_identical, c.n_compared - 1);
    assert_false(c.compared[0].metrics.identical);
    assert_true(c.compared[1].metrics.identical);
    assert_true(bl_compare_same_structure(&c));
    release(&c, ref, test);
}

static void the_worst_comes_first_and_threads_change_nothing(void **state)
{
    bl_ckpt *ref, *test, *ref1, *test1;
    bl_comparison c, one;

    (void)state;
    spoiled_copy("two", NULL, NULL);
    spoiled_scale("two", "model.layers.1.self_attn.o_proj.weight_scale_inv", 1.001f);
    spoiled_scale("two", "model.layers.0.mlp.up_proj.weight_scale_inv", 1.05f);
    c = compare_with("two", 3, &ref, &test);
    one = compare_with("two", 1, &ref1, &test1);
    assert_string_equal(c.compared[0].ref->name, "model.layers.0.mlp.up_proj.weight");
    assert_string_equal(c.compared[1].ref->name, "model.layers.1.self_attn.o_proj.weight");
    assert_true(strcmp(c.compared[2].ref->name, c.compared[3].ref->name) < 0);
    for (size_t i = 0; i < c.n_compared; i++) {
        assert_string_equal(c.compared[i].ref->name, one.compared[i].ref->name);
        assert_true(c.compared[i].metrics.rel_rms == one.compared[i].metrics.rel_rms);
        assert_true(c.compared[i].metrics.cosine == one.compared[i].metrics.cosine);
    }
    assert_true(c.all.rel_rms == one.all.rel_rms);
    release(&c, ref, test);
    release(&one, ref1, test1);
}

static void tensors_that_are_missing_or_more_are_listed(void **state)
{
    bl_ckpt *ref, *test;
    bl_comparison c;

    (void)state;
    spoiled_copy("renamed", "layers.1.mlp.experts.3.up_proj", "layers.1.mlp.experts.3.xp_proj");
    c = compare_with("renamed", 1, &ref, &test);
    assert_false(bl_compare_same_structure(&c));
    assert_int_equal(c.n_missing, 1);
    assert_string_equal(c.missing[0]->name, "model.layers.1.mlp.experts.3.up_proj.weight");
    assert_int_equal(c.n_extra, 1);
    assert_string_equal(c.extra[0]->name, "model.layers.1.mlp.experts.3.xp_proj.weight");
    assert_int_equal(c.n_mtp_only, 0);
    release(&c, ref, test);
}

static void mtp_layers_left_out_are_a_note(void **state)
{
    bl_ckpt *ref, *test;
    bl_comparison c;

    (void)state;
    spoiled_copy("mtp", "model.layers.3.", "other.layers.3.");
    c = compare_with("mtp", 1, &ref, &test);
    assert_int_equal(c.n_missing, 0);
    assert_true(c.n_mtp_only > 20);
    assert_int_equal(c.mtp_only[0]->layer, 3);
    assert_int_equal(c.n_identical, c.n_compared);
    release(&c, ref, test);
}

/* A safetensors file of one F32 tensor "t" with six values. */
static void write_six(const char *path, const char *shape)
{
    char bytes[256] = { 0 };
    size_t n =
        (size_t)snprintf(bytes + 8, sizeof(bytes) - 8,
                         "{\"t\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[0,24]}}", shape);

    bytes[0] = (char)n;
    scratch_write(path, bytes, 8 + n + 24);
}

static void another_shape_is_listed_and_not_measured(void **state)
{
    bl_ckpt *ref = NULL, *test = NULL;
    const bl_compare_options options = { .n_threads = 1 };
    bl_comparison c = { 0 };

    (void)state;
    write_six("a.safetensors", "[2,3]");
    write_six("b.safetensors", "[3,2]");
    ref = spoiled_open("a.safetensors");
    test = spoiled_open("b.safetensors");
    assert_int_equal(bl_compare_run(&c, ref, test, &options, NULL), BL_OK);
    assert_int_equal(c.n_reshaped, 1);
    assert_int_equal(c.n_compared, 0);
    assert_string_equal(c.reshaped[0].ref->name, "t");
    assert_false(bl_compare_same_structure(&c));
    release(&c, ref, test);
}

static void memory_that_fails_is_a_status(void **state)
{
    bl_ckpt *ref = spoiled_open(spoiled_source), *test = spoiled_open(spoiled_source);
    const bl_compare_options options = { .n_threads = 1 };
    int64_t live = bl_alloc_live();

    (void)state;
    for (uint64_t k = 1; k < 60; k++) { /* the lists, and the first tensors */
        bl_comparison c = { 0 };

        bl_alloc_fail_at(k);
        assert_int_equal(bl_compare_run(&c, ref, test, &options, NULL), BL_E_NOMEM);
        bl_alloc_fail_at(0);
        assert_int_equal(bl_alloc_live(), live);
    }
    bl_ckpt_close(ref);
    bl_ckpt_close(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_is_identical_to_itself),
        cmocka_unit_test_teardown(a_tensor_scaled_by_1_01_is_named_first, scratch_clear),
        cmocka_unit_test_teardown(the_worst_comes_first_and_threads_change_nothing, scratch_clear),
        cmocka_unit_test_teardown(tensors_that_are_missing_or_more_are_listed, scratch_clear),
        cmocka_unit_test_teardown(mtp_layers_left_out_are_a_note, scratch_clear),
        cmocka_unit_test_teardown(another_shape_is_listed_and_not_measured, scratch_clear),
        cmocka_unit_test(memory_that_fails_is_a_status),
    };

    return cmocka_run_group_tests(tests, spoiled_enter, scratch_leave);
}
