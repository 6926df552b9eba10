/*
 * test_budget_room.c - memory of an engine beside the file, against what llama-perplexity (as
 * vendored in llama-cpp-python 0.3.36) printed for files of these shapes.
 */
#include "quantize/budget_room.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const bl_config tiny_r1 = { .vocab_size = 4096,
                                   .hidden_size = 256,
                                   .n_layers = 4,
                                   .intermediate_size = 768,
                                   .n_heads = 8,
                                   .kv_lora_rank = 64,
                                   .qk_nope_head_dim = 32,
                                   .qk_rope_head_dim = 16,
                                   .v_head_dim = 32,
                                   .n_experts = 32,
                                   .n_experts_used = 4,
                                   .n_shared_experts = 1,
                                   .moe_intermediate_size = 256 };
static const bl_config tiny_llama = { .vocab_size = 1000,
                                      .hidden_size = 96,
                                      .n_layers = 3,
                                      .intermediate_size = 256,
                                      .n_heads = 6,
                                      .n_kv_heads = 3,
                                      .head_dim = 32 };
static const bl_config tiny_qwen2 = { .vocab_size = 1088,
                                      .hidden_size = 128,
                                      .n_layers = 3,
                                      .intermediate_size = 320,
                                      .n_heads = 4,
                                      .n_kv_heads = 2,
                                      .head_dim = 32 };

static void cache_is_exact_and_compute_no_less_than_reported(void **state)
{
    static const struct {
        const bl_config *config;
        uint32_t ctx;
        double cache, compute; /* MiB, as printed */
    } printed[] = {
        { &tiny_r1, 2048, 1.25, 12.13 },   { &tiny_r1, 8192, 5.00, 16.01 },
        { &tiny_llama, 2048, 2.25, 4.26 }, { &tiny_llama, 8192, 9.00, 10.26 },
        { &tiny_qwen2, 2048, 1.50, 4.89 }, { &tiny_qwen2, 8192, 6.00, 10.89 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(printed) / sizeof(*printed); i++) {
        const bl_engine_room room = bl_engine_room_of(printed[i].config, printed[i].ctx);
        const double compute = (double)room.compute / 0x1p20;

        assert_true((double)room.cache / 0x1p20 == printed[i].cache);
        assert_true(compute > 0.98 * printed[i].compute && compute < 1.5 * printed[i].compute);
        assert_true(room.all == room.cache + room.compute + room.program);
    }
}

static void what_is_left_is_for_the_file(void **state)
{
    const uint64_t all = bl_engine_room_of(&tiny_r1, 4096).all;
    struct bl_err err = { 0 };
    uint64_t bytes = 7;

    (void)state;
    assert_int_equal(bl_engine_room_for_file(&bytes, &tiny_r1, 4096, all + 1000, &err), BL_OK);
    assert_int_equal(bytes, 1000);
    assert_int_equal(bl_engine_room_for_file(&bytes, &tiny_r1, 4096, all, &err), BL_E_USAGE);
    assert_non_null(strstr(err.text, "context of 4096 tokens"));
    assert_int_equal(bytes, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cache_is_exact_and_compute_no_less_than_reported),
        cmocka_unit_test(what_is_left_is_for_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
