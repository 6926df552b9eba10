/* Reading bytes: exact, bounded, and a sentence for everything that is not a plain whole file. */
#include "base/alloc.h"
#include "base/source.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void reads_exactly_what_is_asked_for(void **state)
{
    bl_source *source = NULL;
    unsigned char got[4] = { 0 };

    (void)state;
    scratch_write("a", "0123456789", 10);
    assert_int_equal(bl_source_open(&source, "a", NULL), BL_OK);
    assert_int_equal(source->size, 10);
    assert_string_equal(source->name, "a");
    assert_int_equal(bl_source_read(source, 6, got, 4, NULL), BL_OK);
    assert_memory_equal(got, "6789", 4);
    assert_int_equal(bl_source_read(source, 10, got, 0, NULL), BL_OK);
    bl_source_close(source);
    bl_source_close(NULL);
}

static void refuses_to_read_past_the_end(void **state)
{
    static const struct {
        uint64_t offset;
        size_t n;
    } rows[] = { { 7, 4 },       { 10, 1 }, { 11, 0 }, { UINT64_MAX, 1 }, { UINT64_MAX - 1, 4 },
                 { 0, SIZE_MAX } };
    bl_source *file = NULL, *memory = NULL;
    struct bl_err err = { 0 };
    unsigned char got[4];

    (void)state;
    scratch_write("a", "0123456789", 10);
    assert_int_equal(bl_source_open(&file, "a", NULL), BL_OK);
    assert_int_equal(bl_source_memory(&memory, "m", "0123456789", 10, NULL), BL_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_int_equal(bl_source_read(file, rows[i].offset, got, rows[i].n, &err), BL_E_FORMAT);
        assert_int_equal(bl_source_read(memory, rows[i].offset, got, rows[i].n, &err), BL_E_FORMAT);
    }
    assert_int_equal(bl_source_read(memory, 7, got, 4, &err), BL_E_FORMAT);
    assert_string_equal(err.text, "m: 4 bytes at byte 7 lie past the end (10 bytes)");
    bl_source_close(file);
    bl_source_close(memory);
}

static void a_file_that_shrinks_while_it_is_read_is_a_sentence(void **state)
{
    bl_source *source = NULL;
    struct bl_err err = { 0 };
    unsigned char got[10];

    (void)state;
    scratch_write("a", "0123456789", 10);
    assert_int_equal(bl_source_open(&source, "a", NULL), BL_OK);
    assert_int_equal(truncate("a", 5), 0);
    assert_int_equal(bl_source_read(source, 0, got, 10, &err), BL_E_IO);
    assert_string_equal(err.text, "a: the file shrank while it was read");
    assert_int_equal(bl_source_read(source, 0, got, 5, &err), BL_OK);
    bl_source_close(source);
}

static void opens_nothing_but_regular_files(void **state)
{
    bl_source *source = NULL;
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(bl_source_open(&source, "missing", &err), BL_E_IO);
    assert_string_equal(err.text, "missing: cannot open: No such file or directory");
    assert_int_equal(mkdir("folder", 0777), 0);
    assert_int_equal(bl_source_open(&source, "folder", &err), BL_E_IO);
    assert_string_equal(err.text, "folder: not a regular file");
    assert_int_equal(mkfifo("pipe", 0666), 0);
    alarm(10); /* a program that waits for a writer is killed, and that is a failed test */
    assert_int_equal(bl_source_open(&source, "pipe", &err), BL_E_IO);
    alarm(0);
    assert_string_equal(err.text, "pipe: not a regular file");
    assert_int_equal(bl_source_open(&source, "/dev/zero", &err), BL_E_IO);
    assert_null(source);
}

static void reads_a_whole_file_with_a_nul_behind_it(void **state)
{
    bl_source *source = NULL;
    struct bl_err err = { 0 };
    char *bytes = NULL;
    size_t n = 99;

    (void)state;
    scratch_puts("a", "hello");
    assert_int_equal(bl_source_open(&source, "a", NULL), BL_OK);
    assert_int_equal(bl_source_read_all(&bytes, &n, source, 4, &err), BL_E_UNSUPPORTED);
    assert_null(bytes);
    assert_int_equal(bl_source_read_all(&bytes, &n, source, 5, &err), BL_OK);
    assert_int_equal(n, 5);
    assert_string_equal(bytes, "hello");
    bl_free(bytes);
    bl_source_close(source);

    scratch_puts("empty", "");
    assert_int_equal(bl_source_open(&source, "empty", NULL), BL_OK);
    assert_int_equal(bl_source_read_all(&bytes, NULL, source, 5, &err), BL_OK);
    assert_string_equal(bytes, "");
    bl_free(bytes);
    bl_source_close(source);

    assert_int_equal(bl_source_read_file(&bytes, &n, "a", 5, &err), BL_OK);
    assert_int_equal(n, 5);
    assert_string_equal(bytes, "hello");
    bl_free(bytes);
    assert_int_equal(bl_source_read_file(&bytes, &n, "a", 4, &err), BL_E_UNSUPPORTED);
    assert_int_equal(bl_source_read_file(&bytes, &n, "nothing", 5, &err), BL_E_IO);
}

static void leaks_nothing_when_an_allocation_fails(void **state)
{
    int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    (void)state;
    scratch_puts("a", "hello");
    for (uint64_t k = 1; rc == BL_E_NOMEM; k++) {
        bl_source *file = NULL, *memory = NULL;
        char *bytes = NULL;

        bl_alloc_fail_at(k);
        rc = bl_source_open(&file, "a", NULL);
        if (rc == BL_OK)
            rc = bl_source_memory(&memory, "m", "hello", 5, NULL);
        if (rc == BL_OK)
            rc = bl_source_read_all(&bytes, NULL, file, 100, NULL);
        bl_alloc_fail_at(0);
        bl_free(bytes);
        bl_source_close(file);
        bl_source_close(memory);
        assert_true(bl_alloc_live() == live);
    }
    assert_int_equal(rc, BL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(reads_exactly_what_is_asked_for, scratch_clear),
        cmocka_unit_test_teardown(refuses_to_read_past_the_end, scratch_clear),
        cmocka_unit_test_teardown(a_file_that_shrinks_while_it_is_read_is_a_sentence,
                                  scratch_clear),
        cmocka_unit_test_teardown(opens_nothing_but_regular_files, scratch_clear),
        cmocka_unit_test_teardown(reads_a_whole_file_with_a_nul_behind_it, scratch_clear),
        cmocka_unit_test_teardown(leaks_nothing_when_an_allocation_fails, scratch_clear),
    };

    return cmocka_run_group_tests(tests, scratch_enter, scratch_leave);
}
