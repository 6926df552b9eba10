/* The layer that is wrong is found, and only that one; the other errors are what they are defined. */
#include "tests/unit/verify/spoiled.h"
#include "verify/activations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The second half of the sequences falls into other tiles of BLAS: the last bit may differ. */
static const double rounding = 1e-6;

enum { SEQS = 2, POSITIONS = 128, TOKENS = SEQS * POSITIONS };

static bl_activations compare(const char *folder)
{
    bl_ckpt *ref = spoiled_open(spoiled_source), *test = spoiled_open(folder);
    bl_activations a = { 0 };
    int32_t token[TOKENS];
    struct bl_err err = { 0 };

    for (size_t t = 0; t < TOKENS; t++)
        token[t] = (int32_t)(5 + 13 * t % 401);
    if (bl_activations_run(&a, ref, test, token, SEQS, POSITIONS, 2, NULL, &err) != BL_OK)
        fail_msg("%s", err.text);
    bl_ckpt_close(ref);
    bl_ckpt_close(test);
    for (uint32_t i = 0; i < a.n_layers; i++)
        print_message("  layer %u: drift %.2e, own %.2e%s\n", i, a.layer[i].drift, a.layer[i].own,
                      a.layer[i].wrong ? ", wrong" : "");
    return a;
}

static void a_copy_has_no_error(void **state)
{
    bl_activations a;

    (void)state;
    spoiled_copy("copy", NULL, NULL);
    a = compare("copy");
    assert_int_equal(a.n_tokens, TOKENS);
    assert_true(a.embedding == 0 && a.median_own < rounding);
    assert_int_equal(a.first_wrong, -1);
    for (uint32_t i = 0; i < a.n_layers; i++)
        assert_true(a.layer[i].drift < rounding && a.layer[i].own < rounding);
    bl_activations_release(&a);
}

/* One expert one percent larger: its layer alone is wrong, what follows has only drifted. */
static void one_expert_scaled_is_found(void **state)
{
    bl_activations a;

    (void)state;
    spoiled_copy("scaled", NULL, NULL);
    spoiled_scale("scaled", "model.layers.1.mlp.experts.3.down_proj.weight_scale_inv", 1.01f);
    a = compare("scaled");
    assert_int_equal(a.first_wrong, 1);
    assert_true(a.layer[1].own > 1e-4 && a.layer[1].own < 0.01);
    assert_true(a.layer[0].drift < rounding && a.layer[1].drift > 1e-5 && a.layer[2].drift > 1e-5);
    for (uint32_t i = 0; i < a.n_layers; i++)
        assert_true(i == 1 || (!a.layer[i].wrong && a.layer[i].own < rounding));
    bl_activations_release(&a);
}

/* With every layer wrong there is no median to stand out of. */
static void every_layer_wrong_is_found(void **state)
{
    bl_activations a;

    (void)state;
    spoiled_copy("theta", "\"rope_theta\": 10000", "\"rope_theta\": 10   ");
    a = compare("theta");
    assert_true(a.median_own > 1e-3);
    bl_activations_release(&a);
}

static void other_layers_are_refused(void **state)
{
    bl_ckpt *ref = spoiled_open(spoiled_source), *test = NULL;
    const int32_t token[8] = { 0 };
    bl_activations a = { 0 };
    struct bl_err err = { 0 };
    char path[PATH_MAX + 16];

    (void)state;
    snprintf(path, sizeof(path), "%s/../toy-qwen2", spoiled_source);
    assert_int_equal(bl_ckpt_open(&test, path, NULL), BL_OK);
    assert_int_equal(bl_activations_run(&a, ref, test, token, 1, 8, 1, NULL, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "layers"));
    bl_ckpt_close(ref);
    bl_ckpt_close(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_copy_has_no_error, scratch_clear),
        cmocka_unit_test_teardown(one_expert_scaled_is_found, scratch_clear),
        cmocka_unit_test_teardown(every_layer_wrong_is_found, scratch_clear),
        cmocka_unit_test(other_layers_are_refused),
    };

    return cmocka_run_group_tests(tests, spoiled_enter, scratch_leave);
}
