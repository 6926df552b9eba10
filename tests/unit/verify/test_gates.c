/* Gates: which side of the limit passes, NaN, and the sentence that names every one. */
#include "verify/gates.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void a_limit_that_is_met_exactly_is_kept(void **state)
{
    bl_gates gates = { 0 };
    struct bl_err err = { 0 };

    (void)state;
    bl_gates_add(&gates, BL_GATE_AT_MOST, "max-kld", "mean KL divergence", 0.25, 0.25);
    bl_gates_add(&gates, BL_GATE_AT_LEAST, "min-same-top", "same top", 0.75, 0.75);
    assert_int_equal(bl_gates_judge(&gates, &err), BL_OK);
    assert_true(gates.gate[0].passed && gates.gate[1].passed);
}

static void every_gate_that_fails_is_named_in_one_line(void **state)
{
    bl_gates gates = { 0 };
    struct bl_err err = { 0 };

    (void)state;
    bl_gates_add(&gates, BL_GATE_AT_MOST, "max-kld", "mean KL divergence", 0.5, 0.25);
    bl_gates_add(&gates, BL_GATE_AT_MOST, "max-ppl-ratio", "ratio", 1, 1.5);
    bl_gates_add(&gates, BL_GATE_AT_LEAST, "min-same-top", "same top", 0.5, 0.75);
    assert_int_equal(bl_gates_judge(&gates, &err), BL_E_MISMATCH);
    assert_string_equal(err.text, "mean KL divergence 0.500000 exceeds --max-kld 0.25; "
                                  "same top 0.500000 is below --min-same-top 0.75");
    assert_true(gates.gate[1].passed);
}

static void what_is_not_a_number_never_passes(void **state)
{
    static const bl_gate_kind kinds[] = { BL_GATE_AT_MOST, BL_GATE_AT_LEAST };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        bl_gates gates = { 0 };
        struct bl_err err = { 0 };

        bl_gates_add(&gates, kinds[i], "gate", "what", (double)NAN, i == 0 ? 1e300 : 0);
        assert_false(gates.gate[0].passed);
        assert_int_equal(bl_gates_judge(&gates, &err), BL_E_MISMATCH);
        assert_non_null(strstr(err.text, "what is not a number for --gate"));
    }
}

static void infinity_is_a_number_like_any_other(void **state)
{
    bl_gates gates = { 0 };

    (void)state;
    bl_gates_add(&gates, BL_GATE_AT_MOST, "max-ppl-ratio", "ratio", (double)INFINITY, 1);
    bl_gates_add(&gates, BL_GATE_AT_LEAST, "min-same-top", "share", (double)INFINITY, 1);
    assert_false(gates.gate[0].passed);
    assert_true(gates.gate[1].passed);
}

static void a_sentence_too_long_keeps_its_end_inside(void **state)
{
    bl_gates gates = { 0 };
    struct bl_err err = { 0 };
    char what[200];

    (void)state;
    memset(what, 'w', sizeof(what));
    what[sizeof(what) - 1] = '\0';
    for (size_t i = 0; i < BL_MAX_GATES; i++)
        bl_gates_add(&gates, BL_GATE_AT_MOST, "gate", what, 2, 1);
    assert_int_equal(bl_gates_judge(&gates, &err), BL_E_MISMATCH);
    assert_true(strlen(err.text) < sizeof(err.text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_that_is_met_exactly_is_kept),
        cmocka_unit_test(every_gate_that_fails_is_named_in_one_line),
        cmocka_unit_test(what_is_not_a_number_never_passes),
        cmocka_unit_test(infinity_is_a_number_like_any_other),
        cmocka_unit_test(a_sentence_too_long_keeps_its_end_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
