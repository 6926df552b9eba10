/* test_select.c - what the router's rules leave: the same number everywhere, the best in every group. */
#include "prune/select.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { LAYERS = 3, EXPERTS = 16 };

/* Four groups of four, two chosen, four experts for each token; layer 0 is dense. */
static bl_config config(void)
{
    return (bl_config){ .n_layers = LAYERS,
                        .first_k_dense = 1,
                        .moe_layer_freq = 1,
                        .n_experts = EXPERTS,
                        .n_experts_used = 4,
                        .n_group = 4,
                        .topk_group = 2,
                        .router_bias = true };
}

static void keeps_the_best_of_every_group(void **state)
{
    const bl_config c = config();
    double score[LAYERS * EXPERTS];
    bool super[LAYERS * EXPERTS] = { false };
    const bl_prune_scores s = { LAYERS, EXPERTS, score, super, 0, 0 };
    bl_prune_order order = { .n_experts = 8 };
    uint32_t got[LAYERS][8] = { { 0 } };
    static const uint32_t layer_1[] = { 2, 3, 6, 7, 10, 11, 14, 15 };
    static const uint32_t layer_2[] = { 0, 1, 4, 5, 8, 9, 12, 13 };
    static const uint32_t free_1[] = { 8, 9, 10, 11, 12, 13, 14, 15 };

    (void)state;
    for (int e = 0; e < EXPERTS; e++) {
        score[1 * EXPERTS + e] = e;
        score[2 * EXPERTS + e] = -e;
    }
    assert_int_equal(bl_prune_select(got[0], &c, &s, &order, NULL), BL_OK);
    assert_memory_equal(got[1], layer_1, sizeof(layer_1));
    assert_memory_equal(got[2], layer_2, sizeof(layer_2));
    order.ungroup = true;
    assert_int_equal(bl_prune_select(got[0], &c, &s, &order, NULL), BL_OK);
    assert_memory_equal(got[1], free_1, sizeof(free_1));
}

static void keeps_super_experts_and_the_lower_of_equals(void **state)
{
    const bl_config c = config();
    double score[LAYERS * EXPERTS] = { 0 };
    bool super[LAYERS * EXPERTS] = { false };
    const bl_prune_scores s = { LAYERS, EXPERTS, score, super, 2, 0 };
    const bl_prune_order order = { .n_experts = 8 };
    uint32_t got[LAYERS][8] = { { 0 } };
    static const uint32_t wanted[] = { 0, 3, 4, 5, 8, 9, 12, 13 };

    (void)state;
    super[1 * EXPERTS + 3] = true;
    score[1 * EXPERTS + 3] = -100;
    assert_int_equal(bl_prune_select(got[0], &c, &s, &order, NULL), BL_OK);
    assert_memory_equal(got[1], wanted, sizeof(wanted));
}

static void ratios_become_whole_experts_in_every_group(void **state)
{
    bl_config c = config();

    (void)state;
    assert_int_equal(bl_prune_count(&c, 0, false), 16);
    assert_int_equal(bl_prune_count(&c, 0.25, false), 12);
    assert_int_equal(bl_prune_count(&c, 0.3, false), 12); /* 1.2 of 4 go: one */
    assert_int_equal(bl_prune_count(&c, 0.3, true), 11);  /* 4.8 of 16: five */
    c.n_experts = 256;
    c.n_group = 8;
    assert_int_equal(bl_prune_count(&c, 0.25, false), 192);
    assert_int_equal(bl_prune_count(&c, 0.375, false), 160);
    assert_int_equal(bl_prune_count(&c, 0.5, false), 128);
}

static void assert_refused(const bl_config *c, bl_prune_order order, const char *sentence)
{
    struct bl_err err = { 0 };

    assert_int_equal(bl_prune_check(c, &order, &err), BL_E_USAGE);
    if (!strstr(err.text, sentence))
        fail_msg("%s", err.text);
}

static void refuses_what_no_router_could_use(void **state)
{
    bl_config c = config();

    (void)state;
    assert_refused(&c, (bl_prune_order){ .n_experts = 17 }, "has 16 experts");
    assert_refused(&c, (bl_prune_order){ .n_experts = 10 }, "4 groups must stay equal: 8 or 12");
    assert_int_equal(
        bl_prune_check(&c, &(bl_prune_order){ .n_experts = 10, .ungroup = true }, NULL), BL_OK);
    assert_refused(&c, (bl_prune_order){ .n_experts = 4 }, "each token needs 4 experts, of 2");
    assert_refused(&c, (bl_prune_order){ .n_experts = 3, .ungroup = true },
                   "more than the 3 that would stay");
    assert_refused(&c, (bl_prune_order){ .n_experts = 4, .experts_per_token = 2 },
                   "by their two best experts: at least 8");
    assert_refused(&c, (bl_prune_order){ .n_experts = 16, .experts_per_token = 5 },
                   "for 4 experts per token");
    c.router_bias = false; /* by their best one: then one is enough */
    assert_int_equal(
        bl_prune_check(&c, &(bl_prune_order){ .n_experts = 4, .experts_per_token = 2 }, NULL),
        BL_OK);
}

static void keeps_all_layers_or_asks_for_statistics(void **state)
{
    const bl_config c = config();
    uint32_t layer[LAYERS];
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(bl_prune_select_layers(layer, &c, 0, NULL, 0, NULL), BL_OK);
    for (uint32_t l = 0; l < LAYERS; l++)
        assert_int_equal(layer[l], l);
    assert_int_equal(bl_prune_select_layers(layer, &c, 1, NULL, 0, &err), BL_E_USAGE);
    assert_int_equal(bl_prune_select_layers(layer, &c, 3, NULL, 0, &err), BL_E_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_best_of_every_group),
        cmocka_unit_test(keeps_super_experts_and_the_lower_of_equals),
        cmocka_unit_test(ratios_become_whole_experts_in_every_group),
        cmocka_unit_test(refuses_what_no_router_could_use),
        cmocka_unit_test(keeps_all_layers_or_asks_for_statistics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
