/* An archive in several files, and what it says of its origin: whole again, and nothing left when a call fails. */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/publish.h"
#include "convert/archive.h"
#include "formats/bln/bln_reader.h"
#include "formats/hf/hf_dir.h"
#include "tests/unit/scratch.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static char model[PATH_MAX];

static bl_status store(const char *path, uint64_t split_size, bool sha256, struct bl_err *err)
{
    const bl_archive_options options = { .n_threads = 1,
                                         .split_size = split_size,
                                         .sha256 = sha256 };
    bl_container *hf = NULL;
    bl_status rc = bl_hf_open(&hf, model, err);

    if (rc == BL_OK)
        rc = bl_archive_store(hf, path, &options, err);
    bl_container_close(hf);
    return rc;
}

static void parts_hold_what_one_file_holds(void **state)
{
    bl_container *whole = NULL, *parts = NULL;
    unsigned char a[512], b[512];
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(store("a.bln", 0, false, NULL), BL_OK);
    assert_int_equal(store("b.bln", 1500000, false, NULL), BL_OK);
    assert_int_equal(bl_bln_open(&whole, "a.bln", NULL), BL_OK);
    assert_int_equal(bl_bln_open(&parts, "b.bln", NULL), BL_OK);
    assert_true(parts->n_shards > 3);
    for (size_t k = 1; k < parts->n_shards; k++) {
        struct stat st;

        assert_int_equal(stat(parts->shard_name[k], &st), 0);
        assert_true(st.st_size <= 1500000);
    }
    assert_int_equal(parts->n_stored, whole->n_stored);
    for (size_t i = 0; i < whole->n_stored; i++) {
        size_t n = (size_t)whole->stored[i].n_bytes, some = n < sizeof(a) ? n : sizeof(a);

        assert_string_equal(parts->stored[i].name, whole->stored[i].name);
        assert_int_equal(bl_container_read(whole, i, n - some, a, some, NULL), BL_OK);
        assert_int_equal(bl_container_read(parts, i, n - some, b, some, NULL), BL_OK);
        assert_memory_equal(a, b, some);
    }
    assert_int_equal(bl_bln_verify(parts, 1, NULL, NULL, NULL, &err), BL_OK);
    bl_container_close(whole);
    bl_container_close(parts);
}

static void every_damaged_part_is_named(void **state)
{
    (void)state;
    assert_int_equal(store("b.bln", 3000000, false, NULL), BL_OK);
    for (int what = 0; what < 3; what++) {
        bl_container *c = NULL;
        struct bl_err err = { 0 };
        char *bytes = NULL;
        size_t n = 0;

        assert_int_equal(bl_source_read_file(&bytes, &n, "b.bln.002", 1 << 30, NULL), BL_OK);
        if (what == 0)
            assert_int_equal(remove("b.bln.002"), 0);
        else
            scratch_write("b.bln.002", bytes, what == 1 ? n - 1 : n);
        if (what == 2) { /* its superblock */
            bytes[100] ^= 1;
            scratch_write("b.bln.002", bytes, n);
            bytes[100] ^= 1;
        }
        assert_int_equal(bl_bln_open(&c, "b.bln", &err), BL_E_FORMAT);
        assert_non_null(strstr(err.text, "b.bln.002"));
        scratch_write("b.bln.002", bytes, n);
        bl_free(bytes);
    }
}

static void keeps_the_sums_of_its_sources(void **state)
{
    bl_container *c = NULL;
    size_t n;

    (void)state;
    assert_int_equal(store("a.bln", 0, true, NULL), BL_OK);
    assert_int_equal(bl_bln_open(&c, "a.bln", NULL), BL_OK);
    n = bl_bln_n_shards(c) + c->n_side_files;
    for (size_t i = 0; i < n; i++) {
        uint8_t kept[BL_SHA256_BYTES], right[BL_SHA256_BYTES];
        bl_source *source = NULL;
        const char *name = NULL;
        char path[2 * PATH_MAX];

        assert_true(bl_bln_source_sha256(kept, &name, c, i));
        (void)snprintf(path, sizeof(path), "%s/%s", model, name);
        assert_int_equal(bl_source_open(&source, path, NULL), BL_OK);
        assert_int_equal(bl_sha256_source(right, source, NULL, NULL), BL_OK);
        bl_source_close(source);
        assert_memory_equal(kept, right, sizeof(kept));
    }
    bl_container_close(c);
}

static void says_so_when_it_does_not_know_the_sums(void **state)
{
    bl_container *c = NULL;
    uint8_t sum[BL_SHA256_BYTES];
    const char *name;
    size_t n;

    (void)state;
    assert_int_equal(store("a.bln", 0, false, NULL), BL_OK);
    assert_int_equal(bl_bln_open(&c, "a.bln", NULL), BL_OK);
    assert_false(bl_bln_source_sha256(sum, &name, c, 0));
    assert_non_null(bl_bln_recipe(c, &n));
    bl_container_close(c);
}

static void leaves_nothing_when_a_call_fails(void **state)
{
    bl_status rc = BL_E_IO;

    (void)state;
    for (uint64_t k = 1; rc != BL_OK; k++) {
        struct bl_err err = { 0 };

        bl_publish_fail_at(k);
        rc = store("b.bln", 3000000, false, &err);
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
    for (uint64_t k = 1; rc != BL_OK; k += 1 + k / 6) {
        int64_t live = bl_alloc_live();

        bl_alloc_fail_at(k);
        rc = store("b.bln", 3000000, true, NULL);
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
        cmocka_unit_test_teardown(parts_hold_what_one_file_holds, scratch_clear),
        cmocka_unit_test_teardown(every_damaged_part_is_named, scratch_clear),
        cmocka_unit_test_teardown(keeps_the_sums_of_its_sources, scratch_clear),
        cmocka_unit_test_teardown(says_so_when_it_does_not_know_the_sums, scratch_clear),
        cmocka_unit_test_teardown(leaves_nothing_when_a_call_fails, scratch_clear),
        cmocka_unit_test_teardown(fails_cleanly_without_memory, scratch_clear),
    };

    return cmocka_run_group_tests(tests, enter, scratch_leave);
}
