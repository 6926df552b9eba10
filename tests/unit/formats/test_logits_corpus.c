/*
 * test_logits_corpus.c - every file of tests/corpus/logits gets the verdict that its name begins
 * with, and a sentence that says why; and no byte of a file can change unseen.
 */
#include "base/alloc.h"
#include "base/source.h"
#include "formats/logits/logits_reader.h"
#include "tests/unit/corpus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER "corpus/logits/"

/* All rows, one by one: every block is looked at, and every row at another place in its block. */
static bl_status read_all(const bl_logits_reader *r, struct bl_err *err)
{
    bl_logits_sparse sparse;
    float *row = bl_alloc(r->info.hidden_size, sizeof(*row));
    bl_status rc = row ? BL_OK : BL_E_NOMEM;

    for (uint64_t i = 0; i < r->layout.n_head && rc == BL_OK; i++)
        rc = bl_logits_read_head(row, r, i, 1, err);
    for (uint64_t i = 0; i < r->info.n_scored && rc == BL_OK; i++)
        rc = r->info.kind == BL_LOGITS_SPARSE ? bl_logits_read_sparse(&sparse, r, i, 1, err)
                                              : bl_logits_read_hidden(row, r, i, 1, err);
    bl_free(row);
    return rc;
}

/* *opened: whether it was the rows that were refused. */
static bl_status open_and_read(bool *opened, bl_source *source, struct bl_err *err)
{
    bl_logits_reader *r = NULL;
    bl_status rc = bl_logits_open_source(&r, source, err);

    *opened = rc == BL_OK;
    if (rc == BL_OK)
        rc = read_all(r, err);
    bl_logits_close(r);
    return rc;
}

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static void check_file(const char *name, const char *said)
{
    const bool rows = begins(name, "damaged-") || begins(name, "broken-");
    const bl_status wanted = begins(name, "good-")          ? BL_OK
                             : begins(name, "damaged-")     ? BL_E_MISMATCH
                             : begins(name, "unsupported-") ? BL_E_UNSUPPORTED
                                                            : BL_E_FORMAT;
    const int64_t live = bl_alloc_live();
    struct bl_err err = { 0 };
    bl_source *source = NULL;
    bool opened = false;
    char path[300];
    bl_status rc;

    snprintf(path, sizeof(path), FOLDER "%s", name);
    assert_int_equal(bl_source_open(&source, path, NULL), BL_OK);
    rc = open_and_read(&opened, source, &err);
    if (rc != wanted || opened != (rows || wanted == BL_OK))
        fail_msg("%s: status %d, '%s'", name, (int)rc, err.text);
    if (rc != BL_OK && (err.status != rc || !strstr(err.text, name) || !strstr(err.text, said)))
        fail_msg("%s: '%s' does not say '%s'", name, err.text, said);
    assert_int_equal(bl_alloc_live(), live);
}

static void gives_every_file_of_the_corpus_its_verdict(void **state)
{
    (void)state;
    assert_true(corpus_for_each(FOLDER "expected.tsv", check_file) > 50);
}

static unsigned char *load(size_t *n, const char *path)
{
    bl_source *file = NULL;
    char *bytes = NULL;

    assert_int_equal(bl_source_open(&file, path, NULL), BL_OK);
    assert_int_equal(bl_source_read_all(&bytes, n, file, 1 << 20, NULL), BL_OK);
    bl_source_close(file);
    return (unsigned char *)bytes;
}

/* The first n of the bytes must be refused with a sentence that names the file. */
static void must_fail(const unsigned char *bytes, size_t n)
{
    struct bl_err err = { 0 };
    bl_source *source = NULL;
    bool opened;

    assert_int_equal(bl_source_memory(&source, "spoiled", bytes, n, NULL), BL_OK);
    assert_int_not_equal(open_and_read(&opened, source, &err), BL_OK);
    assert_memory_equal(err.text, "spoiled: ", 9);
}

static void no_byte_can_change_or_be_missing_unseen(void **state)
{
    static const char *const names[] = { FOLDER "good-sparse.logits", FOLDER "good-hidden.logits",
                                         FOLDER "good-small-vocabulary.logits" };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        size_t n = 0;
        unsigned char *bytes = load(&n, names[i]);

        for (size_t at = 0; at < n; at++) {
            must_fail(bytes, at);
            bytes[at] ^= (unsigned char)(1 << at % 8);
            must_fail(bytes, n);
            bytes[at] ^= (unsigned char)(1 << at % 8);
        }
        bl_free(bytes);
    }
}

static void reads_what_the_oracle_wrote(void **state)
{
    bl_logits_reader *r = NULL;
    bl_logits_sparse s[130];

    (void)state;
    assert_int_equal(bl_logits_open(&r, FOLDER "good-blocks.logits", NULL), BL_OK);
    assert_int_equal(r->info.vocab_size, 10);
    assert_int_equal(r->info.bos, -1);
    assert_string_equal(r->info.name, "oracle");
    assert_true(r->info.model.low == 0x0706050403020100);
    assert_true(r->info.model.high == 0x0f0e0d0c0b0a0908);
    assert_int_equal(r->token[130], 0);
    assert_int_equal(r->seq[0].n_records, 130);
    assert_int_equal(bl_logits_read_sparse(s, r, 0, 130, NULL), BL_OK);
    for (int i = 0; i < 130; i++)
        assert_true(s[i].target == -(float)i / 16);
    assert_int_equal(s[7].n_top, 2);
    assert_int_equal(s[7].n_samples, 3);
    assert_true(s[7].tail == 0.0625f && s[7].ln_threshold == -3.25f);
    assert_true(s[7].id[0] == 4 && s[7].log_p[0] == -0.5f);
    assert_true(s[7].id[3] == 2 && s[7].log_p[3] == -3.5f);
    assert_true(s[7].id[4] == 9 && s[7].log_p[4] < -127.99f); /* -200 is beyond what is kept */
    bl_logits_close(r);
}

static void an_allocation_that_fails_is_said(void **state)
{
    bl_status rc = BL_E_NOMEM;

    (void)state;
    for (uint64_t k = 1; rc != BL_OK; k++) {
        const int64_t live = bl_alloc_live();
        bl_source *source = NULL;
        bool opened;

        bl_alloc_fail_at(k);
        rc = bl_source_open(&source, FOLDER "good-hidden.logits", NULL);
        if (rc == BL_OK)
            rc = open_and_read(&opened, source, NULL);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        assert_int_equal(bl_alloc_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_every_file_of_the_corpus_its_verdict),
        cmocka_unit_test(no_byte_can_change_or_be_missing_unseen),
        cmocka_unit_test(reads_what_the_oracle_wrote),
        cmocka_unit_test(an_allocation_that_fails_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
