/*
 * test_layout_corpus.c - every folder of tests/corpus/layouts gets the verdict that its name begins
 * with; good ones decode to the values of independent code (tests/oracle/make_layout_corpus.py).
 */
#include "../golden_records.h"
#include "../layout_container.h"
#include "tests/unit/corpus.h"

#include <stdio.h>
#include <string.h>

#define FOLDER "corpus/layouts/"
#define MATRIX "model.layers.0.mlp.down_proj.weight"

static struct golden golden;

static int open_golden(void **state)
{
    (void)state;
    golden = golden_open("data/golden/layouts.bin");
    return 0;
}

static int close_golden(void **state)
{
    (void)state;
    golden_close(&golden);
    return 0;
}

/* All rows of every tensor, `step` of them at a time, into out (NULL: only whether they decode). */
static bl_status read_all(const bl_ckpt *ckpt, uint64_t step, float *out, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt) && rc == BL_OK; i++) {
        const bl_tensor *t = bl_ckpt_tensor(ckpt, i);
        float *rows = out ? out : bl_alloc((size_t)t->n_values, sizeof(*rows));

        if (!rows)
            return bl_fail_nomem(err, t->name);
        for (uint64_t row = 0; row < t->n_rows && rc == BL_OK; row += step) {
            uint64_t n = t->n_rows - row < step ? t->n_rows - row : step;

            rc = bl_ckpt_read_rows(ckpt, t, row, n, rows + row * t->n_cols, err);
        }
        if (!out)
            bl_free(rows);
    }
    return rc;
}

static void check_values(const bl_ckpt *ckpt, const char *name)
{
    static const uint64_t steps[] = { 1, 3, 8, UINT64_MAX / 2 };
    size_t n;
    float *want = golden_record(&n, &golden, name + strlen("good-"), sizeof(*want));
    float *have = bl_alloc(n, sizeof(*have));
    const bl_tensor *t = bl_ckpt_find(ckpt, MATRIX);
    struct bl_err err = { 0 };

    assert_non_null(t);
    assert_non_null(have);
    assert_int_equal(bl_ckpt_n_tensors(ckpt), 1);
    assert_int_equal(t->n_values, n);
    for (size_t k = 0; k < sizeof(steps) / sizeof(*steps); k++) {
        memset(have, 0xff, n * sizeof(*have));
        if (read_all(ckpt, steps[k], have, &err) != BL_OK)
            fail_msg("%s: %s", name, err.text);
        for (size_t i = 0; i < n; i++)
            if (have[i] != want[i])
                fail_msg("%s: value %zu is %a, not %a", name, i, (double)have[i], (double)want[i]);
    }
    bl_free(want);
    bl_free(have);
}

static void check_file(const char *name, const char *said)
{
    const bl_status wanted = strncmp(name, "good-", 5) == 0  ? BL_OK
                             : strncmp(name, "bad-", 4) == 0 ? BL_E_FORMAT
                                                             : BL_E_UNSUPPORTED;
    const int64_t live = bl_alloc_live();
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;
    char path[300], *bytes;
    size_t n;
    bl_status rc;

    snprintf(path, sizeof(path), FOLDER "%s", name);
    if (bl_source_read_file(&bytes, &n, path, 1 << 20, &err) != BL_OK)
        fail_msg("%s", err.text);
    rc = layout_open(&ckpt, bytes, n, &err);
    if (rc == BL_OK)
        rc = read_all(ckpt, 5, NULL, &err);
    if (rc != wanted)
        fail_msg("%s: status %d, '%s'", name, (int)rc, err.text);
    if (rc == BL_OK)
        check_values(ckpt, name);
    else if (err.status != rc || !strstr(err.text, said))
        fail_msg("%s: '%s' does not say '%s'", name, err.text, said);
    bl_ckpt_close(ckpt);
    bl_free(bytes);
    assert_int_equal(bl_alloc_live(), live);
}

static void gives_every_folder_of_the_corpus_its_verdict(void **state)
{
    (void)state;
    assert_true(corpus_for_each(FOLDER "expected.tsv", check_file) >= 90);
}

/* Memory may end at any allocation: an error that says so, and nothing stays. */
static void sweep_file(const char *name, const char *said)
{
    const int64_t live = bl_alloc_live();
    struct bl_err err = { 0 };
    char path[300], *bytes;
    bl_status rc = BL_E_NOMEM;
    size_t n;

    (void)said;
    if (strncmp(name, "good-", 5) != 0)
        return;
    snprintf(path, sizeof(path), FOLDER "%s", name);
    if (bl_source_read_file(&bytes, &n, path, 1 << 20, &err) != BL_OK)
        fail_msg("%s", err.text);
    for (uint64_t k = 1; rc != BL_OK; k++) {
        bl_ckpt *ckpt = NULL;

        bl_alloc_fail_at(k);
        rc = layout_open(&ckpt, bytes, n, &err);
        if (rc == BL_OK)
            rc = read_all(ckpt, 5, NULL, &err);
        bl_alloc_fail_at(0);
        bl_ckpt_close(ckpt);
        assert_int_equal(bl_alloc_live(), live + 1);
        if (rc != BL_OK && rc != BL_E_NOMEM)
            fail_msg("%s, allocation %lu: '%s'", name, (unsigned long)k, err.text);
    }
    bl_free(bytes);
}

static void survives_the_end_of_memory_at_any_allocation(void **state)
{
    (void)state;
    corpus_for_each(FOLDER "expected.tsv", sweep_file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_every_folder_of_the_corpus_its_verdict),
        cmocka_unit_test(survives_the_end_of_memory_at_any_allocation),
    };

    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
