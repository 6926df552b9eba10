/* What happened to a tensor is guessed from its values, and memory that fails is a status. */
#include "spoiled.h"
#include "verify/diagnose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define EXPERT "model.layers.1.mlp.experts."

/* All bytes of a stored tensor; the caller frees them. */
static char *stored_bytes(size_t *n, const char *folder, const char *stored)
{
    bl_ckpt *ckpt = spoiled_open(folder);
    const bl_container *c = bl_ckpt_container(ckpt);
    char *bytes;
    size_t i;

    if (!bl_container_find(&i, c, stored))
        abort();
    *n = (size_t)c->stored[i].n_bytes;
    bytes = malloc(*n);
    if (!bytes || bl_container_read(c, i, 0, bytes, *n, NULL) != BL_OK)
        abort();
    bl_ckpt_close(ckpt);
    return bytes;
}

/* Put the reference's values of `from` in the place of `to`, codes and scales. */
static void put_instead(const char *folder, const char *to, const char *from)
{
    static const char *const suffix[] = { "", "_scale_inv" };

    for (size_t i = 0; i < 2; i++) {
        char a[128], b[128], *bytes;
        size_t n;

        snprintf(a, sizeof(a), "%s%s", to, suffix[i]);
        snprintf(b, sizeof(b), "%s%s", from, suffix[i]);
        bytes = stored_bytes(&n, spoiled_source, b);
        spoiled_patch(folder, a, 0, bytes, n);
        free(bytes);
    }
}

static float *decoded(const bl_ckpt *ckpt, const bl_tensor *t)
{
    float *values = malloc((size_t)t->n_values * sizeof(*values));

    if (!values || bl_ckpt_read_rows(ckpt, t, 0, t->n_rows, values, NULL) != BL_OK)
        abort();
    return values;
}

static bl_status diagnose(bl_diagnosis *out, const bl_ckpt *ref, const bl_ckpt *test,
                          const char *name, uint64_t fail_at)
{
    const bl_tensor *a = bl_ckpt_find(ref, name), *b = bl_ckpt_find(test, name);
    float *x = decoded(ref, a), *y = decoded(test, b);
    bl_metrics_sums sums = { 0 };
    bl_metrics m;
    bl_status rc;

    bl_metrics_add(&sums, x, y, (size_t)a->n_values);
    m = bl_metrics_finish(&sums);
    free(x);
    free(y);
    bl_alloc_fail_at(fail_at);
    rc = bl_diagnose(out, ref, a, test, b, &m, NULL);
    bl_alloc_fail_at(0);
    return rc;
}

static void exchanged_copied_and_sound_tensors_are_told_apart(void **state)
{
    bl_ckpt *ref, *test;
    bl_diagnosis d;

    (void)state;
    spoiled_copy("a", NULL, NULL);
    put_instead("a", EXPERT "3.up_proj.weight", EXPERT "6.up_proj.weight");
    put_instead("a", EXPERT "6.up_proj.weight", EXPERT "3.up_proj.weight");
    put_instead("a", EXPERT "2.gate_proj.weight", EXPERT "2.up_proj.weight");
    ref = spoiled_open(spoiled_source);
    test = spoiled_open("a");
    assert_int_equal(diagnose(&d, ref, test, EXPERT "3.up_proj.weight", 0), BL_OK);
    assert_int_equal(d.kind, BL_DIAGNOSIS_EXCHANGED);
    assert_string_equal(d.other->name, EXPERT "6.up_proj.weight");
    assert_int_equal(diagnose(&d, ref, test, EXPERT "2.gate_proj.weight", 0), BL_OK);
    assert_int_equal(d.kind, BL_DIAGNOSIS_COPY);
    assert_string_equal(d.other->name, EXPERT "2.up_proj.weight");
    assert_int_equal(diagnose(&d, ref, test, EXPERT "1.up_proj.weight", 0), BL_OK);
    assert_int_equal(d.kind, BL_DIAGNOSIS_NONE);
    bl_ckpt_close(ref);
    bl_ckpt_close(test);
}

/* Rows of codes turned round inside the first scale block: the scales stay right. */
static void rows_in_another_order_are_seen(void **state)
{
    static const char *const name = EXPERT "0.up_proj.weight";
    bl_ckpt *ref = spoiled_open(spoiled_source), *test;
    size_t n, n_cols = (size_t)bl_ckpt_find(ref, name)->n_cols;
    bl_diagnosis d;
    char *bytes, *turned;

    (void)state;
    spoiled_copy("a", NULL, NULL);
    bytes = stored_bytes(&n, "a", name);
    turned = malloc(n);
    if (!turned)
        abort();
    for (size_t row = 0; row < n / n_cols; row++)
        memcpy(turned + row * n_cols, bytes + (row / 128 * 128 + 127 - row % 128) * n_cols, n_cols);
    spoiled_patch("a", name, 0, turned, n);
    free(bytes);
    free(turned);
    test = spoiled_open("a");
    assert_int_equal(diagnose(&d, ref, test, name, 0), BL_OK);
    assert_int_equal(d.kind, BL_DIAGNOSIS_ROWS);
    bl_ckpt_close(ref);
    bl_ckpt_close(test);
}

static void a_factor_and_few_other_values_are_seen(void **state)
{
    const float other[4] = { 1, -1, 1, -1 };
    bl_ckpt *ref, *test;
    bl_diagnosis d;
    bl_text text = { 0 };

    (void)state;
    spoiled_copy("a", NULL, NULL);
    spoiled_scale("a", EXPERT "5.down_proj.weight_scale_inv", 1.01f);
    spoiled_patch("a", "model.layers.1.mlp.gate.e_score_correction_bias", 0, other, sizeof(other));
    ref = spoiled_open(spoiled_source);
    test = spoiled_open("a");
    assert_int_equal(diagnose(&d, ref, test, EXPERT "5.down_proj.weight", 0), BL_OK);
    assert_int_equal(d.kind, BL_DIAGNOSIS_SCALED);
    bl_diagnosis_put(&text, &d);
    assert_string_equal(text.bytes, "looks scaled by 1.01");
    bl_text_release(&text);
    assert_int_equal(diagnose(&d, ref, test, "model.layers.1.mlp.gate.e_score_correction_bias", 0),
                     BL_OK);
    assert_int_equal(d.kind, BL_DIAGNOSIS_FEW);
    bl_diagnosis_put(&text, &d);
    assert_string_equal(text.bytes, "4 of 8 values differ");
    bl_text_release(&text);
    bl_ckpt_close(ref);
    bl_ckpt_close(test);
}

static void memory_that_fails_is_a_status(void **state)
{
    static const char *const name = EXPERT "3.up_proj.weight";
    bl_ckpt *ref, *test;
    bl_status rc = BL_E_NOMEM;
    bl_diagnosis d;
    int64_t live;

    (void)state;
    spoiled_copy("a", NULL, NULL);
    put_instead("a", name, "model.layers.2.mlp.experts.0.gate_proj.weight"); /* not looked at */
    ref = spoiled_open(spoiled_source);
    test = spoiled_open("a");
    live = bl_alloc_live();
    for (uint64_t k = 1; rc != BL_OK; k++) {
        rc = diagnose(&d, ref, test, name, k);
        assert_int_equal(bl_alloc_live(), live);
        assert_true(rc == BL_OK || (rc == BL_E_NOMEM && k < 1000));
    }
    assert_int_equal(d.kind, BL_DIAGNOSIS_NONE); /* no guess rather than a wrong one */
    bl_ckpt_close(ref);
    bl_ckpt_close(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(exchanged_copied_and_sound_tensors_are_told_apart, scratch_clear),
        cmocka_unit_test_teardown(rows_in_another_order_are_seen, scratch_clear),
        cmocka_unit_test_teardown(a_factor_and_few_other_values_are_seen, scratch_clear),
        cmocka_unit_test_teardown(memory_that_fails_is_a_status, scratch_clear),
    };

    return cmocka_run_group_tests(tests, spoiled_enter, scratch_leave);
}
