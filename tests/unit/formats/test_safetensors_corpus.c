/*
 * test_safetensors_corpus.c - every file of tests/corpus/safetensors gets the verdict that its
 * name begins with, and a sentence that says why.
 */
#include "base/alloc.h"
#include "base/source.h"
#include "formats/safetensors/safetensors_reader.h"
#include "tests/unit/corpus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER "corpus/safetensors/"

static bl_status read_file(const char *path, bl_safetensors *st, struct bl_err *err)
{
    bl_source *source = NULL;
    bl_status rc = bl_source_open(&source, path, err);

    if (rc == BL_OK)
        rc = bl_safetensors_read(st, source, err);
    bl_source_close(source);
    return rc;
}

/* Data of a good file: end to end, in order, from the header to the end of the file. */
static void check_table(const char *path, const bl_safetensors *st)
{
    bl_source *source = NULL;
    uint64_t end = st->data_offset;

    assert_int_equal(bl_source_open(&source, path, NULL), BL_OK);
    for (size_t i = 0; i < st->n_stored; i++) {
        assert_true(st->stored[i].offset == end);
        end += st->stored[i].n_bytes;
    }
    assert_true(end == source->size);
    bl_source_close(source);
}

static void check_file(const char *name, const char *said)
{
    const bl_status wanted = strncmp(name, "good-", 5) == 0  ? BL_OK
                             : strncmp(name, "bad-", 4) == 0 ? BL_E_FORMAT
                                                             : BL_E_UNSUPPORTED;
    const int64_t live = bl_alloc_live();
    struct bl_err err = { 0 };
    bl_safetensors st = { 0 };
    char path[300];
    bl_status rc;

    snprintf(path, sizeof(path), FOLDER "%s", name);
    rc = read_file(path, &st, &err);
    if (rc != wanted)
        fail_msg("%s: status %d, '%s'", name, (int)rc, err.text);
    if (rc == BL_OK)
        check_table(path, &st);
    else if (err.status != rc || !strstr(err.text, name) || !strstr(err.text, said))
        fail_msg("%s: '%s' does not say '%s'", name, err.text, said);
    if (rc != BL_OK)
        assert_null(st.stored);
    bl_safetensors_release(&st);
    assert_int_equal(bl_alloc_live(), live);
}

static void gives_every_file_of_the_corpus_its_verdict(void **state)
{
    (void)state;
    assert_true(corpus_for_each(FOLDER "expected.tsv", check_file) > 80);
}

/* The bytes of a good file in memory, cut at every length: only the whole is a file. */
static void refuses_every_prefix_of_a_good_file(void **state)
{
    bl_source *file = NULL;
    char *bytes = NULL;
    size_t n;

    (void)state;
    assert_int_equal(bl_source_open(&file, FOLDER "good-every-dtype.safetensors", NULL), BL_OK);
    assert_int_equal(bl_source_read_all(&bytes, &n, file, 1 << 20, NULL), BL_OK);
    bl_source_close(file);
    for (size_t cut = 0; cut <= n; cut++) {
        struct bl_err err = { 0 };
        bl_safetensors st = { 0 };
        bl_source *source = NULL;
        bl_status rc;

        assert_int_equal(bl_source_memory(&source, "cut", bytes, cut, NULL), BL_OK);
        rc = bl_safetensors_read(&st, source, &err);
        assert_int_equal(rc, cut == n ? BL_OK : BL_E_FORMAT);
        if (cut < n)
            assert_memory_equal(err.text, "cut: ", 5);
        bl_safetensors_release(&st);
        bl_source_close(source);
    }
    bl_free(bytes);
}

static void knows_a_name_that_cannot_go_into_a_file(void **state)
{
    (void)state;
    assert_null(bl_safetensors_name_fault("model.layers.0.weight"));
    assert_null(bl_safetensors_name_fault("\xc2\xa0\xd0\xb0")); /* U+00A0 is no control character */
    assert_non_null(bl_safetensors_name_fault(""));
    assert_non_null(bl_safetensors_name_fault("a\tb"));
    assert_non_null(bl_safetensors_name_fault("a\x7f"));
    assert_non_null(bl_safetensors_name_fault("a\xc2\x9b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_every_file_of_the_corpus_its_verdict),
        cmocka_unit_test(refuses_every_prefix_of_a_good_file),
        cmocka_unit_test(knows_a_name_that_cannot_go_into_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
