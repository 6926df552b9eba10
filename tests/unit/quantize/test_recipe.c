/*
 * test_recipe.c - the recipes' types, tensor by tensor, against those that llama-quantize gave
 * (tests/oracle/make_recipe_types.py), and the rules that it does not have.
 */
#include "quantize/recipe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_TENSORS = 1024, LINE_BYTES = 1 << 16 };

struct tensor {
    char name[64];
    bl_choice choice;
};

static struct tensor tensors[MAX_TENSORS];
static size_t n_tensors;
static bl_config config;
static char line[LINE_BYTES];

static void begin_model(void)
{
    char name[64], arch[64];
    int tied;

    memset(&config, 0, sizeof(config));
    n_tensors = 0;
    assert_int_equal(sscanf(line, "model %63s %63s %u %u %u %u %u %d", name, arch, &config.n_layers,
                            &config.first_k_dense, &config.n_heads, &config.n_kv_heads,
                            &config.n_experts, &tied),
                     8);
    config.tie_word_embeddings = tied != 0;
    config.arch = bl_arch_by_gguf_name(arch);
    assert_non_null(config.arch);
}

static void add_tensor(void)
{
    struct tensor *t = &tensors[n_tensors++];
    unsigned ndim, n_cols;

    assert_true(n_tensors < MAX_TENSORS);
    assert_int_equal(sscanf(line, "tensor %63s %u %u", t->name, &ndim, &n_cols), 3);
    t->choice = (bl_choice){ .name = t->name,
                             .row = bl_arch_match_gguf(config.arch, t->name),
                             .ndim = ndim,
                             .n_cols = n_cols };
}

/* One recipe's types for all tensors of the model; how many were compared. */
static size_t compare_recipe(void)
{
    char name[32], *at = line, *word, *rest = NULL;
    int importance, n_chars;
    size_t i = 0;
    const bl_recipe *recipe;

    assert_int_equal(sscanf(line, "recipe %31s %d%n", name, &importance, &n_chars), 2);
    recipe = bl_recipe_by_name(name);
    assert_non_null(recipe);
    at += n_chars;
    for (word = strtok_r(at, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
        char *star = strchr(word, '*');
        size_t n = star ? strtoul(star + 1, NULL, 10) : 1;

        if (star)
            *star = '\0';
        for (; n > 0; n--, i++) {
            bl_dtype have = bl_recipe_type(recipe, &config, importance != 0, &tensors[i].choice);

            if (strcmp(bl_dtype_name(have), word) != 0)
                fail_msg("%s, importance %d: %s is %s, not %s", name, importance, tensors[i].name,
                         bl_dtype_name(have), word);
        }
    }
    assert_int_equal(i, n_tensors);
    return i;
}

static void every_tensor_gets_the_type_that_llama_quantize_gives_it(void **state)
{
    FILE *file = fopen("data/recipe_types.txt", "r");
    size_t n_models = 0, n_compared = 0;

    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, "model ", 6) == 0) {
            begin_model();
            n_models++;
        } else if (strncmp(line, "tensor ", 7) == 0) {
            add_tensor();
        } else {
            n_compared += compare_recipe();
        }
    }
    fclose(file);
    assert_int_equal(n_models, 7);
    assert_true(n_compared > 40000);
}

static bl_dtype type_of(const char *recipe, const char *name, uint32_t ndim, uint64_t n_cols)
{
    const bl_choice choice = {
        .name = name, .row = bl_arch_match_gguf(config.arch, name), .ndim = ndim, .n_cols = n_cols
    };

    return bl_recipe_type(bl_recipe_by_name(recipe), &config, true, &choice);
}

/* The shares that the paper gives for 58 layers with experts: 75.9, 20.7 and 3.4 %. */
static void dq3_k_m_gives_the_papers_shares_of_down_projections(void **state)
{
    size_t n_q3 = 0, n_q4 = 0, n_q6 = 0;
    char name[64];

    (void)state;
    config = (bl_config){ .arch = bl_arch_by_gguf_name("deepseek2"),
                          .n_layers = 61,
                          .first_k_dense = 3,
                          .n_experts = 256,
                          .n_heads = 128,
                          .n_kv_heads = 128 };
    for (uint32_t layer = 3; layer < 61; layer++) {
        bl_dtype type;

        snprintf(name, sizeof(name), "blk.%u.ffn_down_exps.weight", layer);
        type = type_of("dq3_k_m", name, 3, 2048);
        n_q3 += type == BL_Q3_K;
        n_q4 += type == BL_Q4_K;
        n_q6 += type == BL_Q6_K;
        assert_true((type == BL_Q6_K) == (layer < 5));
        assert_true((type == BL_Q4_K) == (layer >= 5 && layer % 5 == 0));
    }
    assert_int_equal(n_q3, 44);
    assert_int_equal(n_q4, 12);
    assert_int_equal(n_q6, 2);
    assert_int_equal(type_of("dq3_k_m", "blk.9.ffn_up_exps.weight", 3, 7168), BL_Q3_K);
    assert_int_equal(type_of("dq3_k_m", "blk.9.ffn_down_shexp.weight", 2, 2048), BL_Q6_K);
    assert_int_equal(type_of("dq3_k_m", "blk.9.attn_kv_a_mqa.weight", 2, 7168), BL_Q6_K);
    assert_int_equal(type_of("dq3_k_m", "blk.9.attn_q_b.weight", 2, 1536), BL_Q4_K);
    assert_int_equal(type_of("dq3_k_m", "output.weight", 2, 7168), BL_Q6_K);
}

static void norms_biases_and_the_router_stay_f32_in_every_recipe(void **state)
{
    (void)state;
    config = (bl_config){ .arch = bl_arch_by_gguf_name("deepseek2"),
                          .n_layers = 4,
                          .first_k_dense = 1,
                          .n_experts = 32 };
    for (size_t i = 0; bl_recipe_at(i); i++) {
        const char *recipe = bl_recipe_at(i)->name;

        assert_int_equal(type_of(recipe, "blk.1.ffn_gate_inp.weight", 2, 256), BL_F32);
        assert_int_equal(type_of(recipe, "blk.1.exp_probs_b.bias", 1, 32), BL_F32);
        assert_int_equal(type_of(recipe, "blk.1.attn_norm.weight", 1, 256), BL_F32);
    }
}

static void what_divides_into_no_block_becomes_f16(void **state)
{
    (void)state;
    assert_int_equal(bl_recipe_fallback(BL_Q4_K, 256), BL_Q4_K);
    assert_int_equal(bl_recipe_fallback(BL_Q4_K, 96), BL_Q5_0);
    assert_int_equal(bl_recipe_fallback(BL_Q4_K, 48), BL_F16);
    assert_int_equal(bl_recipe_fallback(BL_Q8_0, 48), BL_F16);
    assert_int_equal(bl_recipe_fallback(BL_F32, 48), BL_F32);
    assert_null(bl_recipe_by_name("q4_k"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_gets_the_type_that_llama_quantize_gives_it),
        cmocka_unit_test(dq3_k_m_gives_the_papers_shares_of_down_projections),
        cmocka_unit_test(norms_biases_and_the_router_stay_f32_in_every_recipe),
        cmocka_unit_test(what_divides_into_no_block_becomes_f16),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
