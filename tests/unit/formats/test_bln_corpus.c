/*
 * test_bln_corpus.c - every file of tests/corpus/bln gets the verdict that its name begins with.
 * The files were written by independent code (tests/oracle/bln.py).
 */
#include "base/alloc.h"
#include "formats/bln/bln_reader.h"
#include "tests/unit/corpus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER "corpus/bln/"

static bool starts(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

/* Everything a reader can be asked for, of a file that is whole. */
static bl_status read_everything(const bl_container *bln, struct bl_err *err)
{
    bl_status rc = bl_bln_verify(bln, 2, NULL, NULL, NULL, err);

    for (size_t i = 0; i < bln->n_stored && rc == BL_OK; i++) {
        size_t n = (size_t)bln->stored[i].n_bytes;
        unsigned char *bytes = malloc(n + 1);

        rc = bl_container_read(bln, i, 0, bytes, n, err);
        free(bytes);
    }
    for (size_t i = 0; i < bln->n_side_files + bl_bln_n_shards(bln) && rc == BL_OK; i++) {
        char *bytes = NULL;
        size_t n = 0;

        if (i < bln->n_side_files)
            rc = bl_container_side_file(bln, bln->side_file_name[i], &bytes, &n, err);
        else
            rc = bl_bln_shard_header(bln, i - bln->n_side_files, &bytes, &n, err);
        if (rc == BL_OK)
            assert_int_equal(bytes[n], '\0');
        bl_free(bytes);
    }
    return rc;
}

static void check_file(const char *name, const char *said)
{
    const bl_status wanted = starts(name, "good-")      ? BL_OK
                             : starts(name, "damaged-") ? BL_E_MISMATCH
                             : starts(name, "bad-")     ? BL_E_FORMAT
                                                        : BL_E_UNSUPPORTED;
    const int64_t live = bl_alloc_live();
    bl_container *bln = NULL;
    struct bl_err err = { 0 };
    char path[300];
    bl_status rc;

    snprintf(path, sizeof(path), FOLDER "%s", name);
    rc = bl_bln_open(&bln, path, &err);
    if (rc != BL_OK)
        assert_null(bln);
    else if (wanted != BL_OK && wanted != BL_E_MISMATCH)
        fail_msg("%s opens", name);
    else
        rc = read_everything(bln, &err);
    if (rc != wanted)
        fail_msg("%s: status %d, '%s'", name, (int)rc, err.text);
    if (rc != BL_OK && (err.status != rc || !strstr(err.text, name) || !strstr(err.text, said)))
        fail_msg("%s: '%s' does not say '%s'", name, err.text, said);
    bl_container_close(bln);
    assert_int_equal(bl_alloc_live(), live);
}

static void gives_every_file_of_the_corpus_its_verdict(void **state)
{
    (void)state;
    assert_true(corpus_for_each(FOLDER "expected.tsv", check_file) > 100);
}

static unsigned char *read_corpus_file(const char *path, size_t *n)
{
    bl_source *source = NULL;
    char *bytes = NULL;

    assert_int_equal(bl_source_open(&source, path, NULL), BL_OK);
    assert_int_equal(bl_source_read_all(&bytes, n, source, 1 << 20, NULL), BL_OK);
    bl_source_close(source);
    return (unsigned char *)bytes;
}

static bl_status open_bytes(bl_container **out, const unsigned char *bytes, size_t n,
                            struct bl_err *err)
{
    bl_source *source = NULL;

    assert_int_equal(bl_source_memory(&source, "x.bln", bytes, n, err), BL_OK);
    return bl_bln_open_source(out, source, err);
}

static void refuses_every_prefix_of_a_good_file(void **state)
{
    size_t n;
    unsigned char *bytes = read_corpus_file(FOLDER "good-every-dtype.bln", &n);

    (void)state;
    for (size_t cut = 0; cut < n; cut++) {
        struct bl_err err = { 0 };
        bl_container *bln = NULL;

        assert_int_equal(open_bytes(&bln, bytes, cut, &err), BL_E_FORMAT);
        assert_true(starts(err.text, "x.bln: "));
    }
    bl_free(bytes);
}

/* Every single-byte change is an error, or changes nothing that anybody can read. */
static void reads_nothing_wrong_whichever_byte_is_changed(void **state)
{
    size_t n, n_harmless = 0;
    unsigned char *bytes = read_corpus_file(FOLDER "good-copy.bln", &n);

    (void)state;
    for (size_t at = 0; at < n; at++) {
        struct bl_err err = { 0 };
        bl_container *bln = NULL;
        bl_status rc;

        bytes[at] ^= 0x5a;
        rc = open_bytes(&bln, bytes, n, &err);
        if (rc == BL_OK)
            rc = read_everything(bln, &err);
        n_harmless += rc == BL_OK;
        assert_true(rc == BL_OK || rc == BL_E_FORMAT || rc == BL_E_MISMATCH);
        bl_container_close(bln);
        bytes[at] ^= 0x5a;
    }
    /* Superblock, trailer and index are hashed whole; data is; only padding is not. */
    assert_true(n_harmless > 0 && n_harmless < 4 * 64);
    bl_free(bytes);
}

static void survives_every_failing_allocation(void **state)
{
    size_t n;
    unsigned char *bytes = read_corpus_file(FOLDER "good-zstd-index.bln", &n);
    int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    (void)state;
    for (uint64_t k = 1; rc != BL_OK; k++) {
        bl_container *bln = NULL;
        bl_source *source = NULL;
        struct bl_err err = { 0 };

        bl_alloc_fail_at(k);
        rc = bl_source_memory(&source, "x.bln", bytes, n, &err);
        if (rc == BL_OK)
            rc = bl_bln_open_source(&bln, source, &err);
        if (rc == BL_OK)
            rc = read_everything(bln, &err);
        bl_alloc_fail_at(0);
        bl_container_close(bln);
        assert_int_equal(bl_alloc_live(), live);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        assert_true(k < 200);
    }
    bl_free(bytes);
}

struct told {
    int n;
    char last[300];
};

static void listen(void *context, const char *sentence)
{
    struct told *told = context;

    told->n++;
    snprintf(told->last, sizeof(told->last), "%s", sentence);
}

static void verify_names_everything_that_is_damaged(void **state)
{
    size_t n;
    unsigned char *bytes = read_corpus_file(FOLDER "good-copy.bln", &n);
    struct told told = { 0 };
    struct bl_err err = { 0 };
    bl_container *bln = NULL;

    (void)state;
    bytes[4096] ^= 1;       /* the header */
    bytes[4096 + 64] ^= 1;  /* a, and its copy b */
    bytes[4096 + 128] ^= 1; /* config.json */
    assert_int_equal(open_bytes(&bln, bytes, n, &err), BL_OK);
    assert_int_equal(bl_bln_verify(bln, 2, NULL, listen, &told, &err), BL_E_MISMATCH);
    assert_int_equal(told.n, 4);
    assert_non_null(strstr(told.last, "file 'config.json'"));
    assert_non_null(strstr(err.text, "header of 'model.safetensors'"));
    assert_non_null(strstr(err.text, "4 of 4 entries are damaged"));
    bl_container_close(bln);
    bl_free(bytes);
}

static void decodes_what_the_other_writer_coded(void **state)
{
    static const char *const one_value[] = { "good-zstd", "good-const-1", "good-const-8" };
    unsigned char got[240];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        bl_container *bln = NULL;
        char path[100];

        snprintf(path, sizeof(path), FOLDER "%s.bln", one_value[i]);
        assert_int_equal(bl_bln_open(&bln, path, NULL), BL_OK);
        assert_int_equal(bl_container_read(bln, 0, 0, got, 240, NULL), BL_OK);
        for (size_t k = 0; k < 240; k++)
            assert_int_equal(got[k], 7);
        bl_container_close(bln);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_every_file_of_the_corpus_its_verdict),
        cmocka_unit_test(refuses_every_prefix_of_a_good_file),
        cmocka_unit_test(reads_nothing_wrong_whichever_byte_is_changed),
        cmocka_unit_test(survives_every_failing_allocation),
        cmocka_unit_test(verify_names_everything_that_is_damaged),
        cmocka_unit_test(decodes_what_the_other_writer_coded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
