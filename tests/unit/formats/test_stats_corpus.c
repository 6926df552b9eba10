/*
 * test_stats_corpus.c - every file of tests/corpus/stats gets the verdict that its name begins with,
 * and a sentence that says why; what is good is read as make.py wrote it.
 */
#include "base/alloc.h"
#include "base/source.h"
#include "formats/stats/stats.h"
#include "tests/unit/corpus.h"
#include "tests/unit/formats/stats_read_all.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER "corpus/stats/"

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static void check_file(const char *name, const char *said)
{
    const bool values = begins(name, "broken-");
    const bl_status wanted = begins(name, "good-")          ? BL_OK
                             : begins(name, "unsupported-") ? BL_E_UNSUPPORTED
                                                            : BL_E_FORMAT;
    const int64_t live = bl_alloc_live();
    struct bl_err err = { 0 };
    bl_stats *stats = NULL;
    char path[300];
    bool opened;
    bl_status rc;

    snprintf(path, sizeof(path), FOLDER "%s", name);
    rc = bl_stats_open(&stats, path, &err);
    opened = rc == BL_OK;
    if (rc == BL_OK)
        rc = stats_read_all(stats, &err);
    bl_stats_close(stats);
    if (rc != wanted || opened != (values || wanted == BL_OK))
        fail_msg("%s: status %d, '%s'", name, (int)rc, err.text);
    if (rc != BL_OK && (err.status != rc || !strstr(err.text, name) || !strstr(err.text, said)))
        fail_msg("%s: '%s' does not say '%s'", name, err.text, said);
    assert_int_equal(bl_alloc_live(), live);
}

static void gives_every_file_of_the_corpus_its_verdict(void **state)
{
    (void)state;
    assert_true(corpus_for_each(FOLDER "expected.tsv", check_file) > 80);
}

static bl_stats *open_stats(const char *path)
{
    struct bl_err err = { 0 };
    bl_stats *stats = NULL;

    if (bl_stats_open(&stats, path, &err) != BL_OK)
        fail_msg("%s", err.text);
    return stats;
}

static void reads_what_other_code_wrote(void **state)
{
    bl_stats *stats = open_stats(FOLDER "good-merged.stats");
    const bl_stats_info *info = bl_stats_info_of(stats);
    bl_stats_saliency s[2];
    uint64_t count[2];
    float mean[3];

    (void)state;
    assert_true(info->has_model && info->identity.high == 0x0123456789abcdef);
    assert_true(info->n_tokens == 20 && info->ctx == 10 && info->n_layers == 2);
    assert_true(info->n_parts == 4 && info->part[0] == 5);
    assert_int_equal(bl_stats_read(mean, count, stats, BL_SITE_EXPERT_INPUT, 1, 1, 1, NULL), BL_OK);
    assert_true(mean[0] == 4 && mean[2] == 6 && count[0] == 10);
    assert_int_equal(bl_stats_read_saliency(s, stats, 1, NULL), BL_OK);
    assert_true(s[1].n == 10 && s[1].gate == 6 && s[1].gate_norm_turn == 10 && s[1].max_abs == 11);
    bl_stats_close(stats);
}

static void an_imatrix_is_sums_by_counts(void **state)
{
    bl_stats *stats = open_stats(FOLDER "good-imatrix.stats");
    uint64_t count[2];
    float mean[6];

    (void)state;
    assert_int_equal(bl_stats_info_of(stats)->n_tokens, 20);
    assert_int_equal(bl_stats_read(mean, count, stats, BL_SITE_ATTENTION_INPUT, 0, 0, 1, NULL),
                     BL_OK);
    assert_true(mean[0] == 1 && mean[2] == 3 && count[0] == 20);
    assert_int_equal(bl_stats_read(mean, count, stats, BL_SITE_EXPERT_INPUT, 1, 0, 2, NULL), BL_OK);
    assert_true(mean[1] == 2 && mean[5] == 6 && count[1] == 10);
    assert_int_equal(bl_stats_read(mean, count, stats, BL_SITE_EXPERTS_INPUT, 1, 0, 1, NULL),
                     BL_OK);
    assert_true(mean[0] == 1.75f && mean[2] == 3.75f && count[0] == 40);
    assert_int_equal(bl_stats_read(mean, count, stats, BL_SITE_EXPERT_INNER, 1, 1, 1, NULL), BL_OK);
    assert_true(mean[0] == 0 && count[0] == 0);
    bl_stats_close(stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_every_file_of_the_corpus_its_verdict),
        cmocka_unit_test(reads_what_other_code_wrote),
        cmocka_unit_test(an_imatrix_is_sums_by_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
