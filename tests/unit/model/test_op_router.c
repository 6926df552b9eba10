/* Routing against transformers' DeepSeek-V3 router and torch, and the rules it leaves open. */
#include "model/op_router.h"
#include "op_vectors.inc"
#include "stream.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { N_TOKENS = 12, N_EXPERTS = 16 };

static void assert_routes(const bl_router *router, const uint32_t *experts, const float *weights)
{
    float logits[N_TOKENS * N_EXPERTS], weight[8], scratch[3 * N_EXPERTS];
    uint32_t expert[8];

    fill_stream(logits, N_TOKENS * N_EXPERTS, 11);
    for (size_t i = 0; i < N_TOKENS * N_EXPERTS; i++)
        logits[i] *= 3;
    for (size_t t = 0; t < N_TOKENS; t++) {
        bl_router_choose(expert, weight, router, logits + t * N_EXPERTS, scratch);
        for (size_t k = 0; k < router->n_used; k++)
            assert_int_equal(expert[k], experts[t * router->n_used + k]);
        assert_true(largest_error(weight, weights + t * router->n_used, router->n_used) < 1e-6);
    }
}

static void sigmoid_routing_is_that_of_transformers(void **state)
{
    float bias[N_EXPERTS];
    bl_router router = { .n_experts = N_EXPERTS,
                         .n_used = 3,
                         .n_group = 4,
                         .topk_group = 2,
                         .scoring = BL_ROUTER_SIGMOID,
                         .normalise = true,
                         .scale = 2.5f,
                         .bias = bias };

    (void)state;
    fill_stream(bias, N_EXPERTS, 12);
    for (size_t i = 0; i < N_EXPERTS; i++)
        bias[i] *= 0.3f;
    assert_routes(&router, router_grouped_experts, router_grouped_weights);
    router.n_group = router.topk_group = 1;
    router.n_used = 5;
    router.scale = 2.446f;
    assert_routes(&router, router_plain_experts, router_plain_weights);
    router.n_group = 2;
    router.n_used = 4;
    router.normalise = false;
    router.scale = 1.5f;
    assert_routes(&router, router_raw_experts, router_raw_weights);
}

static void softmax_routing_is_torchs(void **state)
{
    const bl_router router = { .n_experts = N_EXPERTS,
                               .n_used = 6,
                               .n_group = 1,
                               .topk_group = 1,
                               .scoring = BL_ROUTER_SOFTMAX,
                               .scale = 1.0f };

    (void)state;
    assert_routes(&router, router_softmax_experts, router_softmax_weights);
}

static void the_lowest_index_wins_a_tie_of_experts_and_of_groups(void **state)
{
    const float logits[8] = { 0 }, bias[8] = { 0, 0, 1, 0, 0, 1, 1, 0 };
    bl_router router = { .n_experts = 8,
                         .n_used = 2,
                         .n_group = 1,
                         .topk_group = 1,
                         .scoring = BL_ROUTER_SIGMOID,
                         .scale = 1.0f };
    float weight[2], scratch[24];
    uint32_t expert[2];

    (void)state;
    bl_router_choose(expert, weight, &router, logits, scratch);
    assert_int_equal(expert[0], 0);
    assert_int_equal(expert[1], 1);
    router.bias = bias;
    router.n_group = 4; /* groups {2,3}, {4,5}, {6,7} tie */
    router.topk_group = 1;
    bl_router_choose(expert, weight, &router, logits, scratch);
    assert_int_equal(expert[0], 2);
    assert_int_equal(expert[1], 3);
    assert_true(weight[0] == 0.5f); /* the bias selects, it does not weigh */
}

static void a_group_counts_by_its_two_best_experts(void **state)
{
    /* Group 0 has the best expert, group 1 the best pair. */
    const float logits[6] = { 0 }, bias[6] = { 1.0f, 0, 0, 0.6f, 0.6f, 0 };
    const bl_router router = { .n_experts = 6,
                               .n_used = 1,
                               .n_group = 2,
                               .topk_group = 1,
                               .scoring = BL_ROUTER_SIGMOID,
                               .scale = 1.0f,
                               .bias = bias };
    float weight[1], scratch[14];
    uint32_t expert[1];

    (void)state;
    bl_router_choose(expert, weight, &router, logits, scratch);
    assert_int_equal(expert[0], 3);
}

/* With every selection score negative, a mask of 0 would choose from the groups left out. */
static void groups_left_out_stay_out_when_scores_are_negative(void **state)
{
    const float logits[4] = { 0 }, bias[4] = { -3, -3, -2, -2 };
    const bl_router router = { .n_experts = 4,
                               .n_used = 2,
                               .n_group = 2,
                               .topk_group = 1,
                               .scoring = BL_ROUTER_SIGMOID,
                               .scale = 1.0f,
                               .bias = bias };
    float weight[2], scratch[10];
    uint32_t expert[2];

    (void)state;
    bl_router_choose(expert, weight, &router, logits, scratch);
    assert_int_equal(expert[0], 2);
    assert_int_equal(expert[1], 3);
}

static void disabled_experts_are_never_chosen(void **state)
{
    const float logits[4] = { 3, 2, 1, 0 }, bias[4] = { 0 };
    const bool disabled[4] = { true, false, false, true };
    bl_router router = { .n_experts = 4,
                         .n_used = 3,
                         .n_group = 1,
                         .topk_group = 1,
                         .scoring = BL_ROUTER_SIGMOID,
                         .normalise = true,
                         .scale = 1.0f,
                         .bias = bias,
                         .disabled = disabled };
    float weight[3], scratch[10];
    uint32_t expert[3];

    (void)state;
    bl_router_choose(expert, weight, &router, logits, scratch);
    assert_int_equal(expert[0], 1);
    assert_int_equal(expert[1], 2);
    assert_int_equal(expert[2], BL_ROUTER_NONE);
    assert_float_equal(weight[0] + weight[1], 1.0, 1e-6);
    assert_true(weight[2] == 0.0f);
    router.n_group = 2; /* group 0 keeps one expert: it counts alone */
    router.topk_group = 1;
    bl_router_choose(expert, weight, &router, logits, scratch);
    assert_int_equal(expert[0], 1);
    assert_int_equal(expert[1], BL_ROUTER_NONE);
}

static void logits_that_are_not_numbers_choose_nothing(void **state)
{
    const float logits[4] = { NAN, NAN, NAN, NAN };
    bl_router router = { .n_experts = 4,
                         .n_used = 2,
                         .n_group = 2,
                         .topk_group = 1,
                         .scoring = BL_ROUTER_SIGMOID,
                         .scale = 1.0f };
    float weight[2], scratch[10];
    uint32_t expert[2];

    (void)state;
    for (int softmax = 0; softmax < 2; softmax++) {
        router.scoring = softmax ? BL_ROUTER_SOFTMAX : BL_ROUTER_SIGMOID;
        bl_router_choose(expert, weight, &router, logits, scratch);
        assert_int_equal(expert[0], BL_ROUTER_NONE);
        assert_int_equal(expert[1], BL_ROUTER_NONE);
    }
}

static void a_policy_changes_the_configured_router(void **state)
{
    const bl_config config = { .n_experts = 8,
                               .n_experts_used = 2,
                               .n_group = 4,
                               .topk_group = 1,
                               .scoring = BL_ROUTER_SIGMOID,
                               .norm_topk_prob = true,
                               .routed_scaling_factor = 2.5 };
    const bool disabled[8] = { [3] = true, [7] = true };
    const float bias[8] = { 0 }, logits[8] = { 4, 0, 1, 5, 0, 3, 0, 9 };
    const bl_router_policy ungrouped = { .ungrouped = true, .disabled = disabled };
    const bl_router_policy six = { .experts_per_token = 6, .disabled = disabled };
    const bl_router_policy seven = { .experts_per_token = 7, .disabled = disabled };
    const bl_router_policy nine = { .experts_per_token = 9 };
    float weight[2], scratch[20];
    uint32_t expert[2];
    struct bl_err err = { 0 };
    bl_router router;

    (void)state;
    assert_int_equal(bl_router_init(&router, &config, NULL, bias, NULL), BL_OK);
    assert_true(router.n_experts == 8 && router.n_used == 2 && router.n_group == 4);
    assert_true(router.topk_group == 1 && router.normalise && router.scale == 2.5f);
    assert_true(router.bias == bias && !router.disabled);
    bl_router_choose(expert, weight, &router, logits, scratch);
    assert_int_equal(expert[0], 2); /* the group {2, 3} has the largest pair */
    assert_int_equal(expert[1], 3);
    assert_int_equal(bl_router_init(&router, &config, &ungrouped, bias, NULL), BL_OK);
    assert_true(router.n_group == 1 && router.topk_group == 1 && router.disabled == disabled);
    bl_router_choose(expert, weight, &router, logits, scratch);
    assert_int_equal(expert[0], 0);
    assert_int_equal(expert[1], 5);
    assert_int_equal(bl_router_init(&router, &config, &six, bias, NULL), BL_OK);
    assert_int_equal(router.n_used, 6);
    assert_int_equal(bl_router_init(&router, &config, &seven, bias, &err), BL_E_USAGE);
    assert_string_equal(err.text, "7 experts per token, 6 of 8 are left enabled");
    assert_int_equal(bl_router_init(&router, &config, &nine, bias, &err), BL_E_USAGE);
    assert_string_equal(err.text, "9 experts per token, the model has 8");
}

static void without_variants_a_policy_is_its_own_only_one(void **state)
{
    const bl_router_policy two[2] = { { .experts_per_token = 1 }, { .ungrouped = true } };
    const bl_router_policy plain = { 0 }, both = { .variant = two, .n_variants = 2 };

    (void)state;
    assert_int_equal(bl_router_n_variants(NULL), 1);
    assert_int_equal(bl_router_n_variants(&plain), 1);
    assert_int_equal(bl_router_n_variants(&both), 2);
    assert_null(bl_router_variant(NULL, 0));
    assert_ptr_equal(bl_router_variant(&plain, 0), &plain);
    assert_ptr_equal(bl_router_variant(&both, 1), &two[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sigmoid_routing_is_that_of_transformers),
        cmocka_unit_test(softmax_routing_is_torchs),
        cmocka_unit_test(the_lowest_index_wins_a_tie_of_experts_and_of_groups),
        cmocka_unit_test(a_group_counts_by_its_two_best_experts),
        cmocka_unit_test(groups_left_out_stay_out_when_scores_are_negative),
        cmocka_unit_test(disabled_experts_are_never_chosen),
        cmocka_unit_test(logits_that_are_not_numbers_choose_nothing),
        cmocka_unit_test(a_policy_changes_the_configured_router),
        cmocka_unit_test(without_variants_a_policy_is_its_own_only_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
