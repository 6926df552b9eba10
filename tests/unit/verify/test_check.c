/* One checkpoint against its own configuration: whole is whole, and every fault is a sentence. */
#include "spoiled.h"
#include "verify/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bl_check_result check(const char *folder, bool structure_only)
{
    const bl_check_options options = { .n_threads = 2, .structure_only = structure_only };
    bl_ckpt *ckpt = spoiled_open(folder);
    bl_check_result r = { 0 };
    struct bl_err err = { 0 };

    if (bl_check_run(&r, ckpt, &options, &err) != BL_OK)
        fail_msg("%s", err.text);
    bl_ckpt_close(ckpt);
    return r;
}

static void assert_says(const bl_check_result *r, size_t i, bl_finding_kind kind, const char *what)
{
    assert_true(i < r->n_findings);
    assert_int_equal(r->finding[i].kind, kind);
    if (!strstr(r->finding[i].text, what))
        fail_msg("'%s' does not say '%s'", r->finding[i].text, what);
}

static void nano_r1_is_whole(void **state)
{
    bl_check_result r = check(spoiled_source, false);

    (void)state;
    if (r.n_findings)
        fail_msg("%s", r.finding[0].text);
    assert_int_equal(r.n_faults, 0);
    assert_true(r.n_tensors > 100 && r.n_values > 8000000);
    bl_check_release(&r);
    bl_check_release(&r);
}

static void a_tensor_in_the_wrong_layer_is_missing_there_and_unexpected_here(void **state)
{
    bl_check_result r;

    (void)state;
    spoiled_copy("a", "layers.0.mlp.up_proj", "layers.1.mlp.up_proj");
    r = check("a", true);
    assert_int_equal(r.n_faults, 2);
    assert_says(&r, 0, BL_FINDING_MISSING, "tensor 'model.layers.0.mlp.up_proj.weight' is missing");
    assert_says(&r, 1, BL_FINDING_UNEXPECTED,
                "tensor 'model.layers.1.mlp.up_proj.weight' has no place in layer 1");
    bl_check_release(&r);
}

static void a_name_that_no_family_has_is_a_note_beside_what_is_missing(void **state)
{
    bl_check_result r;

    (void)state;
    spoiled_copy("a", "layers.1.mlp.experts.3.up_proj", "layers.1.mlp.experts.3.xp_proj");
    r = check("a", true);
    assert_int_equal(r.n_faults, 1);
    assert_says(&r, 0, BL_FINDING_MISSING, "model.layers.1.mlp.experts.3.up_proj.weight");
    assert_says(&r, 1, BL_FINDING_NOTE, "experts.3.xp_proj.weight' is not of this family");
    bl_check_release(&r);
}

static void a_model_without_its_mtp_layer_is_whole_with_a_note(void **state)
{
    bl_check_result r;

    (void)state;
    spoiled_copy("a", "model.layers.3.", "other.layers.3.");
    r = check("a", true);
    assert_int_equal(r.n_faults, 0);
    assert_says(&r, 0, BL_FINDING_NOTE, "the 1 MTP layers were left out");
    assert_says(&r, 1, BL_FINDING_NOTE, "is not of this family");
    bl_check_release(&r);
}

static void values_that_are_not_finite_are_found_everywhere(void **state)
{
    const unsigned char nan_code = 0x7f;
    const uint16_t infinite = 0x7f80; /* BF16 */
    bl_check_result r;

    (void)state;
    spoiled_copy("a", NULL, NULL);
    spoiled_patch("a", "model.layers.1.mlp.experts.2.gate_proj.weight", 65535, &nan_code, 1);
    spoiled_patch("a", "model.norm.weight", 10, &infinite, 2);
    r = check("a", true);
    assert_int_equal(r.n_faults, 0); /* the structure alone is sound */
    bl_check_release(&r);
    r = check("a", false);
    assert_int_equal(r.n_faults, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(r.finding[i].kind, BL_FINDING_VALUE);
    assert_true(strstr(r.finding[0].text, "experts.2.gate_proj") ||
                strstr(r.finding[1].text, "experts.2.gate_proj"));
    assert_true(strstr(r.finding[0].text, "model.norm.weight") ||
                strstr(r.finding[1].text, "model.norm.weight"));
    bl_check_release(&r);
}

static void memory_that_fails_is_a_status(void **state)
{
    const bl_check_options options = { .n_threads = 1, .structure_only = true };
    bl_ckpt *ckpt;
    int64_t live;
    bl_status rc = BL_E_NOMEM;

    (void)state;
    spoiled_copy("a", "layers.1.mlp.experts.", "layers.1.mlp.exxerts.");
    ckpt = spoiled_open("a");
    live = bl_alloc_live();
    for (uint64_t k = 1; rc != BL_OK; k++) {
        bl_check_result r = { 0 };

        bl_alloc_fail_at(k);
        rc = bl_check_run(&r, ckpt, &options, NULL);
        bl_alloc_fail_at(0);
        bl_check_release(&r);
        assert_int_equal(bl_alloc_live(), live);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        assert_true(rc == BL_OK || k < 5000);
    }
    bl_ckpt_close(ckpt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nano_r1_is_whole),
        cmocka_unit_test_teardown(a_tensor_in_the_wrong_layer_is_missing_there_and_unexpected_here,
                                  scratch_clear),
        cmocka_unit_test_teardown(a_name_that_no_family_has_is_a_note_beside_what_is_missing,
                                  scratch_clear),
        cmocka_unit_test_teardown(a_model_without_its_mtp_layer_is_whole_with_a_note,
                                  scratch_clear),
        cmocka_unit_test_teardown(values_that_are_not_finite_are_found_everywhere, scratch_clear),
        cmocka_unit_test_teardown(memory_that_fails_is_a_status, scratch_clear),
    };

    return cmocka_run_group_tests(tests, spoiled_enter, scratch_leave);
}
