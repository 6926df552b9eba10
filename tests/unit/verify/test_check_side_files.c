/* The files beside the weights: coherent ones say nothing, each contradiction is one sentence. */
#include "spoiled.h"
#include "verify/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char tokenizer_json[] =
    "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"c\": 2, \"d\": 3}, \"merges\": []},"
    " \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false},"
    " \"added_tokens\": [{\"id\": 0, \"content\": \"<s>\", \"special\": true},"
    " {\"id\": 1, \"content\": \"</s>\", \"special\": true}]}";

/* A sound folder around the weights of toy-qwen2: vocabulary 50, BOS 0, EOS 1. */
static const struct {
    const char *name, *text;
} sound[] = {
    { "generation_config.json", "{\"bos_token_id\": 0, \"eos_token_id\": [1, 2]}" },
    { "tokenizer.json", tokenizer_json },
    { "tokenizer_config.json",
      "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\"}, \"pad_token\": \"</s>\","
      " \"model_max_length\": 1000000000000000019884624838656,"
      " \"added_tokens_decoder\": {\"0\": {\"content\": \"<s>\"}, \"1\": {\"content\": "
      "\"</s>\"}}}" },
    { "special_tokens_map.json", "{\"bos_token\": \"<s>\"}" },
    { "added_tokens.json", "{\"<s>\": 0, \"</s>\": 1}" },
};

static char toy[PATH_MAX];

static int enter(void **state)
{
    return realpath("data/toy-qwen2", toy) ? scratch_enter(state) : -1;
}

static void copy_of_toy(const char *name)
{
    char path[2 * PATH_MAX];
    size_t n;
    char *bytes;

    snprintf(path, sizeof(path), "%s/%s", toy, name);
    bytes = spoiled_read(&n, path);
    snprintf(path, sizeof(path), "a/%s", name);
    scratch_write(path, bytes, n);
    free(bytes);
}

static void make_sound(void)
{
    char path[64];

    mkdir("a", 0777);
    copy_of_toy("config.json");
    copy_of_toy("model.safetensors");
    for (size_t i = 0; i < sizeof(sound) / sizeof(*sound); i++) {
        snprintf(path, sizeof(path), "a/%s", sound[i].name);
        scratch_write(path, sound[i].text, strlen(sound[i].text));
    }
}

static bl_check_result check(void)
{
    const bl_check_options options = { .n_threads = 1, .structure_only = true };
    bl_ckpt *ckpt = spoiled_open("a");
    bl_check_result r = { 0 };
    struct bl_err err = { 0 };

    if (bl_check_run(&r, ckpt, &options, &err) != BL_OK)
        fail_msg("%s", err.text);
    bl_ckpt_close(ckpt);
    return r;
}

static void files_that_agree_say_nothing(void **state)
{
    bl_check_result r;

    (void)state;
    make_sound();
    r = check();
    if (r.n_findings)
        fail_msg("%s", r.finding[0].text);
    bl_check_release(&r);
}

/* One file of the sound folder with other content, and the sentence that must follow. */
static const struct wrong {
    const char *name, *text;
    bool fault;
    const char *says;
} wrongs[] = {
    { "generation_config.json", "{\"eos_token_id\": 1", true, "generation_config.json: " },
    { "tokenizer_config.json", "{\"eos_token\": }", true, "tokenizer_config.json: " },
    { "notes.json", "{\"loss\": NaN}", false, "notes.json: " },
    { "generation_config.json", "{\"eos_token_id\": 50}", true,
      "generation_config.json: eos_token_id is 50, the vocabulary ends at 49" },
    { "generation_config.json", "{\"bos_token_id\": 99}", true,
      "generation_config.json: bos_token_id is 99, the vocabulary ends at 49" },
    { "generation_config.json", "{\"pad_token_id\": 2}", false,
      "generation_config.json: pad_token_id is 2, tokenizer_config.json has 1" },
    { "generation_config.json", "{\"pad_token_id\": -1, \"eos_token_id\": null}", false, NULL },
    { "generation_config.json", "{\"eos_token_id\": \"</s>\"}", true,
      "generation_config.json: eos_token_id is not a token id" },
    { "generation_config.json", "{\"eos_token_id\": [3, 2]}", true,
      "generation_config.json: eos_token_id is 3, config.json has 1" },
    { "generation_config.json", "{\"bos_token_id\": 3}", true,
      "generation_config.json: bos_token_id is 3, tokenizer_config.json has 0" },
    { "generation_config.json", "{\"bos_token_id\": 1}", false,
      "generation_config.json: bos_token_id is 1, tokenizer_config.json has 0" },
    { "tokenizer_config.json", "{\"eos_token\": \"d\"}", true,
      "config.json: eos_token_id is 1, tokenizer_config.json has 3" },
    { "tokenizer_config.json", "{\"eos_token\": \"<end>\"}", true,
      "names '<end>' as its eos_token, which is not a token" },
    { "tokenizer.json",
      "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"c\": 2, \"<s>\": 0, \"</s>\": 1, \"far\": 50},"
      " \"merges\": []}, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": "
      "false}}",
      true, "tokenizer.json: token 'far' has the id 50, the vocabulary of config.json ends at 49" },
    { "tokenizer.json", "{\"model\": ", true, "tokenizer.json: " },
    { "tokenizer.json", "{\"model\": {\"type\": \"Unigram\"}}", false,
      "'Unigram' is not supported" },
    { "tokenizer_config.json", "{\"added_tokens_decoder\": {\"1\": {\"content\": \"<end>\"}}}",
      true, "tokenizer_config.json: token 1 is '<end>', tokenizer.json has '</s>'" },
    { "tokenizer_config.json", "{\"added_tokens_decoder\": {\"one\": {\"content\": \"</s>\"}}}",
      true, "added_tokens_decoder is not a map of token ids" },
    { "added_tokens.json", "{\"<s>\": 1}", true,
      "added_tokens.json: token 1 is '<s>', tokenizer.json has '</s>'" },
    { "added_tokens.json", "{\"<x>\": 50}", true,
      "added_tokens.json: the added token '<x>' has the id 50, the vocabulary ends at 49" },
    { "added_tokens.json", "{\"<x>\": 40}", false,
      "added_tokens.json: the added token '<x>' (40) is not in tokenizer.json" },
    { "special_tokens_map.json", "{\"eos_token\": {\"content\": \"<s>\"}}", true,
      "special_tokens_map.json: eos_token is '<s>', tokenizer_config.json has '</s>'" },
    { "model-00002-of-00002.safetensors", "", true,
      "model-00002-of-00002.safetensors: no model.safetensors.index.json names this shard" },
    { "consolidated.safetensors", "", false, "consolidated.safetensors: not part of this" },
};

static void each_contradiction_is_one_sentence_that_names_the_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(*wrongs); i++) {
        const struct wrong *w = &wrongs[i];
        char path[64];
        bl_check_result r;

        make_sound();
        snprintf(path, sizeof(path), "a/%s", w->name);
        scratch_write(path, w->text, strlen(w->text));
        r = check();
        if (r.n_findings != (w->says != NULL))
            fail_msg("%s: %zu findings for %s", w->name, r.n_findings, w->text);
        if (w->says && !strstr(r.finding[0].text, w->says))
            fail_msg("'%s' does not say '%s'", r.finding[0].text, w->says);
        assert_int_equal(r.n_faults, w->fault);
        assert_int_equal(r.n_tensor_faults, 0);
        if (w->fault)
            assert_int_equal(r.finding[0].kind, BL_FINDING_SIDE_FILE);
        bl_check_release(&r);
        scratch_remove("a");
    }
}

static void memory_that_fails_is_a_status(void **state)
{
    const bl_check_options options = { .n_threads = 1, .structure_only = true };
    bl_ckpt *ckpt;
    int64_t live;
    bl_status rc = BL_E_NOMEM;

    (void)state;
    make_sound();
    scratch_write("a/added_tokens.json", "{\"<s>\": 1}", 10);
    ckpt = spoiled_open("a");
    live = bl_alloc_live();
    for (uint64_t k = 1; rc != BL_OK; k++) {
        bl_check_result r = { 0 };

        bl_alloc_fail_at(k);
        rc = bl_check_run(&r, ckpt, &options, NULL);
        bl_alloc_fail_at(0);
        bl_check_release(&r);
        assert_int_equal(bl_alloc_live(), live);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        assert_true(rc == BL_OK || k < 2000);
    }
    bl_ckpt_close(ckpt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(files_that_agree_say_nothing, scratch_clear),
        cmocka_unit_test_teardown(each_contradiction_is_one_sentence_that_names_the_file,
                                  scratch_clear),
        cmocka_unit_test_teardown(memory_that_fails_is_a_status, scratch_clear),
    };

    return cmocka_run_group_tests(tests, enter, scratch_leave);
}
