/*
 * test_gguf_corpus.c - every file of tests/corpus/gguf gets the verdict that its name begins with,
 * and a sentence that says why; a good file cut anywhere is not a file; no allocation can fail
 * unnoticed.
 */
#include "base/alloc.h"
#include "formats/gguf/gguf_reader.h"
#include "tests/unit/corpus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER "corpus/gguf/"

static char *read_whole(const char *path, size_t *n)
{
    bl_source *source = NULL;
    char *bytes = NULL;

    assert_int_equal(bl_source_open(&source, path, NULL), BL_OK);
    assert_int_equal(bl_source_read_all(&bytes, n, source, 1 << 20, NULL), BL_OK);
    bl_source_close(source);
    return bytes;
}

/* Tensors of a good file lie in order, within the file, and can be read. */
static void check_table(const bl_container *c)
{
    uint64_t end = 0;

    assert_string_equal(c->kind, "gguf");
    assert_int_equal(c->n_shards, 1);
    assert_null(strchr(c->shard_name[0], '/'));
    for (size_t i = 0; i < c->n_stored; i++) {
        const bl_stored *t = &c->stored[i];
        char *bytes = bl_alloc((size_t)t->n_bytes, 1);

        assert_true(t->offset >= end && t->offset % 8 == 0);
        end = t->offset + t->n_bytes;
        assert_true(end <= c->n_file_bytes);
        assert_non_null(bytes);
        assert_int_equal(bl_container_read(c, i, 0, bytes, (size_t)t->n_bytes, NULL), BL_OK);
        bl_free(bytes);
    }
}

static void check_file(const char *name, const char *said)
{
    const bl_status wanted = strncmp(name, "good-", 5) == 0  ? BL_OK
                             : strncmp(name, "bad-", 4) == 0 ? BL_E_FORMAT
                                                             : BL_E_UNSUPPORTED;
    const int64_t live = bl_alloc_live();
    struct bl_err err = { 0 };
    bl_container *c = NULL;
    char path[300];
    bl_status rc;

    snprintf(path, sizeof(path), FOLDER "%s", name);
    rc = bl_gguf_open(&c, path, &err);
    if (rc != wanted)
        fail_msg("%s: status %d, '%s'", name, (int)rc, err.text);
    if (rc == BL_OK)
        check_table(c);
    else if (err.status != rc || !strstr(err.text, name) || !strstr(err.text, said))
        fail_msg("%s: '%s' does not say '%s'", name, err.text, said);
    if (rc != BL_OK)
        assert_null(c);
    bl_container_close(c);
    assert_int_equal(bl_alloc_live(), live);
}

static void gives_every_file_of_the_corpus_its_verdict(void **state)
{
    (void)state;
    assert_true(corpus_for_each(FOLDER "expected.tsv", check_file) > 90);
}

static bl_status open_bytes(bl_container **out, const void *bytes, size_t n, struct bl_err *err)
{
    bl_source *source = NULL;
    bl_status rc = bl_source_memory(&source, "cut", bytes, n, err);

    return rc == BL_OK ? bl_gguf_open_source(out, source, err) : rc;
}

/* The last tensor may lack its padding; anything shorter is no file. */
static void refuses_every_prefix_of_a_good_file(void **state)
{
    static const char *const names[] = { "good-python-every-value.gguf",
                                         "good-python-every-type.gguf", "good-two-tensors.gguf" };

    (void)state;
    for (size_t k = 0; k < sizeof(names) / sizeof(*names); k++) {
        char path[300], *bytes;
        bl_container *whole = NULL;
        size_t n, needed = 0;

        snprintf(path, sizeof(path), FOLDER "%s", names[k]);
        bytes = read_whole(path, &n);
        assert_int_equal(open_bytes(&whole, bytes, n, NULL), BL_OK);
        if (whole->n_stored > 0) {
            const bl_stored *last = &whole->stored[whole->n_stored - 1];

            needed = (size_t)(last->offset + last->n_bytes);
        }
        bl_container_close(whole);
        for (size_t cut = 0; cut < (needed ? needed : n - 32); cut++) {
            struct bl_err err = { 0 };
            bl_container *c = NULL;

            assert_int_equal(open_bytes(&c, bytes, cut, &err), BL_E_FORMAT);
            assert_memory_equal(err.text, "cut: ", 5);
        }
        bl_free(bytes);
    }
}

/* A header with one byte changed is refused or read, and never read outside its bytes. */
static void survives_every_changed_byte(void **state)
{
    size_t n;
    char *bytes = read_whole(FOLDER "good-python-every-value.gguf", &n);
    const int64_t live = bl_alloc_live();

    (void)state;
    for (size_t i = 0; i < n; i++) {
        static const unsigned char values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
        const char kept = bytes[i];

        for (size_t k = 0; k < sizeof(values); k++) {
            struct bl_err err = { 0 };
            bl_container *c = NULL;

            bytes[i] = (char)values[k];
            if (open_bytes(&c, bytes, n, &err) != BL_OK)
                assert_true(err.text[0] != '\0');
            bl_container_close(c);
            assert_int_equal(bl_alloc_live(), live);
        }
        bytes[i] = kept;
    }
    bl_free(bytes);
}

static void reports_every_allocation_that_fails(void **state)
{
    static const char *const paths[] = { FOLDER "good-python-every-value.gguf",
                                         FOLDER "good-python-every-type.gguf",
                                         FOLDER "good-python-tokens.gguf" };
    const int64_t live = bl_alloc_live();

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        bool failed = true;
        uint64_t k;

        for (k = 1; failed; k++) {
            const uint64_t before = bl_alloc_count();
            struct bl_err err = { 0 };
            bl_container *c = NULL;
            bl_status rc;

            bl_alloc_fail_at(k);
            rc = bl_gguf_open(&c, paths[i], &err);
            failed = bl_alloc_count() - before >= k;
            bl_alloc_fail_at(0);
            if (rc != BL_OK) {
                assert_int_equal(rc, BL_E_NOMEM);
                assert_null(c);
            }
            bl_container_close(c);
            assert_int_equal(bl_alloc_live(), live);
        }
        assert_true(k > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_every_file_of_the_corpus_its_verdict),
        cmocka_unit_test(refuses_every_prefix_of_a_good_file),
        cmocka_unit_test(survives_every_changed_byte),
        cmocka_unit_test(reports_every_allocation_that_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
