/*
 * What is written beside the weights of a GGUF file is read again as what it was: configuration and
 * tokenizer, of every small model; and nothing is left when memory ends.
 */
#include "base/alloc.h"
#include "base/text.h"
#include "formats/arch/config_compare.h"
#include "formats/arch/config_write.h"
#include "formats/ckpt/ckpt.h"
#include "formats/json/json.h"
#include "formats/tokenizer/tokenizer_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const model[] = { "data/nano-r1",
                                     "data/toy-mla",
                                     "data/toy-qwen2",
                                     "data/toy-llama",
                                     "data/gguf/toy-mla.gguf",
                                     "data/gguf/toy-llama.gguf",
                                     "data/gguf/toy-qwen2.gguf" };

static bl_ckpt *open_model(const char *path)
{
    bl_ckpt *ckpt = NULL;
    struct bl_err err = { 0 };

    if (bl_ckpt_open(&ckpt, path, &err) != BL_OK)
        fail_msg("%s", err.text);
    return ckpt;
}

static void a_configuration_is_read_as_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(model) / sizeof(*model); i++) {
        bl_ckpt *ckpt = open_model(model[i]);
        bl_config again;
        bl_json *json = NULL;
        bl_config_difference difference[BL_CONFIG_MAX_DIFFERENCES];
        bl_text text = { 0 };
        struct bl_err err = { 0 };

        if (bl_config_write(&text, bl_ckpt_config(ckpt), "float32", &err) != BL_OK ||
            bl_json_parse(&json, "config.json", text.bytes, text.n, 0, &err) != BL_OK ||
            bl_config_parse(&again, "config.json", json, &err) != BL_OK)
            fail_msg("%s: %s", model[i], err.text);
        if (bl_config_compare(difference, &again, bl_ckpt_config(ckpt)) > 0)
            fail_msg("%s: %s is %s, was %s", model[i], difference[0].field, difference[0].test,
                     difference[0].reference);
        bl_json_free(json);
        bl_text_release(&text);
        bl_ckpt_close(ckpt);
    }
}

static void a_tokenizer_is_read_as_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(model) / sizeof(*model); i++) {
        bl_ckpt *ckpt = open_model(model[i]);
        bl_tokenizer_file *file = NULL, *again = NULL;
        bl_text json = { 0 }, config = { 0 };
        struct bl_err err = { 0 };

        if (bl_ckpt_tokenizer_file(&file, ckpt, &err) != BL_OK) { /* a toy without one */
            bl_ckpt_close(ckpt);
            continue;
        }
        if (bl_tokenizer_write_json(&json, file, &err) != BL_OK ||
            bl_tokenizer_write_config(&config, file, 512, &err) != BL_OK ||
            bl_tokenizer_file_parse(&again, "tokenizer.json", json.bytes, json.n, config.bytes,
                                    config.n, &err) != BL_OK)
            fail_msg("%s: %s", model[i], err.text);
        assert_int_equal(again->n_ids, file->n_ids);
        assert_int_equal(again->n_merges, file->n_merges);
        assert_int_equal(again->n_added, file->n_added);
        assert_int_equal(again->n_splits, file->n_splits);
        assert_int_equal(again->bos, file->bos);
        assert_int_equal(again->eos, file->eos);
        assert_int_equal(again->add_bos, file->add_bos);
        assert_int_equal(again->ignore_merges, file->ignore_merges);
        assert_int_equal(again->nfc, file->nfc);
        for (uint32_t t = 0; t < file->n_ids; t++) {
            const char *a = file->token[t].text, *b = again->token[t].text;

            assert_true(!a == !b && (!a || strcmp(a, b) == 0));
        }
        for (uint32_t m = 0; m < file->n_merges; m++)
            assert_int_equal(again->merge[m].result, file->merge[m].result);
        for (uint32_t s = 0; s < file->n_splits; s++)
            assert_string_equal(again->split[s].pattern, file->split[s].pattern);
        bl_tokenizer_file_free(file);
        bl_tokenizer_file_free(again);
        bl_text_release(&json);
        bl_text_release(&config);
        bl_ckpt_close(ckpt);
    }
}

/* Divisors that no llama3 scaling gives. */
static void refuses_divisors_that_nobody_can_name(void **state)
{
    bl_ckpt *ckpt = open_model("data/toy-llama");
    bl_config c = *bl_ckpt_config(ckpt);
    float divisors[256];
    struct bl_err err = { 0 };
    bl_text text = { 0 };

    (void)state;
    for (uint32_t i = 0; i < 256; i++)
        divisors[i] = i == 0 ? 5 : 1; /* the fastest is never slowed down alone */
    c.rope_scaling = BL_ROPE_DIVISORS;
    c.rope_divisors = divisors;
    assert_int_equal(bl_config_write(&text, &c, "float32", &err), BL_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "rope_freqs.weight"));
    bl_text_release(&text);
    bl_ckpt_close(ckpt);
}

static void fails_cleanly_without_memory(void **state)
{
    bl_ckpt *ckpt = open_model("data/nano-r1");
    bl_tokenizer_file *file = NULL;
    bl_status rc = BL_E_NOMEM;

    (void)state;
    assert_int_equal(bl_ckpt_tokenizer_file(&file, ckpt, NULL), BL_OK);
    for (uint64_t k = 1; rc != BL_OK; k += 1 + k / 4) {
        int64_t live = bl_alloc_live();
        bl_text text = { 0 };

        bl_alloc_fail_at(k);
        rc = bl_config_write(&text, bl_ckpt_config(ckpt), "float32", NULL);
        if (rc == BL_OK)
            rc = bl_tokenizer_write_json(&text, file, NULL);
        if (rc == BL_OK)
            rc = bl_tokenizer_write_config(&text, file, 512, NULL);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        bl_text_release(&text);
        assert_true(bl_alloc_live() == live);
    }
    bl_tokenizer_file_free(file);
    bl_ckpt_close(ckpt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_configuration_is_read_as_it_was),
        cmocka_unit_test(a_tokenizer_is_read_as_it_was),
        cmocka_unit_test(refuses_divisors_that_nobody_can_name),
        cmocka_unit_test(fails_cleanly_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
