/* test_tokenizer_file.c - published pipelines read as tables; everything else refused by name. */
#include "base/alloc.h"
#include "base/text.h"
#include "formats/tokenizer/tokenizer_file.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define VOCAB      "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"<s>\":3}"

/* A tokenizer.json from the members of its model and the rest; both may be "". */
static char *document(const char *model, const char *rest)
{
    return bl_format("{\"model\":{%s},%s\"pre_tokenizer\":" BYTE_LEVEL "}", model, rest);
}

static bl_status parse(bl_tokenizer_file **out, const char *json, const char *config,
                       struct bl_err *err)
{
    return bl_tokenizer_file_parse(out, "t.json", json, strlen(json), config,
                                   config ? strlen(config) : 0, err);
}

static bl_tokenizer_file *parsed(char *json, const char *config)
{
    bl_tokenizer_file *file = NULL;
    struct bl_err err = { 0 };

    if (parse(&file, json, config, &err) != BL_OK)
        fail_msg("%s: %s", json, err.text);
    bl_free(json);
    return file;
}

static void refuses(char *json, const char *config, bl_status status, const char *words)
{
    bl_tokenizer_file *file = NULL;
    struct bl_err err = { 0 };
    bl_status rc = parse(&file, json, config, &err);

    if (rc != status || !strstr(err.text, words) || file)
        fail_msg("%s: status %d, '%s' lacks '%s'", json, rc, err.text, words);
    bl_free(json);
}

static void reads_the_tokenizer_of_a_checkpoint(void **state)
{
    bl_tokenizer_file *f = NULL;

    (void)state;
    assert_int_equal(bl_tokenizer_file_open(&f, "data/nano-r1", NULL), BL_OK);
    assert_int_equal(f->n_ids, 2048);
    assert_int_equal(f->n_merges, 1785);
    assert_int_equal(f->n_added, 7);
    assert_string_equal(f->token[0].text, "<｜begin▁of▁sentence｜>");
    assert_true(f->token[0].in_model && f->token[0].added == 0);
    assert_true(!f->token[2047].in_model && f->token[2047].added == 6);
    assert_string_equal(f->token[2047].text, "</think>");
    assert_true(f->added[0].special && !f->added[6].special);
    assert_string_equal(f->token[f->merge[2].left].text, "Ġ");
    assert_string_equal(f->token[f->merge[2].right].text, "t");
    assert_string_equal(f->token[f->merge[2].result].text, "Ġt");
    assert_int_equal(f->n_splits, 3);
    assert_string_equal(f->split[0].pattern, "\\p{N}{1,3}");
    assert_true(f->bos == 0 && f->eos == 1 && f->pad == 1 && f->unk == -1);
    assert_true(f->add_bos && !f->add_eos && !f->nfc && !f->ignore_merges);
    assert_null(f->chat_template);
    bl_tokenizer_file_free(f);
}

static void names_split_expressions_as_llama_cpp_does(void **state)
{
    static const struct {
        const char *directory, *pre;
        uint32_t n_ids;
    } cases[] = { { "data/nano-r1", "deepseek-v3", 2048 },
                  { "data/tokenizer/deepseek-v3", "deepseek-v3", 129280 },
                  { "data/tokenizer/tiny-r1", "deepseek-v3", 4096 },
                  { "data/tokenizer/tiny-qwen2", "qwen2", 1024 },
                  { "data/tokenizer/tiny-llama", "llama-bpe", 1000 } };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        bl_tokenizer_file *f = NULL;

        assert_int_equal(bl_tokenizer_file_open(&f, cases[i].directory, NULL), BL_OK);
        assert_string_equal(bl_tokenizer_gguf_pre(f), cases[i].pre);
        assert_int_equal(f->n_ids, cases[i].n_ids);
        bl_tokenizer_file_free(f);
    }
}

static void tells_pipelines_of_the_same_expressions_apart(void **state)
{
    static const struct {
        const char *pre_tokenizer, *pre;
    } cases[] = {
        { "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}", "gpt-2" },
        { "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", NULL },
        { "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":"
          "true},{\"type\":\"ByteLevel\",\"add_prefix_space\":false}]}",
          "smollm" },
        { "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":"
          "false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false}]}",
          NULL },
        { BYTE_LEVEL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        bl_tokenizer_file *f =
            parsed(bl_format("{\"model\":{" VOCAB ",\"merges\":[]},\"pre_tokenizer\":%s}",
                             cases[i].pre_tokenizer),
                   NULL);
        const char *pre = bl_tokenizer_gguf_pre(f);

        if (cases[i].pre)
            assert_string_equal(pre, cases[i].pre);
        else
            assert_null(pre);
        bl_tokenizer_file_free(f);
    }
}

static void reads_both_spellings_of_merges(void **state)
{
    static const char *const spellings[] = { "[\"a b\"]", "[[\"a\",\"b\"]]" };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char *model = bl_format(VOCAB ",\"merges\":%s", spellings[i]);
        bl_tokenizer_file *f = parsed(document(model, ""), NULL);

        assert_int_equal(f->n_merges, 1);
        assert_true(f->merge[0].left == 0 && f->merge[0].right == 1 && f->merge[0].result == 2);
        bl_tokenizer_file_free(f);
        bl_free(model);
    }
}

static void takes_ids_with_holes(void **state)
{
    bl_tokenizer_file *f =
        parsed(document("\"vocab\":{\"a\":7},\"merges\":[]",
                        "\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true}],"),
               NULL);

    (void)state;
    assert_int_equal(f->n_ids, 8);
    assert_null(f->token[0].text);
    assert_string_equal(f->token[3].text, "<s>");
    assert_false(f->token[3].in_model);
    assert_int_equal(f->token[3].n_bytes, 3);
    assert_false(f->added[0].normalized); /* special, and nothing said */
    bl_tokenizer_file_free(f);
}

static void reads_what_the_side_file_says(void **state)
{
    bl_tokenizer_file *f =
        parsed(document(VOCAB ",\"merges\":[]", ""),
               "{\"bos_token\":{\"content\":\"<s>\",\"lstrip\":false},\"eos_token\":\"ab\","
               "\"pad_token\":null,\"add_bos_token\":true,\"add_eos_token\":true,"
               "\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"x\"},"
               "{\"name\":\"default\",\"template\":\"{{ messages }}\"}]}");

    (void)state;
    assert_true(f->bos == 3 && f->eos == 2 && f->pad == -1 && f->unk == -1);
    assert_true(f->add_bos && f->add_eos);
    assert_string_equal(f->chat_template, "{{ messages }}");
    bl_tokenizer_file_free(f);
}

static void knows_when_a_model_wants_bos(void **state)
{
    static const char template[] = "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":"
                                   "[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{}}]},";
    bl_tokenizer_file *f = parsed(document(VOCAB ",\"merges\":[]", ""), "{}");

    (void)state;
    assert_false(f->add_bos);
    bl_tokenizer_file_free(f);
    f = parsed(document(VOCAB ",\"merges\":[]", template), NULL);
    assert_true(f->add_bos && !f->add_eos);
    bl_tokenizer_file_free(f);
    f = parsed(document(VOCAB ",\"merges\":[]", template), "{\"add_bos_token\":false}");
    assert_false(f->add_bos); /* the side file has the last word */
    bl_tokenizer_file_free(f);
}

static void refuses_vocabularies_that_contradict_themselves(void **state)
{
    static const struct {
        const char *model, *rest, *words;
    } cases[] = {
        { "\"merges\":[]", "", "'vocab'" },
        { VOCAB, "", "'merges'" },
        { "\"vocab\":{},\"merges\":[]", "", "empty" },
        { "\"vocab\":{\"\":0},\"merges\":[]", "", "token 0 is empty" },
        { "\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]", "", "share id 0" },
        { "\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]", "", "twice" },
        { "\"vocab\":{\"a\":-1},\"merges\":[]", "", "not an integer below" },
        { "\"vocab\":{\"a\":0.5},\"merges\":[]", "", "not an integer below" },
        { "\"vocab\":{\"a\":\"0\"},\"merges\":[]", "", "not an integer below" },
        { "\"vocab\":{\"a\":16777216},\"merges\":[]", "", "not an integer below" },
        { "\"vocab\":{\"a\":4000000000},\"merges\":[]", "", "not an integer below" },
        { "\"vocab\":{\"a\":16777215},\"merges\":[]", "", "far above the 1 tokens" },
        { VOCAB ",\"merges\":[\"ab\"]", "", "merge 0 is not a pair" },
        { VOCAB ",\"merges\":[\"a b c\"]", "", "merge 0 is not a pair" },
        { VOCAB ",\"merges\":[[\"a\"]]", "", "merge 0 is not a pair" },
        { VOCAB ",\"merges\":[[\"a\",\"b\",\"a\"]]", "", "merge 0 is not a pair" },
        { VOCAB ",\"merges\":[[\"a\",1]]", "", "merge 0 is not a pair" },
        { VOCAB ",\"merges\":[1]", "", "merge 0 is not a pair" },
        { VOCAB ",\"merges\":[[\"a\",\"b\"],[\"b\",\"a\"]]", "", "merge 1 (b and a)" },
        { VOCAB ",\"merges\":[\"a b\",[\"a\",\"b\"]]", "", "merge 1 repeats" },
        { VOCAB ",\"merges\":[],\"ignore_merges\":1", "", "'ignore_merges'" },
        { VOCAB ",\"merges\":[]", "\"added_tokens\":{},", "not a list" },
        { VOCAB ",\"merges\":[]", "\"added_tokens\":[{\"id\":9}],", "no text" },
        { VOCAB ",\"merges\":[]", "\"added_tokens\":[{\"content\":\"x\"}],", "'x' is not" },
        { VOCAB ",\"merges\":[]", "\"added_tokens\":[{\"content\":\"\",\"id\":9}],", "empty" },
        { VOCAB ",\"merges\":[]", "\"added_tokens\":[{\"content\":\"<s>\",\"id\":9}],",
          "the ids 3 and 9" },
        { VOCAB ",\"merges\":[]", "\"added_tokens\":[{\"content\":\"x\",\"id\":3}],",
          "share id 3" },
        { VOCAB ",\"merges\":[]",
          "\"added_tokens\":[{\"content\":\"x\",\"id\":9},{\"content\":\"x\",\"id\":9}],",
          "twice" },
        { VOCAB ",\"merges\":[]",
          "\"added_tokens\":[{\"content\":\"x\",\"id\":9,\"lstrip\":\"no\"}],", "'lstrip'" },
        { VOCAB ",\"merges\":[]", "\"normalizer\":{\"type\":\"Sequence\"},", "'normalizers'" },
        { VOCAB ",\"merges\":[]",
          "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{}]},",
          "unknown token" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        refuses(document(cases[i].model, cases[i].rest), NULL, BL_E_FORMAT, cases[i].words);
    refuses(bl_strdup("{}"), NULL, BL_E_FORMAT, "no 'model'");
    refuses(bl_strdup("[]"), NULL, BL_E_FORMAT, "no 'model'");
    refuses(bl_strdup("{\"model\":"), NULL, BL_E_FORMAT, "t.json");
    refuses(document(VOCAB ",\"merges\":[]", ""), "{\"eos_token\":\"x\"}", BL_E_FORMAT,
            "'x' as its eos_token");
    refuses(document(VOCAB ",\"merges\":[]", ""), "{\"eos_token\":[]}", BL_E_FORMAT, "eos_token");
    refuses(document(VOCAB ",\"merges\":[]", ""), "{\"add_bos_token\":1}", BL_E_FORMAT,
            "'add_bos_token'");
    refuses(document(VOCAB ",\"merges\":[]", ""), "{", BL_E_FORMAT, "tokenizer_config.json");
}

static void says_which_feature_it_does_not_support(void **state)
{
    static const char *const models[][2] = {
        { "\"type\":\"Unigram\"", "Unigram" },
        { "\"type\":\"WordPiece\"", "WordPiece" },
        { VOCAB ",\"merges\":[],\"byte_fallback\":true", "byte_fallback" },
        { VOCAB ",\"merges\":[],\"dropout\":0.1", "dropout" },
        { VOCAB ",\"merges\":[],\"continuing_subword_prefix\":\"##\"",
          "continuing_subword_prefix" },
        { VOCAB ",\"merges\":[],\"end_of_word_suffix\":\"</w>\"", "end_of_word_suffix" },
    };
    static const char *const pipelines[][2] = {
        { "\"normalizer\":{\"type\":\"NFKC\"}", "normalizer 'NFKC'" },
        { "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Lowercase\"}]}",
          "normalizer 'Lowercase'" },
        { "\"pre_tokenizer\":null", "ByteLevel" },
        { "\"pre_tokenizer\":{\"type\":\"Metaspace\"}", "pre-tokenizer 'Metaspace'" },
        { "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[]}", "ByteLevel" },
        { "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" BYTE_LEVEL
          ",{\"type\":\"Digits\"}]}",
          "behind ByteLevel" },
        { "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":"
          "\"Isolated\"}",
          "Split without a Regex" },
        { "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\" \"},\"behavior\":"
          "\"Removed\"}",
          "Split behavior 'Removed'" },
        { "\"pre_tokenizer\":" BYTE_LEVEL ",\"decoder\":{\"type\":\"WordPiece\"}",
          "decoder 'WordPiece'" },
        { "\"pre_tokenizer\":" BYTE_LEVEL ",\"post_processor\":{\"type\":\"BertProcessing\"}",
          "post-processor 'BertProcessing'" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(models) / sizeof(*models); i++)
        refuses(document(models[i][0], ""), NULL, BL_E_UNSUPPORTED, models[i][1]);
    for (size_t i = 0; i < sizeof(pipelines) / sizeof(*pipelines); i++)
        refuses(bl_format("{\"model\":{" VOCAB ",\"merges\":[]},%s}", pipelines[i][0]), NULL,
                BL_E_UNSUPPORTED, pipelines[i][1]);
}

static void refuses_more_expressions_than_the_table_holds(void **state)
{
    bl_text text = { 0 };

    (void)state;
    bl_text_puts(&text, "{\"model\":{" VOCAB ",\"merges\":[]},\"pre_tokenizer\":{\"type\":"
                        "\"Sequence\",\"pretokenizers\":[");
    for (int i = 0; i <= BL_TOKENIZER_MAX_SPLITS; i++)
        bl_text_puts(&text, "{\"type\":\"Digits\"},");
    bl_text_puts(&text, BYTE_LEVEL "]}}");
    refuses(bl_strdup(text.bytes), NULL, BL_E_UNSUPPORTED, "more than 16");
    bl_text_release(&text);
}

static void names_the_file_that_is_missing(void **state)
{
    struct bl_err err = { 0 };
    bl_tokenizer_file *f = NULL;

    (void)state;
    assert_int_equal(bl_tokenizer_file_open(&f, "data/text", &err), BL_E_IO);
    assert_non_null(strstr(err.text, "data/text/tokenizer.json"));
    assert_null(f);
}

static void maps_bytes_to_the_alphabet_and_back(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        uint32_t c = bl_code_point_of_byte((uint8_t)byte);

        assert_true(c > 0x20 && c <= 0x143 && c != 0x7f && c != 0xad);
        assert_int_equal(bl_byte_of_code_point(c), byte);
    }
    assert_int_equal(bl_code_point_of_byte(' '), 0x120);  /* Ġ */
    assert_int_equal(bl_code_point_of_byte('\n'), 0x10a); /* Ċ */
    assert_int_equal(bl_byte_of_code_point(' '), -1);
    assert_int_equal(bl_byte_of_code_point(0x144), -1);
    assert_int_equal(bl_byte_of_code_point(0xad), -1);
}

static void survives_every_failing_allocation(void **state)
{
    char *json = document(VOCAB ",\"merges\":[[\"a\",\"b\"]]",
                          "\"added_tokens\":[{\"id\":4,\"content\":\"<x>\"}],");
    int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;
    uint64_t k = 0;

    (void)state;
    while (rc != BL_OK) {
        struct bl_err err = { 0 };
        bl_tokenizer_file *f = NULL;

        bl_alloc_fail_at(++k);
        rc = parse(&f, json, "{\"bos_token\":\"<x>\",\"chat_template\":\"x\"}", &err);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || (rc == BL_E_NOMEM && !f && *err.text));
        bl_tokenizer_file_free(f);
        assert_int_equal(bl_alloc_live(), live);
    }
    assert_true(k > 20);
    bl_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_tokenizer_of_a_checkpoint),
        cmocka_unit_test(names_split_expressions_as_llama_cpp_does),
        cmocka_unit_test(tells_pipelines_of_the_same_expressions_apart),
        cmocka_unit_test(reads_both_spellings_of_merges),
        cmocka_unit_test(takes_ids_with_holes),
        cmocka_unit_test(reads_what_the_side_file_says),
        cmocka_unit_test(knows_when_a_model_wants_bos),
        cmocka_unit_test(refuses_vocabularies_that_contradict_themselves),
        cmocka_unit_test(says_which_feature_it_does_not_support),
        cmocka_unit_test(refuses_more_expressions_than_the_table_holds),
        cmocka_unit_test(names_the_file_that_is_missing),
        cmocka_unit_test(maps_bytes_to_the_alphabet_and_back),
        cmocka_unit_test(survives_every_failing_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
