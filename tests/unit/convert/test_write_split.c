/* A plan into several GGUF files: read as the whole, and nothing left when a write fails. */
#include "base/alloc.h"
#include "base/publish.h"
#include "convert/cast.h"
#include "convert/plan.h"
#include "convert/write.h"
#include "formats/gguf/gguf_reader.h"
#include "tests/unit/scratch.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static char model[PATH_MAX];

static const bl_encoder *choose(const void *context, const bl_choice *choice)
{
    (void)context;
    return bl_cast_encoder(choice->ndim == 1 ? BL_F32 : BL_BF16);
}

static bl_status write_model(const char *path, uint64_t split_size, struct bl_err *err)
{
    const bl_write_options options = { .n_threads = 1, .label = "test", .split_size = split_size };
    bl_ckpt *ckpt = NULL;
    bl_plan plan = { 0 };
    bl_status rc = bl_ckpt_open(&ckpt, model, err);

    if (rc == BL_OK)
        rc = bl_plan_gguf(&plan, ckpt, choose, NULL, err);
    if (rc == BL_OK)
        rc = bl_write_gguf(path, ckpt, &plan, BL_GGUF_FILE_BF16, &options, err);
    bl_plan_release(&plan);
    bl_ckpt_close(ckpt);
    return rc;
}

static void parts_are_read_as_the_whole(void **state)
{
    unsigned char a[256], b[256];
    bl_container *whole = NULL, *parts = NULL;

    (void)state;
    assert_int_equal(write_model("w.gguf", 0, NULL), BL_OK);
    assert_int_equal(write_model("s.gguf", 3000000, NULL), BL_OK);
    assert_false(scratch_exists("s.gguf"));
    assert_int_equal(bl_gguf_open(&whole, "w.gguf", NULL), BL_OK);
    for (int k = 0; k < 2; k++) { /* found by the first part, and by the second */
        DIR *d = opendir(".");
        const struct dirent *e;
        char path[300] = "";

        while ((e = readdir(d)))
            if (strncmp(e->d_name, k == 0 ? "s-00001" : "s-00002", 7) == 0)
                (void)snprintf(path, sizeof(path), "%s", e->d_name);
        closedir(d);
        assert_int_equal(bl_gguf_open(&parts, path, NULL), BL_OK);
        assert_true(parts->n_shards > 2);
        assert_int_equal(parts->n_stored, whole->n_stored);
        for (size_t i = 0; i < whole->n_stored; i++) {
            size_t bytes = (size_t)whole->stored[i].n_bytes;
            size_t some = bytes < sizeof(a) ? bytes : sizeof(a);

            assert_string_equal(parts->stored[i].name, whole->stored[i].name);
            assert_int_equal(bl_container_read(whole, i, bytes - some, a, some, NULL), BL_OK);
            assert_int_equal(bl_container_read(parts, i, bytes - some, b, some, NULL), BL_OK);
            assert_memory_equal(a, b, some);
        }
        assert_true(bl_gguf_n_kv(bl_gguf_meta_of(parts)) ==
                    bl_gguf_n_kv(bl_gguf_meta_of(whole)) + 3);
        bl_container_close(parts);
    }
    bl_container_close(whole);
}

static void leaves_nothing_when_a_call_fails(void **state)
{
    bl_status rc = BL_E_IO;

    (void)state;
    for (uint64_t k = 1; rc != BL_OK; k++) {
        struct bl_err err = { 0 };

        bl_publish_fail_at(k);
        rc = write_model("s.gguf", 3000000, &err);
        bl_publish_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_IO);
        if (rc != BL_OK && scratch_n_entries(".") != 0)
            fail_msg("call %d left files: %s", (int)k, err.text);
    }
}

static void fails_cleanly_without_memory(void **state)
{
    bl_status rc = BL_E_NOMEM;

    (void)state;
    for (uint64_t k = 1; rc != BL_OK; k += 1 + k / 8) {
        int64_t live = bl_alloc_live();

        bl_alloc_fail_at(k);
        rc = write_model("s.gguf", 3000000, NULL);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        assert_true(bl_alloc_live() == live);
        if (rc != BL_OK)
            assert_int_equal(scratch_n_entries("."), 0);
    }
}

static int enter(void **state)
{
    assert_non_null(realpath("data/nano-r1", model));
    return scratch_enter(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(parts_are_read_as_the_whole, scratch_clear),
        cmocka_unit_test_teardown(leaves_nothing_when_a_call_fails, scratch_clear),
        cmocka_unit_test_teardown(fails_cleanly_without_memory, scratch_clear),
    };

    return cmocka_run_group_tests(tests, enter, scratch_leave);
}
