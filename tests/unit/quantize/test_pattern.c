/* test_pattern.c - types by name: which rule a tensor gets, and what is refused. */
#include "base/alloc.h"
#include "quantize/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const bl_tensor source = { .name = "model.layers.3.mlp.experts.0.down_proj.weight" };
static const bl_choice choice = { .name = "blk.3.ffn_down_exps.weight", .source = &source };

static bl_tensor_rules parse(const char *const *argument, size_t n)
{
    bl_tensor_rules rules = { 0 };

    assert_int_equal(bl_tensor_rules_parse(&rules, argument, n, NULL), BL_OK);
    assert_int_equal(rules.n, n);
    return rules;
}

static void the_first_pattern_that_matches_wins(void **state)
{
    const char *const arguments[] = { "blk.4.*=q2_k", "blk.[0-3].ffn_*=Q8_0", "*=q4_k" };
    bl_tensor_rules rules = parse(arguments, 3);
    const bl_tensor_rule *rule = bl_tensor_rules_find(&rules, &choice);

    (void)state;
    assert_non_null(rule);
    assert_int_equal(rule->type, BL_Q8_0);
    assert_string_equal(bl_tensor_rules_unused(&rules), "blk.4.*");
    bl_tensor_rules_release(&rules);
}

static void a_pattern_matches_the_whole_of_either_name(void **state)
{
    const char *const canonical[] = { "model.layers.*.mlp.experts.*.down_proj.weight=bf16" };
    const char *const part[] = { "ffn_down=q8_0" };
    bl_tensor_rules rules = parse(canonical, 1);

    (void)state;
    assert_int_equal(bl_tensor_rules_find(&rules, &choice)->type, BL_BF16);
    assert_null(bl_tensor_rules_unused(&rules));
    bl_tensor_rules_release(&rules);
    rules = parse(part, 1);
    assert_null(bl_tensor_rules_find(&rules, &choice));
    bl_tensor_rules_release(&rules);
    rules = parse(NULL, 0);
    assert_null(bl_tensor_rules_find(&rules, &choice));
    assert_null(bl_tensor_rules_unused(&rules));
    bl_tensor_rules_release(&rules);
}

static void what_is_no_pattern_and_type_is_refused(void **state)
{
    static const char *const bad[] = { "q8_0",      "=q8_0",     "a=",     "a=q9_0", "a=i32",
                                       "a=f8_e4m3", "a=iq2_xxs", "a=q8_k", "" };
    bl_tensor_rules rules = { 0 };
    struct bl_err err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        err = (struct bl_err){ 0 };
        assert_int_equal(bl_tensor_rules_parse(&rules, &bad[i], 1, &err), BL_E_USAGE);
        assert_non_null(strstr(err.text, "--tensor"));
        assert_null(rules.rule);
    }
}

static void failing_allocations_leave_nothing_behind(void **state)
{
    const char *const arguments[] = { "a=q8_0", "b=q4_k" };
    const int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    (void)state;
    for (uint64_t k = 1; rc != BL_OK; k++) {
        bl_tensor_rules rules = { 0 };

        bl_alloc_fail_at(k);
        rc = bl_tensor_rules_parse(&rules, arguments, 2, NULL);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        assert_true(rc != BL_OK || k == 4);
        bl_tensor_rules_release(&rules);
        assert_int_equal(bl_alloc_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_pattern_that_matches_wins),
        cmocka_unit_test(a_pattern_matches_the_whole_of_either_name),
        cmocka_unit_test(what_is_no_pattern_and_type_is_refused),
        cmocka_unit_test(failing_allocations_leave_nothing_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
