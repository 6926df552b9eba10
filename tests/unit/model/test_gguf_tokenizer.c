/*
 * test_gguf_tokenizer.c - the tokenizer of a GGUF file gives the ids of the tokenizer.json it was
 * written from, and what other writers put there is taken as llama.cpp takes it, or refused.
 */
#include "base/alloc.h"
#include "base/source.h"
#include "formats/gguf/gguf_metadata.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/json/json.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/unit/scratch.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const directories[] = { "nano-r1",
                                           "tokenizer/tiny-r1",
                                           "tokenizer/tiny-qwen2",
                                           "tokenizer/tiny-llama",
                                           "tokenizer/deepseek-v3",
                                           "tokenizer/tiny-gpt2",
                                           "tokenizer/tiny-smollm" };
enum {
    N_DIRECTORIES = sizeof(directories) / sizeof(*directories),
    N_RANDOM = 5, /* of them have random texts */
    N_FILLERS = 7
};

/* Read while the data folder is at hand: the tests run in a folder of their own. */
static bl_tokenizer_file *source[N_DIRECTORIES];
static char *vectors[N_DIRECTORIES], *random_texts;

static char *read_file(const char *path)
{
    bl_source *file = NULL;
    char *text = NULL;

    assert_int_equal(bl_source_open(&file, path, NULL), BL_OK);
    assert_int_equal(bl_source_read_all(&text, NULL, file, 16 << 20, NULL), BL_OK);
    bl_source_close(file);
    return text;
}

static int read_data(void **state)
{
    for (size_t i = 0; i < N_DIRECTORIES; i++) {
        char *path = bl_format("data/%s", directories[i]);
        char *lines = bl_format("%s/vectors.jsonl", path);

        assert_int_equal(bl_tokenizer_file_open(&source[i], path, NULL), BL_OK);
        source[i]->nfc = false; /* which a GGUF file cannot say */
        vectors[i] = read_file(lines);
        bl_free(path);
        bl_free(lines);
    }
    random_texts = read_file("data/tokenizer/random.txt");
    return scratch_enter(state);
}

static int free_data(void **state)
{
    for (size_t i = 0; i < N_DIRECTORIES; i++) {
        bl_tokenizer_file_free(source[i]);
        bl_free(vectors[i]);
    }
    bl_free(random_texts);
    return scratch_leave(state);
}

/* The tokenizer of x.gguf. */
static bl_status read_back(bl_tokenizer_file **out, struct bl_err *err)
{
    bl_container *c = NULL;
    bl_status rc = bl_gguf_open(&c, "x.gguf", err);

    if (rc == BL_OK)
        rc = bl_gguf_read_tokenizer(out, c, err);
    bl_container_close(c);
    return rc;
}

/* Written to x.gguf with a few ids more than it has, and read again. */
static bl_tokenizer_file *through_gguf(const bl_tokenizer_file *file)
{
    const bl_config config = { .vocab_size = file->n_ids + N_FILLERS };
    bl_tokenizer_file *back = NULL;
    struct bl_err err = { 0 };
    bl_gguf_writer *w = NULL;

    assert_int_equal(bl_gguf_writer_new(&w, NULL), BL_OK);
    assert_int_equal(bl_gguf_put_tokenizer(w, file, &config, NULL), BL_OK);
    assert_int_equal(bl_gguf_writer_begin(w, "x.gguf", true, NULL), BL_OK);
    assert_int_equal(bl_gguf_writer_commit(&w, NULL), BL_OK);
    if (read_back(&back, &err) != BL_OK)
        fail_msg("%s", err.text);
    return back;
}

static bl_tokenizer *tokenizer_of(const bl_tokenizer_file *file)
{
    bl_tokenizer *tokenizer = NULL;
    struct bl_err err = { 0 };

    if (bl_tokenizer_new(&tokenizer, file, &err) != BL_OK)
        fail_msg("%s", err.text);
    return tokenizer;
}

static void the_tables_come_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_DIRECTORIES; i++) {
        const bl_tokenizer_file *a = source[i];
        bl_tokenizer_file *b = through_gguf(a);

        assert_int_equal(a->n_ids, b->n_ids);
        assert_int_equal(a->n_merges, b->n_merges);
        assert_int_equal(a->n_added, b->n_added);
        assert_int_equal(a->n_splits, b->n_splits);
        assert_memory_equal(a->merge, b->merge, a->n_merges * sizeof(*a->merge));
        for (uint32_t id = 0; id < a->n_ids; id++) {
            assert_int_equal(!a->token[id].text, !b->token[id].text);
            if (a->token[id].text)
                assert_string_equal(a->token[id].text, b->token[id].text);
            assert_int_equal(a->token[id].added < 0, b->token[id].added < 0);
        }
        for (uint32_t k = 0; k < a->n_splits; k++)
            assert_string_equal(a->split[k].pattern, b->split[k].pattern);
        assert_true(a->ignore_merges == b->ignore_merges && !b->nfc);
        assert_true(a->bos == b->bos && a->eos == b->eos && a->pad == b->pad && a->unk == b->unk);
        assert_true(a->add_bos == b->add_bos && a->add_eos == b->add_eos);
        assert_int_equal(!a->chat_template, !b->chat_template);
        if (a->chat_template)
            assert_string_equal(a->chat_template, b->chat_template);
        bl_tokenizer_file_free(b);
    }
}

static void expect_equal_ids(const bl_tokenizer *a, const bl_tokenizer *b, const char *text,
                             size_t n)
{
    bl_tokens want = { 0 }, have = { 0 };

    assert_int_equal(bl_tokenizer_encode(&want, a, text, n, 0, NULL), BL_OK);
    assert_int_equal(bl_tokenizer_encode(&have, b, text, n, 0, NULL), BL_OK);
    if (want.n != have.n || (want.n > 0 && memcmp(want.id, have.id, want.n * sizeof(*want.id))))
        fail_msg("other ids for '%.*s'", (int)n, text);
    bl_tokens_release(&want);
    bl_tokens_release(&have);
}

/* Lines of {"text": ...}; those with U+0000, which the strict reader refuses, are passed over. */
static size_t compare_vectors(const bl_tokenizer *a, const bl_tokenizer *b, const char *lines)
{
    size_t n_texts = 0;

    for (size_t n; *lines; lines += n + (lines[n] == '\n')) {
        bl_json *json = NULL;

        n = strcspn(lines, "\n");
        if (bl_json_parse(&json, "vectors", lines, n, 0, NULL) == BL_OK) {
            const char *text = bl_json_string(bl_json_get(bl_json_root(json), "text"));

            expect_equal_ids(a, b, text, strlen(text));
            n_texts++;
        }
        bl_json_free(json);
    }
    return n_texts;
}

/* Lines of "directory hexadecimal-text ids". */
static size_t compare_random_texts(const bl_tokenizer *a, const bl_tokenizer *b,
                                   const char *directory)
{
    const size_t n_directory = strlen(directory);
    size_t n_texts = 0;

    for (const char *line = random_texts; *line; line += strcspn(line, "\n") + 1) {
        const char *hex = line + n_directory + 1;
        char text[4096];
        size_t n = 0;

        if (strncmp(line, directory, n_directory) != 0 || line[n_directory] != ' ')
            continue;
        for (; hex[0] != ' ' && hex[1] != ' '; hex += 2) {
            const char two[3] = { hex[0], hex[1], 0 };

            assert_true(n < sizeof(text));
            text[n++] = (char)strtoul(two, NULL, 16);
        }
        expect_equal_ids(a, b, text, n);
        n_texts++;
    }
    return n_texts;
}

static void gives_the_ids_of_the_json_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_DIRECTORIES; i++) {
        bl_tokenizer_file *file = through_gguf(source[i]);
        bl_tokenizer *a = tokenizer_of(source[i]), *b = tokenizer_of(file);

        assert_true(compare_vectors(a, b, vectors[i]) >= 100);
        assert_int_equal(compare_random_texts(a, b, directories[i]), i < N_RANDOM ? 400 : 0);
        bl_tokenizer_free(a);
        bl_tokenizer_free(b);
        bl_tokenizer_file_free(file);
    }
}

/* A small vocabulary as another writer may make it; NULL and 0 leave a key out. */
struct vocabulary {
    const char *model, *pre;
    const char *token[8], *merge[3];
    const int32_t *type;
    size_t n_types; /* 0: as many as tokens */
    const char *id_key;
    uint32_t id;
    const char *not_strings; /* a key that is written as a number */
};

static size_t put_strings(bl_gguf_writer *w, const char *key, const char *const *text, size_t room)
{
    bl_gguf_string s[8];
    size_t n = 0;

    for (; n < room && text[n]; n++)
        s[n] = (bl_gguf_string){ text[n], strlen(text[n]) };
    bl_gguf_put_strings(w, key, s, n);
    return n;
}

static void write_vocabulary(const struct vocabulary *v)
{
    bl_gguf_writer *w = NULL;
    size_t n = 0;

    assert_int_equal(bl_gguf_writer_new(&w, NULL), BL_OK);
    if (v->model)
        bl_gguf_put_string(w, "tokenizer.ggml.model", v->model, strlen(v->model));
    if (v->pre)
        bl_gguf_put_string(w, "tokenizer.ggml.pre", v->pre, strlen(v->pre));
    if (v->token[0])
        n = put_strings(w, "tokenizer.ggml.tokens", v->token, 8);
    if (v->merge[0])
        put_strings(w, "tokenizer.ggml.merges", v->merge, 3);
    if (v->type)
        bl_gguf_put_i32s(w, "tokenizer.ggml.token_type", v->type, v->n_types ? v->n_types : n);
    if (v->id_key)
        bl_gguf_put_u32(w, v->id_key, v->id);
    if (v->not_strings)
        bl_gguf_put_u32(w, v->not_strings, 1);
    assert_int_equal(bl_gguf_writer_begin(w, "x.gguf", true, NULL), BL_OK);
    assert_int_equal(bl_gguf_writer_commit(&w, NULL), BL_OK);
}

#define AB    .token = { "a", "b", "ab" }
#define GOOD  .model = "gpt2", .pre = "gpt-2"
#define MERGE .merge = { "a b" }

static void refuses_what_it_cannot_use(void **state)
{
    static const int32_t seven[] = { 1, 1, 7 }, negative[] = { 1, -1, 1 };
    static const struct {
        bl_status status;
        const char *words;
        struct vocabulary v;
    } cases[] = {
        { BL_E_UNSUPPORTED, "holds no tokenizer", { AB, MERGE } },
        { BL_E_UNSUPPORTED,
          "'tokenizer.ggml.model': a tokenizer of kind 'llama'",
          { .model = "llama", AB, MERGE } },
        { BL_E_UNSUPPORTED, "kind 'gpt22'", { .model = "gpt22", AB, MERGE } },
        { BL_E_UNSUPPORTED, "expressions 'gpt'", { .model = "gpt2", .pre = "gpt", AB, MERGE } },
        { BL_E_UNSUPPORTED, "expressions ''", { .model = "gpt2", .pre = "", AB, MERGE } },
        { BL_E_FORMAT, "tokens' is missing", { GOOD, MERGE } },
        { BL_E_FORMAT, "merges' is missing", { GOOD, AB } },
        { BL_E_FORMAT, "has type u32", { GOOD, MERGE, .not_strings = "tokenizer.ggml.tokens" } },
        { BL_E_FORMAT, "has type u32", { GOOD, AB, .not_strings = "tokenizer.ggml.merges" } },
        { BL_E_FORMAT,
          "has type u32",
          { .pre = "gpt-2", AB, MERGE, .not_strings = "tokenizer.ggml.model" } },
        { BL_E_FORMAT,
          "has type u32",
          { GOOD, AB, MERGE, .not_strings = "tokenizer.ggml.add_bos_token" } },
        { BL_E_FORMAT,
          "has type u32",
          { GOOD, AB, MERGE, .not_strings = "tokenizer.chat_template" } },
        { BL_E_FORMAT,
          "has type u32",
          { GOOD, AB, MERGE, .not_strings = "tokenizer.ggml.token_type" } },
        { BL_E_FORMAT, "token 2 has type 7", { GOOD, AB, MERGE, .type = seven } },
        { BL_E_FORMAT, "token 1 has type -1", { GOOD, AB, MERGE, .type = negative } },
        { BL_E_FORMAT, "2 values for 3 tokens", { GOOD, AB, MERGE, .type = seven, .n_types = 2 } },
        { BL_E_FORMAT,
          "'tokenizer.ggml.tokens': the token 'a' stands twice",
          { GOOD, .token = { "a", "b", "a" }, MERGE } },
        { BL_E_FORMAT,
          "'tokenizer.ggml.tokens': token 1 is not UTF-8",
          { GOOD, .token = { "a", "\xc3" }, MERGE } },
        { BL_E_FORMAT, "tokens': the vocabulary is empty", { GOOD, .token = { "" }, MERGE } },
        { BL_E_FORMAT,
          "'tokenizer.ggml.merges': merge 0 (a and c)",
          { GOOD, AB, .merge = { "a c" } } },
        { BL_E_FORMAT, "merge 0 (b and a)", { GOOD, AB, .merge = { "b a" } } },
        { BL_E_FORMAT, "merges': merge 1 is not a pair", { GOOD, AB, .merge = { "a b", "ab" } } },
        { BL_E_FORMAT, "merge 0 is not a pair", { GOOD, AB, .merge = { "a b c" } } },
        { BL_E_FORMAT, "merges': merge 1 repeats", { GOOD, AB, .merge = { "a b", "a b" } } },
        { BL_E_FORMAT,
          "eos_token_id' is 3, which is not a token",
          { GOOD, AB, MERGE, .id_key = "tokenizer.ggml.eos_token_id", .id = 3 } },
        { BL_E_FORMAT,
          "padding_token_id' is 4294967295",
          { GOOD, AB, MERGE, .id_key = "tokenizer.ggml.padding_token_id", .id = UINT32_MAX } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const int64_t live = bl_alloc_live();
        bl_tokenizer_file *file = NULL;
        struct bl_err err = { 0 };
        bl_status rc;

        write_vocabulary(&cases[i].v);
        rc = read_back(&file, &err);
        if (rc != cases[i].status || !strstr(err.text, cases[i].words) || file)
            fail_msg("case %zu: status %d, '%s' lacks '%s'", i, rc, err.text, cases[i].words);
        assert_memory_equal(err.text, "x.gguf: ", 8);
        assert_true(bl_alloc_live() == live);
    }
}

static void expect_ids(const char *text, const char *ids)
{
    bl_tokenizer_file *file = NULL;
    bl_tokens tokens = { 0 };
    bl_text line = { 0 };
    struct bl_err err = { 0 };
    bl_tokenizer *tokenizer;

    if (read_back(&file, &err) != BL_OK)
        fail_msg("%s", err.text);
    tokenizer = tokenizer_of(file);
    assert_int_equal(bl_tokenizer_encode(&tokens, tokenizer, text, strlen(text), 0, NULL), BL_OK);
    bl_text_puts(&line, "");
    for (size_t i = 0; i < tokens.n; i++)
        bl_text_printf(&line, i ? " %" PRId32 : "%" PRId32, tokens.id[i]);
    assert_string_equal(line.bytes, ids);
    bl_text_release(&line);
    bl_tokens_release(&tokens);
    bl_tokenizer_free(tokenizer);
    bl_tokenizer_file_free(file);
}

/* Normal, unknown, control, user-defined and unused ones, as llama.cpp's loader sorts them. */
static void tokens_of_each_type_match_as_in_llama_cpp(void **state)
{
    static const int32_t type[] = { 1, 1, 1, 2, 3, 4, 5, 5 };
    const struct vocabulary v = {
        GOOD, .token = { "a", "b", "ab", "<u>", "<c>", "<c>a", "[PAD6]", "[PAD6]b" }, MERGE,
        .type = type
    };
    bl_tokenizer_file *file = NULL;

    (void)state;
    write_vocabulary(&v);
    assert_int_equal(read_back(&file, NULL), BL_OK);
    assert_int_equal(file->n_ids, 8);
    assert_int_equal(file->n_added, 3);
    assert_true(file->added[0].special && file->added[1].special && !file->added[2].special);
    assert_null(file->token[6].text);
    assert_string_equal(file->token[7].text, "[PAD6]b");
    bl_tokenizer_file_free(file);
    expect_ids("ab<u>ab<c>b", "2 3 2 4 1");
    expect_ids("<c>ab", "5 1");       /* the longest, whatever its type */
    expect_ids("ba[PAD6]b", "1 0 1"); /* what has no token is left out */
}

static void takes_a_byte_and_a_merge_that_are_added_tokens(void **state)
{
    static const int32_t type[] = { 4, 1, 4 };
    const struct vocabulary v = { GOOD, AB, MERGE, .type = type };

    (void)state;
    write_vocabulary(&v);
    expect_ids("abba", "2 1 0");
}

static void without_types_all_tokens_are_normal(void **state)
{
    const struct vocabulary v = { GOOD, .token = { "a", "b", "ab", "<c>" }, MERGE };

    (void)state;
    write_vocabulary(&v);
    expect_ids("ab<c>a", "2 0");
}

static void knows_the_split_expressions_by_every_name(void **state)
{
    static const struct {
        const char *pre, *first_name;
        uint32_t n_splits;
        bool llama3;
    } cases[] = {
        { "deepseek-v3", "deepseek-v3", 3, false },
        { "joyai-llm", "deepseek-v3", 3, false },
        { "hy_v4", "deepseek-v3", 3, false },
        { "qwen2", "qwen2", 1, false },
        { "deepseek-r1-qwen", "qwen2", 1, false },
        { "hunyuan", "qwen2", 1, false },
        { "grok-2", "qwen2", 1, false },
        { "qwen35", "qwen35", 1, false },
        { "llama-bpe", "llama-bpe", 1, true },
        { "llama3", "llama-bpe", 1, true },
        { "llama-v3", "llama-bpe", 1, true },
        { "pixtral", "llama-bpe", 1, true },
        { "jina-v5-nano", "llama-bpe", 1, true },
        { "dbrx", "dbrx", 1, false },
        { "smaug-bpe", "dbrx", 1, false },
        { "deepseek-llm", "deepseek-llm", 6, false },
        { "deepseek-coder", "deepseek-coder", 5, false },
        { "smollm", "smollm", 2, false },
        { "starcoder", "smollm", 2, false },
        { "refact", "smollm", 2, false },
        { "command-r", "smollm", 2, false },
        { "mellum2", "smollm", 2, false },
        { "gpt-2", "gpt-2", 1, false },
        { "mpt", "gpt-2", 1, false },
        { "olmo", "gpt-2", 1, false },
        { "mellum", "gpt-2", 1, false },
        { "falcon", "falcon", 3, false },
        { "default", "default", 4, false },
        { NULL, "default", 4, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const struct vocabulary v = { .model = "gpt2", .pre = cases[i].pre, AB, MERGE };
        bl_tokenizer_file *file = NULL;

        write_vocabulary(&v);
        assert_int_equal(read_back(&file, NULL), BL_OK);
        assert_int_equal(file->n_splits, cases[i].n_splits);
        assert_string_equal(bl_tokenizer_gguf_pre(file), cases[i].first_name);
        assert_true(file->ignore_merges == cases[i].llama3 && file->add_bos == cases[i].llama3);
        bl_tokenizer_free(tokenizer_of(file)); /* every expression compiles */
        bl_tokenizer_file_free(file);
    }
}

static void reports_every_allocation_that_fails(void **state)
{
    const struct vocabulary v = { GOOD, AB, MERGE, .id_key = "tokenizer.ggml.bos_token_id" };
    const int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;
    uint64_t k;

    (void)state;
    write_vocabulary(&v);
    for (k = 1; rc != BL_OK; k++) {
        bl_tokenizer_file *file = NULL;

        bl_alloc_fail_at(k);
        rc = read_back(&file, NULL);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || (rc == BL_E_NOMEM && !file));
        bl_tokenizer_file_free(file);
        assert_true(bl_alloc_live() == live);
    }
    assert_true(k > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tables_come_back),
        cmocka_unit_test(gives_the_ids_of_the_json_file),
        cmocka_unit_test(refuses_what_it_cannot_use),
        cmocka_unit_test(tokens_of_each_type_match_as_in_llama_cpp),
        cmocka_unit_test(takes_a_byte_and_a_merge_that_are_added_tokens),
        cmocka_unit_test(without_types_all_tokens_are_normal),
        cmocka_unit_test(knows_the_split_expressions_by_every_name),
        cmocka_unit_test(reports_every_allocation_that_fails),
    };

    return cmocka_run_group_tests(tests, read_data, free_data);
}
