/*
 * test_student_folder.c - a student's folder has its weights, the configuration and tokenizer of what it
 * began as, and its own card, log and chart; and says the same twice.
 */
#include "base/alloc.h"
#include "distill/train/student_card.h"
#include "distill/train/student_folder.h"
#include "distill/train/train_log.h"
#include "formats/dtype/float_bits.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../scratch.h"

static bl_ckpt *source;

static int open_source(void **state)
{
    struct bl_err err = { 0 };
    char path[PATH_MAX]; /* side files are opened when they are asked for */

    if (!realpath("data/nano-r1", path) || bl_ckpt_open(&source, path, &err) != BL_OK)
        return -1;
    return scratch_enter(state);
}

static int close_source(void **state)
{
    bl_ckpt_close(source);
    return scratch_leave(state);
}

/* Two of the source's tensors, with values of their own. */
struct two {
    bl_parameter parameter[2], *list[2];
};

static void make(struct two *s, bool bf16)
{
    static const char *const name[] = { "model.embed_tokens.weight", "model.norm.weight" };

    for (size_t i = 0; i < 2; i++) {
        const bl_tensor *t = bl_ckpt_find(source, name[i]);
        bl_parameter *p = &s->parameter[i];

        assert_non_null(t);
        *p = (bl_parameter){ .name = t->name, .n_rows = t->n_rows, .n_cols = t->n_cols };
        s->list[i] = p;
        if (bf16)
            p->bf16 = bl_alloc(t->n_values, sizeof(*p->bf16));
        else
            p->value = bl_alloc(t->n_values, sizeof(*p->value));
        for (uint64_t k = 0; k < t->n_values; k++) {
            const float value = (float)(k % 1000) / 7 - 30;

            if (bf16)
                p->bf16[k] = bl_bf16_from_f32(value);
            else
                p->value[k] = value;
        }
    }
}

static void release(struct two *s)
{
    for (size_t i = 0; i < 2; i++) {
        bl_free(s->parameter[i].value);
        bl_free(s->parameter[i].bf16);
    }
}

static void write_folder(const char *path, struct two *s, bool f32)
{
    static const bl_side_text side[] = { { "README.md", "card", 4 } };
    const bl_student_folder folder = { .source = source,
                                       .parameter = s->list,
                                       .n_parameters = 2,
                                       .f32 = f32,
                                       .side = side,
                                       .n_side = 1 };
    struct bl_err err = { 0 };

    if (bl_student_folder_write(path, false, &folder, &err) != BL_OK)
        fail_msg("%s", err.text);
}

/* The lone safetensors file, without a look at config.json. */
static void weights_are_in_it_as_they_are_or_rounded_to_nearest(void **state)
{
    static const char *const path[2][2] = { { "a", "b" }, { "c", "d" } };

    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        for (int f32 = 0; f32 < 2; f32++) {
            struct two s = { 0 };
            struct bl_err err = { 0 };
            bl_ckpt *ckpt = NULL;
            char file[PATH_MAX];

            make(&s, bf16);
            write_folder(path[bf16][f32], &s, f32);
            snprintf(file, sizeof(file), "%s/model.safetensors", path[bf16][f32]);
            assert_int_equal(bl_ckpt_open(&ckpt, file, &err), BL_OK);
            assert_int_equal(bl_ckpt_n_tensors(ckpt), 2);
            for (size_t i = 0; i < 2; i++) {
                const bl_parameter *p = &s.parameter[i];
                const bl_tensor *t = bl_ckpt_find(ckpt, p->name);
                float *got = bl_alloc(p->n_rows * p->n_cols, sizeof(*got));

                assert_non_null(t);
                assert_int_equal(t->dtype, f32 ? BL_F32 : BL_BF16);
                assert_int_equal(t->ndim, bl_ckpt_find(source, p->name)->ndim);
                assert_int_equal(bl_ckpt_read_rows(ckpt, t, 0, p->n_rows, got, &err), BL_OK);
                for (uint64_t k = 0; k < p->n_rows * p->n_cols; k++) {
                    const float is = bf16 ? bl_f32_from_bf16(p->bf16[k]) : p->value[k];

                    assert_true(got[k] == (f32 ? is : bl_f32_from_bf16(bl_bf16_from_f32(is))));
                }
                bl_free(got);
            }
            bl_ckpt_close(ckpt);
            release(&s);
        }
    }
}

static char *slurp(const char *path, size_t *n)
{
    struct bl_err err = { 0 };
    char *text = NULL;

    if (bl_source_read_file(&text, n, path, 1 << 24, &err) != BL_OK)
        fail_msg("%s", err.text);
    return text;
}

static void side_files_are_those_of_the_source_and_its_own(void **state)
{
    struct two s = { 0 };
    char *config, *tokenizer = NULL, *copy;
    size_t n, n_copy;
    struct bl_err err = { 0 };

    (void)state;
    make(&s, false);
    write_folder("out", &s, true);
    config = slurp("out/config.json", &n);
    assert_non_null(strstr(config, "\"float32\""));
    assert_null(strstr(config, "quantization_config"));
    assert_int_equal(bl_ckpt_side_file(source, "tokenizer.json", &tokenizer, &n, &err), BL_OK);
    copy = slurp("out/tokenizer.json", &n_copy);
    assert_int_equal(n, n_copy);
    assert_memory_equal(tokenizer, copy, n);
    assert_true(scratch_holds("out/README.md", "card", 4));
    assert_true(scratch_exists("out/generation_config.json"));
    assert_false(scratch_exists("out/model.safetensors.index.json"));
    bl_free(config);
    bl_free(tokenizer);
    bl_free(copy);
    release(&s);
}

static bl_recipe recipe_of_a_training(void)
{
    return (bl_recipe){ .loss = { .kd = 0.75, .ce = 0.25, .temperature = 1 },
                        .schedule = { BL_SCHEDULE_WSD, 1e-3, 1e-4, 200, 6, 0.1 },
                        .beta1 = 0.9,
                        .beta2 = 0.95,
                        .eps = 1e-8,
                        .weight_decay = 0.1,
                        .clip = 1,
                        .batch = 8,
                        .accumulate = 2,
                        .cache = { .kind = BL_CACHE_SAMPLED,
                                   .n_seqs = 10,
                                   .n_positions = 64,
                                   .n_draws = 50,
                                   .name = "big|one" },
                        .eval_text = { 1, 2 } };
}

static const bl_train_record records[] = {
    { 0, 0, (double)NAN, (double)NAN, (double)NAN, (double)NAN, (double)NAN, 5.5 },
    { 1, 100, 2.5, 6, 2, 1e-4, 3.25, (double)NAN },
    { 2, 200, 1.5, 5, 1, 2e-4, 2.5, 4.5 },
};

static void the_card_has_the_recipe_and_the_numbers(void **state)
{
    const bl_recipe recipe = recipe_of_a_training();
    const bl_student_card card = { &recipe, source, 1234, records, 3 };
    static const char *const wanted[] = {
        "---\nlibrary_name: transformers\ntags:\n- distillation\n---\n\n# A student of big\\|one\n",
        "1234 parameters",
        "| loss | 0.75 x forward KL + 0.25 x cross-entropy with the text |\n",
        "sampled, 50 draws, seed 0; 10 sequences of 64 tokens",
        "0.001, warm-up of 6 steps, wsd, decay to 0.0001 over the last 10 % |\n",
        "| steps | 200, each of 2 x 8 sequences; seed 0 |\n",
        "| tokens learned from | 200 |\n",
        "| loss | 2.5000 | 1.5000 |\n",
        "perplexity 244.6919 before, 90.0171 after.\n",
    };
    bl_text text = { 0 };
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(bl_student_card_write(&text, &card, &err), BL_OK);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
        if (!strstr(text.bytes, wanted[i]))
            fail_msg("'%s' is missing in\n%s", wanted[i], text.bytes);
    bl_text_release(&text);
}

static void a_line_of_the_log_has_what_there_is(void **state)
{
    bl_text text = { 0 };

    (void)state;
    for (size_t i = 0; i < 3; i++)
        bl_train_log_line(&text, &records[i], i == 2 ? 12.34 : 0);
    assert_string_equal(
        text.bytes,
        "{\"step\":0,\"tokens\":0,\"eval_ppl\":244.6919323}\n"
        "{\"step\":1,\"tokens\":100,\"loss\":2.5,\"ce\":6,\"kd\":2,\"lr\":0.0001,\"grad_norm\":3."
        "25}\n"
        "{\"step\":2,\"tokens\":200,\"loss\":1.5,\"ce\":5,\"kd\":1,\"lr\":0.0002,\"grad_norm\":2.5,"
        "\"tokens_per_s\":12.3,\"eval_ppl\":90.0171313}\n");
    bl_text_release(&text);
}

static void the_chart_has_its_three_lines(void **state)
{
    bl_text text = { 0 };
    struct bl_err err = { 0 };

    (void)state;
    assert_int_equal(bl_train_log_chart(&text, records, 3, &err), BL_OK);
    assert_non_null(strstr(text.bytes, "held-out text"));
    bl_text_release(&text);
    assert_int_equal(bl_train_log_chart(&text, records + 1, 1, &err), BL_OK);
    assert_null(strstr(text.bytes, "held-out text"));
    bl_text_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_in_it_as_they_are_or_rounded_to_nearest),
        cmocka_unit_test(side_files_are_those_of_the_source_and_its_own),
        cmocka_unit_test(the_card_has_the_recipe_and_the_numbers),
        cmocka_unit_test(a_line_of_the_log_has_what_there_is),
        cmocka_unit_test(the_chart_has_its_three_lines),
    };

    return cmocka_run_group_tests(tests, open_source, close_source);
}
