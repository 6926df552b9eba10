/*
 * test_same_bytes.c - the same model and the same statistics give the same file: at any number of
 * threads, from gcc and clang, on every instruction set. The hashes were written down once; every
 * build of the tests (gcc with its clones for AVX2 and AVX-512, clang without any, sanitizers) has to
 * make them again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "convert/write.h"
#include "quantize/budget_plan.h"
#include "quantize/plan_importance.h"
#include "quantize/policy.h"
#include "quantize/sensitivity_store.h"
#include "tests/unit/scratch.h"

#include <limits.h>

static char model[PATH_MAX], statistics[PATH_MAX];

struct fixture {
    bl_ckpt *ckpt;
    bl_stats *stats;
    bl_plan_importance importance;
};

static int set_up(void **state)
{
    static struct fixture f;
    struct bl_err err = { 0 };

    if (!realpath("data/nano-r1", model) ||
        !realpath("data/nano-r1.statistics.safetensors", statistics) || scratch_enter(state) != 0)
        return -1;
    if (bl_ckpt_open(&f.ckpt, model, &err) != BL_OK ||
        bl_stats_open(&f.stats, statistics, &err) != BL_OK)
        return -1;
    f.importance = (bl_plan_importance){ .stats = f.stats, .config = bl_ckpt_config(f.ckpt) };
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    bl_stats_close(f->stats);
    bl_ckpt_close(f->ckpt);
    return scratch_leave(state);
}

/* Write a plan, and hash the whole file. */
static uint64_t hash_of_plan(struct fixture *f, bl_plan *plan, bool weighted, int n_threads)
{
    const bl_write_options options = { .force = true, .n_threads = n_threads, .label = "test" };
    struct bl_err err = { 0 };
    char *bytes = NULL;
    size_t n = 0;
    uint64_t hash;

    if (weighted)
        assert_int_equal(bl_plan_set_importance(plan, &f->importance, &err), BL_OK);
    if (bl_write_gguf("x.gguf", f->ckpt, plan, BL_GGUF_FILE_F32, &options, &err) != BL_OK ||
        bl_source_read_file(&bytes, &n, "x.gguf", 1 << 26, &err) != BL_OK)
        fail_msg("%s", err.text);
    hash = bl_hash64(bytes, n);
    bl_free(bytes);
    return hash;
}

static uint64_t hash_of(struct fixture *f, const char *recipe, bl_method method, bool weighted,
                        int n_threads)
{
    const bl_policy policy = { .recipe = bl_recipe_by_name(recipe),
                               .config = bl_ckpt_config(f->ckpt),
                               .has_importance = weighted,
                               .method = method };
    struct bl_err err = { 0 };
    bl_plan plan = { 0 };
    uint64_t hash;

    assert_int_equal(bl_plan_gguf(&plan, f->ckpt, bl_policy_choose, &policy, &err), BL_OK);
    hash = hash_of_plan(f, &plan, weighted, n_threads);
    bl_plan_release(&plan);
    return hash;
}

static void check(const char *what, uint64_t have, uint64_t want)
{
    if (have != want)
        fail_msg("%s: 0x%016llx", what, (unsigned long long)have);
}

static void every_type_is_the_same_everywhere(void **state)
{
    static const struct {
        const char *recipe;
        uint64_t plain, search, weighted;
    } want[] = {
        { "q8_0", 0xdcd6da7ea48937fau, 0xdcd6da7ea48937fau, 0xdcd6da7ea48937fau },
        { "q6_k", 0x07de7725b956b00fu, 0xef584ce9a7a4788du, 0xdd622e8c7e33847bu },
        { "q5_k_m", 0x4dd094af8b331472u, 0x8dc4c3108c298e0au, 0x58c7607acebd6359u },
        { "q5_1", 0xed06ad595533c283u, 0xdbaf1d800216c63au, 0xcd87ed55bcbafa0bu },
        { "q5_0", 0x79275031cbda131du, 0xd55695eeaafa39e9u, 0x668ada5836f43d67u },
        { "q4_k_m", 0xbd738fa4f50adb1bu, 0x65a9b43a76fe31c5u, 0x4406783315d7a758u },
        { "q4_1", 0x7819cb24df155fcdu, 0x07182408f7fb04ebu, 0x19a86cbab4422e83u },
        { "q4_0", 0x0a671f0fcfeb731eu, 0x61134be89739d44eu, 0xa9c14f9819f7d2f0u },
        { "iq4_nl", 0x1919018a66554cefu, 0xd140492f0a772bc7u, 0x96b414ebd33b0d83u },
        { "iq4_xs", 0x00aa5f0634c6db79u, 0x3d66f13bc8b35ed8u, 0xa24435828faa85d0u },
        { "mxfp4", 0x1b79e7f99b2d94cbu, 0x18be17ec93d2aa54u, 0xb8146fbce6e9eec1u },
        { "q3_k_m", 0x61f7e49e8c5a1dc1u, 0x5b96346304ca0be5u, 0x5231e8fd4112459eu },
        { "q2_k", 0xd489d9aa82ba1b3au, 0xa7c2b09d2547f548u, 0x1ae3389e097a1bfbu },
    };

    for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++) {
        const int n_threads = 1 + (int)i % 3;

        check(want[i].recipe, hash_of(*state, want[i].recipe, BL_METHOD_PLAIN, false, n_threads),
              want[i].plain);
        check(want[i].recipe, hash_of(*state, want[i].recipe, BL_METHOD_SEARCH, false, n_threads),
              want[i].search);
        check(want[i].recipe, hash_of(*state, want[i].recipe, BL_METHOD_SEARCH, true, n_threads),
              want[i].weighted);
    }
}

static void threads_change_nothing(void **state)
{
    const uint64_t one = hash_of(*state, "q3_k_m", BL_METHOD_SEARCH, true, 1);

    assert_true(hash_of(*state, "q3_k_m", BL_METHOD_SEARCH, true, 2) == one);
    assert_true(hash_of(*state, "q3_k_m", BL_METHOD_SEARCH, true, 5) == one);
}

/* The choice of types, too: sampled errors, measured sensitivities, the order of steps. */
static void a_budget_chooses_the_same_everywhere(void **state)
{
    struct fixture *f = *state;
    bl_allocation_options options = { .method = BL_METHOD_SEARCH, .n_threads = 2 };
    const bl_policy floats = { .recipe = bl_recipe_by_name("f32") };
    struct bl_err err = { 0 };
    bl_sensitivity sensitivity = { 0 };
    bl_allocation allocation = { 0 };
    bl_plan draft = { 0 }, plan = { 0 };
    bool measured = false;

    assert_int_equal(
        bl_sensitivity_load(&sensitivity, &measured, f->stats, bl_ckpt_config(f->ckpt), &err),
        BL_OK);
    assert_true(measured);
    options.sensitivity = &sensitivity;
    assert_int_equal(bl_plan_gguf(&draft, f->ckpt, bl_policy_choose, &floats, &err), BL_OK);
    assert_int_equal(bl_plan_set_importance(&draft, &f->importance, &err), BL_OK);
    assert_int_equal(bl_allocation_init(&allocation, f->ckpt, &draft, &options, &err), BL_OK);
    assert_int_equal(bl_allocation_solve(&allocation, 2600000, &err), BL_OK);
    assert_int_equal(bl_plan_gguf(&plan, f->ckpt, bl_allocation_choose, &allocation, &err), BL_OK);
    check("budget", hash_of_plan(f, &plan, true, 2), 0xbab6b56093a92ea3u);
    bl_plan_release(&plan);
    bl_plan_release(&draft);
    bl_allocation_release(&allocation);
    bl_sensitivity_release(&sensitivity);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_the_same_everywhere),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(a_budget_chooses_the_same_everywhere),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
