/*
 * test_tokenizer.c - ids equal to those of the Python package (tests/data/tokenizer/README.md), and
 * what vectors cannot show: limits, failures, threads.
 */
#include "base/alloc.h"
#include "base/par.h"
#include "base/source.h"
#include "formats/json/json.h"
#include "model/tokenizer/tokenizer.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const directories[] = { "nano-r1",
                                           "tokenizer/tiny-r1",
                                           "tokenizer/tiny-qwen2",
                                           "tokenizer/tiny-llama",
                                           "tokenizer/deepseek-v3",
                                           "tokenizer/tiny-gpt2",
                                           "tokenizer/tiny-smollm" };
enum { N_DIRECTORIES = sizeof(directories) / sizeof(*directories), DEEPSEEK = 4 };

static bl_tokenizer *tokenizers[N_DIRECTORIES];

static int open_tokenizers(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_DIRECTORIES; i++) {
        char *path = bl_format("data/%s", directories[i]);
        bl_tokenizer_file *file = NULL;
        struct bl_err err = { 0 };

        if (bl_tokenizer_file_open(&file, path, &err) != BL_OK ||
            bl_tokenizer_new(&tokenizers[i], file, &err) != BL_OK) {
            fprintf(stderr, "%s\n", err.text);
            return -1;
        }
        bl_tokenizer_file_free(file);
        bl_free(path);
    }
    return 0;
}

static int close_tokenizers(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_DIRECTORIES; i++)
        bl_tokenizer_free(tokenizers[i]);
    return 0;
}

static char *read_file(const char *path)
{
    bl_source *source = NULL;
    char *text = NULL;

    assert_int_equal(bl_source_open(&source, path, NULL), BL_OK);
    assert_int_equal(bl_source_read_all(&text, NULL, source, 16 << 20, NULL), BL_OK);
    bl_source_close(source);
    return text;
}

/* Encode, compare with ids, and decode back unless the tokenizer normalizes. */
static void check(size_t which, const char *text, size_t n, const int32_t *id, size_t n_ids)
{
    struct bl_err err = { 0 };
    bl_tokens tokens = { 0 };
    bl_text back = { 0 };

    if (bl_tokenizer_encode(&tokens, tokenizers[which], text, n, 0, &err) != BL_OK)
        fail_msg("%s: %s", directories[which], err.text);
    if (tokens.n != n_ids || (n_ids > 0 && memcmp(tokens.id, id, n_ids * sizeof(*id)) != 0))
        fail_msg("%s: other ids for '%.*s'", directories[which], (int)n, text);
    if (!strstr(directories[which], "qwen2")) {
        if (bl_tokenizer_decode(&back, tokenizers[which], tokens.id, tokens.n, 0, &err) != BL_OK)
            fail_msg("%s: %s", directories[which], err.text);
        if (back.n != n || (n > 0 && memcmp(back.bytes, text, n) != 0))
            fail_msg("%s: '%.*s' does not come back", directories[which], (int)n, text);
    }
    bl_tokens_release(&tokens);
    bl_text_release(&back);
}

/* One line of vectors.jsonl. The strict reader refuses U+0000, so it travels as U+001A. */
static void check_json_line(size_t which, char *line)
{
    bl_json *json = NULL;
    const bl_json_value *ids;
    int32_t id[512];
    char text[1024];
    size_t n, n_ids = 0;
    char *nul;

    assert_null(strstr(line, "\\u001a"));
    while ((nul = strstr(line, "\\u0000")))
        memcpy(nul, "\\u001a", 6);
    assert_int_equal(bl_json_parse(&json, "vectors", line, strlen(line), 0, NULL), BL_OK);
    n = strlen(bl_json_string(bl_json_get(bl_json_root(json), "text")));
    assert_true(n < sizeof(text));
    memcpy(text, bl_json_string(bl_json_get(bl_json_root(json), "text")), n + 1);
    for (size_t i = 0; i < n; i++)
        if (text[i] == 0x1a)
            text[i] = '\0';
    ids = bl_json_get(bl_json_root(json), "ids");
    for (const bl_json_value *m = bl_json_first(ids); m; m = bl_json_next(m)) {
        int64_t v = -1;

        assert_true(n_ids < 512 && bl_json_i64(&v, m));
        id[n_ids++] = (int32_t)v;
    }
    check(which, text, n, id, n_ids);
    bl_json_free(json);
}

static void gives_the_ids_of_the_reference_on_hard_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_DIRECTORIES; i++) {
        char *path = bl_format("data/%s/vectors.jsonl", directories[i]);
        char *lines = read_file(path), *rest = lines, *line;
        size_t n = 0;

        while ((line = strsep(&rest, "\n")))
            if (*line) {
                check_json_line(i, line);
                n++;
            }
        assert_int_equal(n, 104);
        bl_free(lines);
        bl_free(path);
    }
}

static void gives_the_ids_of_the_reference_on_random_texts(void **state)
{
    char *lines = read_file("data/tokenizer/random.txt"), *rest = lines, *line;
    size_t n_lines = 0;

    (void)state;
    while ((line = strsep(&rest, "\n")) && *line) {
        const char *directory = strsep(&line, " "), *hex = strsep(&line, " "), *word;
        size_t which = 0, n = strlen(hex) / 2, n_ids = 0;
        int32_t id[1024];
        char *text = malloc(n + 1);

        while (strcmp(directories[which], directory) != 0)
            assert_true(++which < N_DIRECTORIES);
        for (size_t i = 0; i < n; i++) {
            const char two[3] = { hex[2 * i], hex[2 * i + 1], 0 };

            text[i] = (char)strtoul(two, NULL, 16);
        }
        while ((word = strsep(&line, " "))) {
            assert_true(n_ids < 1024);
            id[n_ids++] = (int32_t)strtol(word, NULL, 10);
        }
        check(which, text, n, id, n_ids);
        free(text);
        n_lines++;
    }
    assert_int_equal(n_lines, 2000);
    bl_free(lines);
}

static void encodes_a_text_to_the_same_ids_in_one_call_and_line_by_line(void **state)
{
    char *text = read_file("data/text/code.eval.txt");
    bl_tokens whole = { 0 }, parts = { 0 };
    size_t n = strlen(text), begin = 0;

    (void)state;
    assert_int_equal(bl_tokenizer_encode(&whole, tokenizers[0], text, n, 0, NULL), BL_OK);
    /* A letter behind a line feed always begins a piece. */
    for (size_t i = 1; i <= n; i++)
        if (i == n || (text[i - 1] == '\n' && text[i] >= 'a' && text[i] <= 'z')) {
            assert_int_equal(
                bl_tokenizer_encode(&parts, tokenizers[0], text + begin, i - begin, 0, NULL),
                BL_OK);
            begin = i;
        }
    assert_int_equal(whole.n, parts.n);
    assert_memory_equal(whole.id, parts.id, whole.n * sizeof(*whole.id));
    bl_tokens_release(&whole);
    bl_tokens_release(&parts);
    bl_free(text);
}

/* A megabyte of one thing must neither fail nor take quadratic time (then this takes hours). */
static void takes_a_megabyte_of_one_character(void **state)
{
    static const struct {
        const char *unit;
        size_t n_ids; /* by the Python package, DeepSeek's vocabulary */
    } cases[] = { { " ", 7813 }, { "a", 125000 }, { "7", 333334 }, { "\n", 62500 } };
    enum { MEGABYTE = 1000000 };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *text = malloc(MEGABYTE);
        bl_tokens tokens = { 0 };

        memset(text, cases[i].unit[0], MEGABYTE);
        assert_int_equal(
            bl_tokenizer_encode(&tokens, tokenizers[DEEPSEEK], text, MEGABYTE, 0, NULL), BL_OK);
        assert_int_equal(tokens.n, cases[i].n_ids);
        bl_tokens_release(&tokens);
        free(text);
    }
}

static void puts_bos_and_eos_around_when_asked(void **state)
{
    bl_tokens tokens = { 0 };

    (void)state;
    assert_int_equal(
        bl_tokenizer_encode(&tokens, tokenizers[0], "", 0, BL_ENCODE_BOS | BL_ENCODE_EOS, NULL),
        BL_OK);
    assert_int_equal(tokens.n, 2);
    assert_true(tokens.id[0] == 0 && tokens.id[1] == 1);
    assert_int_equal(bl_tokenizer_encode(&tokens, tokenizers[0], "a", 1, BL_ENCODE_BOS, NULL),
                     BL_OK);
    assert_int_equal(tokens.n, 4); /* appended */
    assert_int_equal(tokens.id[2], 0);
    bl_tokens_release(&tokens);
}

static void can_leave_added_tokens_as_text(void **state)
{
    bl_tokens tokens = { 0 };

    (void)state;
    assert_int_equal(bl_tokenizer_encode(&tokens, tokenizers[0], "<think>", 7, 0, NULL), BL_OK);
    assert_int_equal(tokens.n, 1);
    tokens.n = 0;
    assert_int_equal(
        bl_tokenizer_encode(&tokens, tokenizers[0], "<think>", 7, BL_ENCODE_NO_ADDED, NULL), BL_OK);
    assert_true(tokens.n > 1);
    bl_tokens_release(&tokens);
}

static void names_the_byte_that_is_not_utf8(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        const char *words;
    } cases[] = { { "\xff", 1, "byte 0 (0xff)" },
                  { "abc\x80", 4, "byte 3 (0x80)" },
                  { "0123456789\xc0\x80", 12, "byte 10 (0xc0)" },
                  { "\xc3", 1, "byte 0 (0xc3)" },
                  { "\xed\xa0\x80", 3, "byte 0 (0xed)" },
                  { "ab\xf4\x90\x80\x80", 6, "byte 2 (0xf4)" },
                  { "\xe4\xb8\xad\xe4\xb8", 5, "byte 3 (0xe4)" } };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct bl_err err = { 0 };
        bl_tokens tokens = { 0 };

        assert_int_equal(
            bl_tokenizer_encode(&tokens, tokenizers[0], cases[i].text, cases[i].n, 1, &err),
            BL_E_FORMAT);
        assert_non_null(strstr(err.text, cases[i].words));
        assert_int_equal(tokens.n, 0);
        bl_tokens_release(&tokens);
    }
}

static void decodes_what_it_can_and_refuses_the_rest(void **state)
{
    static const int32_t good[] = { 0, 2046, 2047 }, negative = -1, beyond = 2048;
    struct bl_err err = { 0 };
    bl_text text = { 0 };

    (void)state;
    assert_int_equal(bl_tokenizer_decode(&text, tokenizers[0], good, 3, 0, NULL), BL_OK);
    assert_string_equal(text.bytes, "<｜begin▁of▁sentence｜><think></think>");
    text.n = 0;
    assert_int_equal(
        bl_tokenizer_decode(&text, tokenizers[0], good, 3, BL_DECODE_SKIP_SPECIAL, NULL), BL_OK);
    assert_string_equal(text.bytes, "<think></think>");
    assert_int_equal(bl_tokenizer_decode(&text, tokenizers[0], &negative, 1, 0, &err), BL_E_FORMAT);
    assert_non_null(strstr(err.text, "id -1"));
    assert_int_equal(bl_tokenizer_decode(&text, tokenizers[0], &beyond, 1, 0, &err), BL_E_FORMAT);
    assert_non_null(strstr(err.text, "id 2048"));
    bl_text_release(&text);
}

static bl_status encode_in_thread(void *context, size_t i, int i_thread, struct bl_err *err)
{
    bl_tokens *all = context;
    const char *text = "Threads  share a tokenizer: 12345 caf\xc3\xa9 \xe4\xb8\xad\xe6\x96\x87";

    (void)i_thread;
    return bl_tokenizer_encode(&all[i], tokenizers[i % 2 ? DEEPSEEK : 2], text, strlen(text), 0,
                               err);
}

static void is_shared_by_threads(void **state)
{
    enum { N = 400 };
    bl_tokens *all = calloc(N, sizeof(*all));

    (void)state;
    assert_int_equal(bl_par_for(N, 4, encode_in_thread, all, NULL), BL_OK);
    for (size_t i = 2; i < N; i++) {
        assert_int_equal(all[i].n, all[i % 2].n);
        assert_memory_equal(all[i].id, all[i % 2].id, all[i].n * sizeof(int32_t));
    }
    for (size_t i = 0; i < N; i++)
        bl_tokens_release(&all[i]);
    free(all);
}

/* A tokenizer with every byte, a merge, an added token of each kind and NFC. */
static char *small_tokenizer(const char *pattern, const char *added)
{
    bl_text text = { 0 };

    bl_text_puts(&text, "{\"model\":{\"vocab\":{");
    for (unsigned byte = 0; byte < 256; byte++)
        bl_text_printf(&text, "\"\\u%04x\":%u,", (unsigned)bl_code_point_of_byte((uint8_t)byte),
                       byte);
    bl_text_printf(&text,
                   "\"ab\":256},\"merges\":[[\"a\",\"b\"]]},\"added_tokens\":[%s],"
                   "\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"Sequence\","
                   "\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"%s\"},"
                   "\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
                   "\"use_regex\":false}]}}",
                   added, pattern);
    assert_int_equal(bl_text_check(&text, NULL), BL_OK);
    return text.bytes;
}

static bl_status encode_all(bl_tokens *tokens, const char *json, const char *text, size_t n,
                            struct bl_err *err)
{
    bl_tokenizer_file *file = NULL;
    bl_tokenizer *tokenizer = NULL;
    bl_status rc = bl_tokenizer_file_parse(&file, "t.json", json, strlen(json), NULL, 0, err);

    if (rc == BL_OK)
        rc = bl_tokenizer_new(&tokenizer, file, err);
    bl_tokenizer_file_free(file); /* not needed to encode */
    if (rc == BL_OK)
        rc = bl_tokenizer_encode(tokens, tokenizer, text, n, 0, err);
    bl_tokenizer_free(tokenizer);
    return rc;
}

static void survives_every_failing_allocation(void **state)
{
    char *json = small_tokenizer("\\\\p{L}+", "{\"id\":257,\"content\":\"<x>\"},"
                                              "{\"id\":258,\"content\":\"e\\u0301\",\"normalized\":"
                                              "true}");
    char text[300];
    bl_status rc = BL_E_NOMEM;
    int64_t live = bl_alloc_live();

    (void)state;
    memset(text, 'a', sizeof(text)); /* a piece of 200 letters takes the long way */
    memcpy(text + 200, "<x>e\xcc\x81.u\xcc\x88", 10);
    for (uint64_t k = 1; rc != BL_OK; k++) {
        struct bl_err err = { 0 };
        bl_tokens tokens = { 0 };

        bl_alloc_fail_at(k);
        rc = encode_all(&tokens, json, text, sizeof(text), &err);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        assert_true(rc == BL_OK ? tokens.n > 290 : *err.text && tokens.n == 0);
        bl_tokens_release(&tokens);
        assert_int_equal(bl_alloc_live(), live);
    }
    bl_free(json);
}

/* The same over a whole checkpoint's tokenizer, at steps that grow: it allocates 15,000 times. */
static void survives_failing_allocations_while_a_checkpoint_is_opened(void **state)
{
    int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    (void)state;
    for (uint64_t k = 1; rc != BL_OK; k += 1 + k / 5) {
        bl_tokenizer_file *file = NULL;
        bl_tokenizer *tokenizer = NULL;
        bl_tokens tokens = { 0 };

        bl_alloc_fail_at(k);
        rc = bl_tokenizer_file_open(&file, "data/nano-r1", NULL);
        if (rc == BL_OK)
            rc = bl_tokenizer_new(&tokenizer, file, NULL);
        if (rc == BL_OK)
            rc = bl_tokenizer_encode(&tokens, tokenizer, "Hello world", 11, 1, NULL);
        bl_alloc_fail_at(0);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
        bl_tokens_release(&tokens);
        bl_tokenizer_free(tokenizer);
        bl_tokenizer_file_free(file);
        assert_int_equal(bl_alloc_live(), live);
    }
}

/* Golden: the Python package, which leaves such bytes out before it merges. */
static void leaves_out_bytes_without_a_token_unless_the_model_names_an_unknown_one(void **state)
{
    static const char text[] = "axb abx", *const unk[] = { "null", "\"<unk>\"" };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char *json = bl_format("{\"model\":{\"unk_token\":%s,\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,"
                               "\"<unk>\":3},\"merges\":[\"a b\"]},\"pre_tokenizer\":{\"type\":"
                               "\"ByteLevel\",\"add_prefix_space\":false}}",
                               unk[i]);
        struct bl_err err = { 0 };
        bl_tokens tokens = { 0 };

        if (i == 0) {
            assert_int_equal(encode_all(&tokens, json, text, strlen(text), &err), BL_OK);
            assert_int_equal(tokens.n, 2);
            assert_true(tokens.id[0] == 2 && tokens.id[1] == 2);
        } else {
            assert_int_equal(encode_all(&tokens, json, text, strlen(text), &err), BL_E_UNSUPPORTED);
            assert_non_null(strstr(err.text, "byte 0x00 has no token"));
        }
        bl_tokens_release(&tokens);
        bl_free(json);
    }
}

static void refuses_tokenizers_it_could_only_guess_at(void **state)
{
    static const struct {
        const char *pattern, *added, *words;
        bl_status status;
    } cases[] = {
        { "a", "{\"id\":300,\"content\":\"xyz\",\"single_word\":true}", "single words",
          BL_E_UNSUPPORTED },
        { "\\\\bword", "", "an escape", BL_E_UNSUPPORTED },
        { "(a", "", "a group without its end", BL_E_UNSUPPORTED },
        { "(?<=a+)b", "", "not valid", BL_E_FORMAT },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *json = small_tokenizer(cases[i].pattern, cases[i].added);
        struct bl_err err = { 0 };
        bl_tokens tokens = { 0 };

        assert_int_equal(encode_all(&tokens, json, "a", 1, &err), cases[i].status);
        if (!strstr(err.text, cases[i].words))
            fail_msg("'%s' lacks '%s'", err.text, cases[i].words);
        bl_free(json);
    }
}

static void gives_up_on_an_expression_that_never_ends(void **state)
{
    char *json = small_tokenizer("(?:a+)+\\\\d", "");
    struct bl_err err = { 0 };
    bl_tokens tokens = { 0 };
    char text[64];

    (void)state;
    memset(text, 'a', sizeof(text));
    assert_int_equal(encode_all(&tokens, json, text, sizeof(text), &err), BL_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "gives up"));
    bl_free(json);
}

static void puts_a_space_in_front_of_pieces_where_the_file_says_so(void **state)
{
    char *json = small_tokenizer("\\\\d", "");
    static const int32_t want[] = { ' ', 256, ' ', '1', ' ', 'c' };
    bl_tokens tokens = { 0 };

    (void)state;
    assert_int_equal(encode_all(&tokens, json, "ab1 c", 5, NULL), BL_OK);
    assert_int_equal(tokens.n, 6);
    assert_memory_equal(tokens.id, want, sizeof(want));
    bl_tokens_release(&tokens);
    bl_free(json);
}

static void decodes_tokens_outside_the_alphabet_as_they_are_written(void **state)
{
    static const char json[] = "{\"model\":{\"vocab\":{\"\u00e9\":0,\"\u4e2d a\":1},\"merges\":[]},"
                               "\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}";
    static const int32_t id[] = { 0, 1 };
    bl_tokenizer_file *file = NULL;
    bl_tokenizer *tokenizer = NULL;
    bl_text text = { 0 };

    (void)state;
    assert_int_equal(
        bl_tokenizer_file_parse(&file, "t.json", json, sizeof(json) - 1, NULL, 0, NULL), BL_OK);
    assert_int_equal(bl_tokenizer_new(&tokenizer, file, NULL), BL_OK);
    assert_int_equal(bl_tokenizer_decode(&text, tokenizer, id, 2, 0, NULL), BL_OK);
    assert_string_equal(text.bytes, "\xe9\u4e2d a"); /* the first spells one byte */
    bl_text_release(&text);
    bl_tokenizer_free(tokenizer);
    bl_tokenizer_file_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_ids_of_the_reference_on_hard_texts),
        cmocka_unit_test(gives_the_ids_of_the_reference_on_random_texts),
        cmocka_unit_test(encodes_a_text_to_the_same_ids_in_one_call_and_line_by_line),
        cmocka_unit_test(takes_a_megabyte_of_one_character),
        cmocka_unit_test(puts_bos_and_eos_around_when_asked),
        cmocka_unit_test(can_leave_added_tokens_as_text),
        cmocka_unit_test(names_the_byte_that_is_not_utf8),
        cmocka_unit_test(decodes_what_it_can_and_refuses_the_rest),
        cmocka_unit_test(decodes_tokens_outside_the_alphabet_as_they_are_written),
        cmocka_unit_test(is_shared_by_threads),
        cmocka_unit_test(survives_every_failing_allocation),
        cmocka_unit_test(survives_failing_allocations_while_a_checkpoint_is_opened),
        cmocka_unit_test(leaves_out_bytes_without_a_token_unless_the_model_names_an_unknown_one),
        cmocka_unit_test(refuses_tokenizers_it_could_only_guess_at),
        cmocka_unit_test(gives_up_on_an_expression_that_never_ends),
        cmocka_unit_test(puts_a_space_in_front_of_pieces_where_the_file_says_so),
    };

    return cmocka_run_group_tests(tests, open_tokenizers, close_tokenizers);
}
