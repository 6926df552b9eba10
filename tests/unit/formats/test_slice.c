/*
 * test_slice.c - a slice has the values of those layers and experts of its source that stay, in every
 * container, and says which they are; what it is compared with is found again from what it says.
 */
#include "base/alloc.h"
#include "convert/archive.h"
#include "convert/cast.h"
#include "convert/plan.h"
#include "convert/write.h"
#include "formats/slice/slice.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../scratch.h"

static char data_folder[4096];

static bl_ckpt *open_model(const char *path)
{
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;

    if (bl_ckpt_open(&ckpt, path, &err) != BL_OK)
        fail_msg("%s", err.text);
    return ckpt;
}

static bl_ckpt *open_data(const char *name)
{
    char path[4200];

    snprintf(path, sizeof(path), "%s/%s", data_folder, name);
    return open_model(path);
}

static bl_ckpt *open_slice(const bl_ckpt *source, const bl_slice *slice)
{
    struct bl_err err = { 0 };
    bl_ckpt *view = NULL;

    if (bl_slice_open(&view, source, slice, &err) != BL_OK)
        fail_msg("%s", err.text);
    return view;
}

/* nano-r1: layer 0 is dense, 1 and 2 have 8 experts, 3 is the MTP layer with as many. */
static const uint32_t all_layers[] = { 0, 1, 2 };
static const uint32_t four[4][4] = { { 0 }, { 0, 2, 5, 7 }, { 1, 2, 3, 6 }, { 0, 1, 6, 7 } };
static const bl_slice to_four = { .n_layers = 3,
                                  .layer = all_layers,
                                  .keeps_mtp = true,
                                  .n_experts = 4,
                                  .expert = four[0],
                                  .ungroup = true,
                                  .method = "test" };

/* Tensor `name` of the view has rows[n] of tensor `from` of the source, or all of them (rows NULL). */
static void assert_rows(const bl_ckpt *view, const char *name, const bl_ckpt *source,
                        const char *from, const uint32_t *rows, uint32_t n)
{
    const bl_tensor *a = bl_ckpt_find(view, name), *b = bl_ckpt_find(source, from);
    float *x, *y;

    if (!a || !b)
        fail_msg("%s or %s is missing", name, from);
    assert_int_equal(a->n_cols, rows && b->n_rows == 1 ? n : b->n_cols);
    x = bl_alloc(a->n_values, sizeof(*x));
    y = bl_alloc(b->n_values, sizeof(*y));
    assert_int_equal(bl_ckpt_read_rows(view, a, 0, a->n_rows, x, NULL), BL_OK);
    assert_int_equal(bl_ckpt_read_rows(source, b, 0, b->n_rows, y, NULL), BL_OK);
    if (!rows)
        assert_memory_equal(x, y, a->n_values * sizeof(*x));
    for (uint32_t i = 0; rows && i < n; i++) {
        const uint64_t size = b->n_values / (b->n_rows == 1 ? b->n_cols : b->n_rows);

        assert_memory_equal(x + i * size, y + rows[i] * size, size * sizeof(*x));
    }
    bl_free(x);
    bl_free(y);
}

/* The experts and the router of layer `layer` of the view are those of layer `from`. */
static void assert_experts(const bl_ckpt *view, uint32_t layer, const bl_ckpt *source,
                           uint32_t from, const uint32_t *expert, uint32_t n)
{
    static const char *const parts[] = { "gate_proj", "up_proj", "down_proj" };
    char a[128], b[128];

    for (uint32_t i = 0; i < n; i++)
        for (int k = 0; k < 3; k++) {
            snprintf(a, sizeof(a), "model.layers.%u.mlp.experts.%u.%s.weight", layer, i, parts[k]);
            snprintf(b, sizeof(b), "model.layers.%u.mlp.experts.%u.%s.weight", from, expert[i],
                     parts[k]);
            assert_rows(view, a, source, b, NULL, 0);
        }
    snprintf(a, sizeof(a), "model.layers.%u.mlp.experts.%u.up_proj.weight", layer, n);
    assert_null(bl_ckpt_find(view, a));
    for (int k = 0; k < 2; k++) {
        const char *end = k ? "e_score_correction_bias" : "weight";

        snprintf(a, sizeof(a), "model.layers.%u.mlp.gate.%s", layer, end);
        snprintf(b, sizeof(b), "model.layers.%u.mlp.gate.%s", from, end);
        assert_rows(view, a, source, b, expert, n);
    }
}

static void has_the_values_of_what_stays(void **state)
{
    bl_ckpt *source = open_data("nano-r1"), *view = open_slice(source, &to_four);
    const bl_config *c = bl_ckpt_config(view);

    (void)state;
    assert_int_equal(c->n_experts, 4);
    assert_int_equal(c->n_group, 1);
    assert_int_equal(c->n_experts_used, 2);
    assert_int_equal(c->n_layers, 3);
    assert_int_equal(c->n_mtp_layers, 1);
    for (uint32_t l = 1; l < 4; l++)
        assert_experts(view, l, source, l, four[l], 4);
    assert_rows(view, "model.layers.2.self_attn.kv_b_proj.weight", source,
                "model.layers.2.self_attn.kv_b_proj.weight", NULL, 0);
    assert_rows(view, "lm_head.weight", source, "lm_head.weight", NULL, 0);
    bl_ckpt_close(view);
    bl_ckpt_close(source);
}

static void numbers_layers_anew(void **state)
{
    static const uint32_t two[] = { 0, 2 };
    bl_slice slice = to_four;
    bl_ckpt *source = open_data("nano-r1"), *view;

    (void)state;
    slice.n_layers = 2;
    slice.layer = two;
    view = open_slice(source, &slice);
    assert_int_equal(bl_ckpt_config(view)->n_layers, 2);
    assert_int_equal(bl_ckpt_config(view)->first_k_dense, 1);
    assert_experts(view, 1, source, 2, four[2], 4);
    assert_experts(view, 2, source, 3, four[3], 4); /* the MTP layer follows */
    assert_rows(view, "model.layers.2.eh_proj.weight", source, "model.layers.3.eh_proj.weight",
                NULL, 0);
    assert_null(bl_ckpt_find(view, "model.layers.3.eh_proj.weight"));
    bl_ckpt_close(view);

    slice.layer = all_layers + 1; /* without the dense layer, and without MTP */
    slice.keeps_mtp = false;
    view = open_slice(source, &slice);
    assert_int_equal(bl_ckpt_config(view)->first_k_dense, 0);
    assert_int_equal(bl_ckpt_config(view)->n_mtp_layers, 0);
    assert_experts(view, 0, source, 1, four[1], 4);
    assert_null(bl_ckpt_find(view, "model.layers.2.eh_proj.weight"));
    bl_ckpt_close(view);
    bl_ckpt_close(source);
}

static void says_which_of_the_original_it_has(void **state)
{
    static const uint32_t again[4][2] = { { 0 }, { 1, 3 }, { 0, 2 }, { 2, 3 } };
    static const uint32_t last[] = { 0, 2 };
    const bl_slice to_two = { .n_layers = 2,
                              .layer = last,
                              .keeps_mtp = true,
                              .n_experts = 2,
                              .expert = again[0],
                              .ungroup = true,
                              .method = "more" };
    bl_ckpt *source = open_data("nano-r1"), *view = open_slice(source, &to_four);
    bl_ckpt *second = open_slice(view, &to_two), *found = NULL;
    bl_pruning p = { 0 };
    bool there = false;

    (void)state;
    assert_int_equal(bl_pruning_read(&p, &there, source, NULL), BL_OK);
    assert_false(there);
    assert_int_equal(bl_pruning_read(&p, &there, second, NULL), BL_OK);
    assert_true(there);
    assert_string_equal(p.method, "test+more");
    assert_int_equal(p.n_models, 2);
    assert_int_equal(p.n_experts_before, 8);
    assert_int_equal(p.n_layers_before, 3);
    assert_int_equal(p.n_layers, 3);
    assert_int_equal(p.layer[1], 2);
    assert_int_equal(p.layer[2], 3);
    assert_int_equal(p.expert[1 * 2 + 0], 1); /* of layer 2: 0 and 2 of 1, 2, 3, 6 */
    assert_int_equal(p.expert[1 * 2 + 1], 3);
    assert_int_equal(p.expert[2 * 2 + 0], 6); /* of layer 3: 2 and 3 of 0, 1, 6, 7 */
    assert_int_equal(p.expert[2 * 2 + 1], 7);
    bl_pruning_release(&p);

    /* and that is what it is compared with, from the original and from the step between */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(bl_slice_counterpart(&found, i ? view : source, second, NULL), BL_OK);
        assert_non_null(found);
        assert_int_equal(bl_ckpt_n_tensors(found), bl_ckpt_n_tensors(second));
        for (size_t k = 0; k < bl_ckpt_n_tensors(second); k++) {
            const char *name = bl_ckpt_tensor(second, k)->name;

            assert_rows(found, name, second, name, NULL, 0);
        }
        bl_ckpt_close(found);
    }
    assert_int_equal(bl_slice_counterpart(&found, second, source, NULL), BL_OK);
    assert_null(found);
    bl_ckpt_close(second);
    bl_ckpt_close(view);
    bl_ckpt_close(source);
}

static const bl_encoder *choose_f32(const void *context, const bl_choice *choice)
{
    (void)context;
    (void)choice;
    return bl_cast_encoder(BL_F32);
}

static void write_gguf(const char *path, const bl_ckpt *ckpt)
{
    const bl_write_options options = { .n_threads = 1, .label = "test" };
    struct bl_err err = { 0 };
    bl_plan plan = { 0 };
    bl_status rc = bl_plan_gguf_with(&plan, ckpt, true, choose_f32, NULL, &err);

    if (rc == BL_OK)
        rc = bl_write_gguf(path, ckpt, &plan, BL_GGUF_FILE_F32, &options, &err);
    if (rc != BL_OK)
        fail_msg("%s", err.text);
    bl_plan_release(&plan);
}

/* Every tensor of a, and the record, are those of b. */
static void assert_same(const bl_ckpt *a, const bl_ckpt *b)
{
    bl_text x = { 0 }, y = { 0 };

    assert_int_equal(bl_ckpt_n_tensors(a), bl_ckpt_n_tensors(b));
    for (size_t k = 0; k < bl_ckpt_n_tensors(a); k++)
        assert_rows(a, bl_ckpt_tensor(a, k)->name, b, bl_ckpt_tensor(a, k)->name, NULL, 0);
    assert_int_equal(bl_pruning_text(&x, a, NULL), BL_OK);
    assert_int_equal(bl_pruning_text(&y, b, NULL), BL_OK);
    assert_true(x.n > 0);
    assert_string_equal(x.bytes, y.bytes);
    bl_text_release(&x);
    bl_text_release(&y);
}

/* The GGUF file of the slice, the slice of the GGUF file, and a copy of that in a file. */
static void is_the_same_in_gguf(void **state)
{
    static const uint32_t two[] = { 1, 2 };
    const bl_write_options options = { .n_threads = 1, .label = "test" };
    bl_slice slice = to_four;
    bl_ckpt *source = open_data("nano-r1"), *view, *whole, *other, *copy;
    bl_plan plan = { 0 };
    struct bl_err err = { 0 };

    (void)state;
    slice.n_layers = 2;
    slice.layer = two;
    view = open_slice(source, &slice);
    write_gguf("whole.gguf", source);
    write_gguf("of_view.gguf", view);
    whole = open_model("whole.gguf");
    other = open_slice(whole, &slice);
    copy = open_model("of_view.gguf");
    assert_same(other, copy);
    assert_same(other, view);
    bl_ckpt_close(copy);
    assert_int_equal(bl_plan_copy(&plan, other, false, &err), BL_OK);
    if (bl_write_gguf_recast("copy.gguf", other, &plan, BL_GGUF_FILE_SAME, &options, &err) != BL_OK)
        fail_msg("%s", err.text);
    bl_plan_release(&plan);
    copy = open_model("copy.gguf");
    assert_same(copy, view);
    assert_int_equal(bl_ckpt_container(copy)->n_file_bytes,
                     bl_ckpt_container(other)->n_file_bytes); /* what the view said it would be */
    bl_ckpt_close(copy);
    bl_ckpt_close(other);
    bl_ckpt_close(whole);
    bl_ckpt_close(view);
    bl_ckpt_close(source);
}

/* Folder and .bln, each from either. */
static void is_the_same_in_archives_and_folders(void **state)
{
    const bl_archive_options archive = { .n_threads = 1 };
    const bl_write_options options = { .n_threads = 1, .label = "test" };
    const bl_folder_text text = { .keeps_quantization = true, .copies = true };
    bl_ckpt *source = open_data("nano-r1"), *view = open_slice(source, &to_four);
    bl_ckpt *packed, *of_packed, *folder;
    bl_plan plan = { 0 };
    struct bl_err err = { 0 };

    (void)state;
    if (bl_archive_store(bl_ckpt_container(source), "whole.bln", &archive, &err) != BL_OK ||
        bl_archive_store(bl_ckpt_container(view), "view.bln", &archive, &err) != BL_OK)
        fail_msg("%s", err.text);
    packed = open_model("whole.bln");
    of_packed = open_slice(packed, &to_four);
    assert_same(of_packed, view);
    if (bl_archive_store(bl_ckpt_container(of_packed), "again.bln", &archive, &err) != BL_OK)
        fail_msg("%s", err.text);
    bl_ckpt_close(of_packed);
    bl_ckpt_close(packed);
    packed = open_model("again.bln");
    assert_same(packed, view);
    bl_ckpt_close(packed);
    packed = open_model("view.bln");
    assert_same(packed, view);
    if (bl_archive_restore(bl_ckpt_container(packed), "restored", &archive, &err) != BL_OK)
        fail_msg("%s", err.text);
    bl_ckpt_close(packed);
    folder = open_model("restored"); /* its shards, index and config.json agree */
    assert_same(folder, view);
    bl_ckpt_close(folder);
    assert_int_equal(bl_plan_copy(&plan, view, false, &err), BL_OK);
    if (bl_write_folder("folder", view, &plan, &text, &options, &err) != BL_OK)
        fail_msg("%s", err.text);
    bl_plan_release(&plan);
    folder = open_model("folder");
    assert_same(folder, view);
    bl_ckpt_close(folder);
    bl_ckpt_close(view);
    bl_ckpt_close(source);
}

/* Parts of a .bln are no shards: those of the folder that it was made from come back. */
static void has_the_shards_of_an_archive_in_parts(void **state)
{
    const bl_archive_options split = { .n_threads = 1, .split_size = 3000000 };
    const bl_archive_options archive = { .n_threads = 1 };
    bl_ckpt *source = open_data("nano-r1"), *view = open_slice(source, &to_four);
    const bl_container *of_folder = bl_ckpt_container(view), *of_parts;
    bl_ckpt *packed, *of_packed, *folder;
    struct bl_err err = { 0 };

    (void)state;
    if (bl_archive_store(bl_ckpt_container(source), "s.bln", &split, &err) != BL_OK)
        fail_msg("%s", err.text);
    packed = open_model("s.bln");
    assert_true(bl_ckpt_container(packed)->n_shards > 2);
    of_packed = open_slice(packed, &to_four);
    of_parts = bl_ckpt_container(of_packed);
    assert_int_equal(of_parts->n_shards, of_folder->n_shards);
    for (size_t k = 0; k < of_folder->n_shards; k++)
        assert_string_equal(of_parts->shard_name[k], of_folder->shard_name[k]);
    assert_same(of_packed, view);
    if (bl_archive_store(of_parts, "t.bln", &archive, &err) != BL_OK)
        fail_msg("%s", err.text);
    bl_ckpt_close(of_packed);
    bl_ckpt_close(packed);
    packed = open_model("t.bln");
    if (bl_archive_restore(bl_ckpt_container(packed), "t", &archive, &err) != BL_OK)
        fail_msg("%s", err.text);
    bl_ckpt_close(packed);
    folder = open_model("t");
    assert_same(folder, view);
    bl_ckpt_close(folder);
    bl_ckpt_close(view);
    bl_ckpt_close(source);
}

static void a_record_of_another_checkpoint_is_refused(void **state)
{
    bl_ckpt *source = open_data("nano-r1"), *view = open_slice(source, &to_four), *folder;
    const bl_archive_options archive = { .n_threads = 1 };
    char *text = NULL, *at;
    size_t n;
    bl_pruning p = { 0 };
    bool there = true;
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(bl_archive_store(bl_ckpt_container(view), "v.bln", &archive, &err), BL_OK);
    bl_ckpt_close(view);
    view = open_model("v.bln");
    assert_int_equal(bl_archive_restore(bl_ckpt_container(view), "v", &archive, &err), BL_OK);
    assert_int_equal(bl_ckpt_side_file(view, "config.json", &text, &n, &err), BL_OK);
    bl_ckpt_close(view);
    at = strstr(text, "[0,2,5,7]");
    assert_non_null(at);
    memcpy(at, "[0,5,2,7]", 9); /* not ascending */
    scratch_write("v/config.json", text, n);
    folder = open_model("v");
    assert_int_equal(bl_pruning_read(&p, &there, folder, &err), BL_E_FORMAT);
    assert_non_null(strstr(err.text, "'expert_pruning' does not describe this checkpoint"));
    assert_false(there);
    bl_ckpt_close(folder);
    bl_free(text);
    bl_ckpt_close(source);
}

static void fails_cleanly_without_memory(void **state)
{
    bl_ckpt *source = open_data("nano-r1"), *whole;
    bl_status rc;

    (void)state;
    write_gguf("m.gguf", source);
    whole = open_model("m.gguf");
    for (int i = 0; i < 2; i++) {
        rc = BL_E_NOMEM;
        for (uint64_t k = 1; rc != BL_OK; k += 1 + k / 50) {
            int64_t live = bl_alloc_live();
            bl_ckpt *view = NULL;

            bl_alloc_fail_at(k);
            rc = bl_slice_open(&view, i ? whole : source, &to_four, NULL);
            bl_alloc_fail_at(0);
            assert_true(rc == BL_OK || rc == BL_E_NOMEM);
            if (rc == BL_OK)
                bl_ckpt_close(view);
            assert_int_equal(bl_alloc_live(), live);
        }
    }
    bl_ckpt_close(whole);
    bl_ckpt_close(source);
}

static int enter(void **state)
{
    assert_non_null(realpath("data", data_folder));
    return scratch_enter(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_values_of_what_stays),
        cmocka_unit_test(numbers_layers_anew),
        cmocka_unit_test(says_which_of_the_original_it_has),
        cmocka_unit_test_teardown(is_the_same_in_gguf, scratch_clear),
        cmocka_unit_test_teardown(is_the_same_in_archives_and_folders, scratch_clear),
        cmocka_unit_test_teardown(has_the_shards_of_an_archive_in_parts, scratch_clear),
        cmocka_unit_test_teardown(a_record_of_another_checkpoint_is_refused, scratch_clear),
        cmocka_unit_test_teardown(fails_cleanly_without_memory, scratch_clear),
    };

    return cmocka_run_group_tests(tests, enter, scratch_leave);
}
