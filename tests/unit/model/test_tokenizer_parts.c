/*
 * test_tokenizer_parts.c - the parts of the tokenizer by themselves: expressions, added tokens,
 * normal form, merging.
 */
#include "base/alloc.h"
#include "model/tokenizer/tokenizer_added.h"
#include "model/tokenizer/tokenizer_bpe.h"
#include "model/tokenizer/tokenizer_nfc.h"
#include "model/tokenizer/tokenizer_pattern.h"
#include "model/tokenizer/tokenizer_split.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bl_status join(void *self, const char *piece, size_t n, struct bl_err *err)
{
    bl_text *joined = self;

    (void)err;
    bl_text_add(joined, piece, n);
    bl_text_puts(joined, "|");
    return BL_OK;
}

/* The pieces of text, each followed by a bar. */
static void cuts_by(const bl_split *split, uint32_t n, const char *text, const char *want)
{
    bl_splitter *splitter = NULL;
    bl_split_work *work = NULL;
    bl_text joined = { 0 };
    struct bl_err err = { 0 };
    bl_piece_sink sink = { join, &joined };

    if (bl_splitter_new(&splitter, "t", split, n, &err) != BL_OK)
        fail_msg("%s", err.text);
    assert_int_equal(bl_split_work_new(&work, NULL), BL_OK);
    if (bl_splitter_run(splitter, work, text, strlen(text), sink, &err) != BL_OK)
        fail_msg("%s", err.text);
    assert_string_equal(joined.bytes ? joined.bytes : "", want);
    bl_text_release(&joined);
    bl_split_work_free(work);
    bl_splitter_free(splitter);
}

static void cuts(const char *const *pattern, uint32_t n, const char *text, const char *want)
{
    bl_split split[4] = { 0 };

    for (uint32_t i = 0; i < n; i++)
        split[i].pattern = pattern[i];
    cuts_by(split, n, text, want);
}

static void cut(const char *pattern, const char *text, const char *want)
{
    cuts(&pattern, 1, text, want);
}

static void cuts_into_matches_and_gaps(void **state)
{
    (void)state;
    cut("\\d+", "a12b3", "a|12|b|3|");
    cut("\\d+", "abc", "abc|");
    cut("\\d+", "", "");
    cut("x*", "axxb", "a|xx|b|");
    cut("(?=b)", "aabb", "aa|b|b|"); /* empty matches cut, too */
    cut("$", "a\nb", "a|\nb|");      /* every line has an end */
    cut(".+", "ab\ncd", "ab|\n|cd|");
}

static void lets_each_expression_see_its_piece_only(void **state)
{
    static const char *const two[] = { "\\d", "\\s+(?!\\S)" };

    (void)state;
    /* Behind the two spaces stands a digit, but it belongs to another piece. */
    cuts(two, 2, "a  1", "a|  |1|");
    cut(two[1], "a  1", "a| | 1|");
}

/*
 * Golden: llama.cpp's expressions, of its src/llama-vocab.cpp, run by the Python package. Those of
 * deepseek-llm are not here: llama.cpp keeps digits together, the published file takes them apart.
 */
static void cuts_as_llama_cpp_does_under_each_name(void **state)
{
    static const char text[] = "It's 12345  cm², DON'T ab`c$+5 价格12元。\n\n  x_y = f(a);\té "
                               "e\u0301! 1½22333 … ";
    static const char *const cases[][2] = {
        { "deepseek-v3", "It|'s| |123|45| | cm|²|,| DON|'T| ab|`c|$+|5| |价格|12|元|。\n\n| | "
                         "x|_y| =| f|(a|);|\té| e\u0301|!| |1½2|233|3| …| |" },
        { "qwen2", "It|'s| |1|2|3|4|5| | cm|²|,| DON|'T| ab|`c|$+|5| 价格|1|2|元|。\n\n| | x|_y| "
                   "=| f|(a|);|\té| e|\u0301!| |1|½|2|2|3|3|3| …| |" },
        { "qwen35", "It|'s| |1|2|3|4|5| | cm|²|,| DON|'T| ab|`c|$+|5| 价格|1|2|元|。\n\n| | x|_y| "
                    "=| f|(a|);|\té| e\u0301|!| |1|½|2|2|3|3|3| …| |" },
        { "llama-bpe", "It|'s| |123|45| | cm|²|,| DON|'T| ab|`c|$+|5| 价格|12|元|。\n\n| | x|_y| "
                       "=| f|(a|);|\té| e|\u0301!| |1½2|233|3| …| |" },
        { "deepseek-coder",
          "It|'|s| |1|2|3|4|5| | cm|²|,| DON|'|T| ab|`|c|$+|5| |价格|1|2|元|。|\n|\n| | x|_|y| =| "
          "f|(|a|);|\té| e|\u0301|!| |1|½|2|2|3|3|3| |…| |" },
        { "smollm", "It|'s| |1|2|3|4|5| | cm|²|,| DON|'|T| ab|`|c|$+|5| 价格|1|2|元|。|\n\n | "
                    "x|_|y| =| f|(|a|);|\t|é| e|\u0301!| |1|½|2|2|3|3|3| …| |" },
        { "gpt-2", "It|'s| 12345| | cm|²|,| DON|'|T| ab|`|c|$+|5| 价格|12|元|。|\n\n | x|_|y| =| "
                   "f|(|a|);|\t|é| e|\u0301!| 1½22333| …| |" },
        { "falcon", "It|'|s| |123|45| | cm|²|,| DON|'|T| ab|`|c|$+|5| 价格|12|元|。|\n\n | x|_|y| "
                    "|=| f|(|a|);|\t|é| e|\u0301|!| 1½|223|33| |…| |" },
        { "default", "It|'|s| |123|45| | cm|²|,| DON|'|T| ab|`|c|$+|5| 价格|12|元|。|\n\n | x|_|y| "
                     "|=| f|(|a|);|\t|é| e|\u0301|!| |1½|223|33| |…| |" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        bl_tokenizer_file file = { 0 };

        assert_true(bl_tokenizer_use_gguf_pre(&file, cases[i][0], strlen(cases[i][0])));
        cuts_by(file.split, file.n_splits, text, cases[i][1]);
    }
}

static void gives_sets_the_members_they_have_in_oniguruma(void **state)
{
    (void)state;
    cut("\\s",
        "a\xe1\xa0\x8e"
        "b",
        "a\xe1\xa0\x8e"
        "b|"); /* not U+180E */
    cut("[^\\s]", " \xe1\xa0\x8e", " |\xe1\xa0\x8e|");
    cut("\\S+", "\xc2\x85x\xe3\x80\x80", "\xc2\x85|x|\xe3\x80\x80|");
    cut("\\p{L}+", "a\xf0\x96\x84\x80", "a\xf0\x96\x84\x80|"); /* U+16100, new in Unicode 16 */
    cut("\\P{L}+", "a\xf0\x96\x84\x80", "a\xf0\x96\x84\x80|");
    cut("[^\\p{N}]+", "1\xf0\x96\x84\xb0z", "1\xf0\x96\x84\xb0|z|"); /* U+16130, a digit */
    cut("(?i:'s)", "it'S", "it|'S|");
    cut("(?i:'s)", "it'\xc5\xbf", "it|'\xc5\xbf|"); /* long s */
    cut("[\\u4e00-\\u9fa5\\x{41}\\]\\-]+",
        "x\xe4\xb8\xad"
        "A]-x",
        "x|\xe4\xb8\xad"
        "A]-|x|");
    cut("\\v", "a\x0b\n", "a|\x0b|\n|"); /* one character, not a class */
    cut("a{2,3}?", "aaaa", "aa|aa|");
    cut("a++b|a", "aab", "aab|");
}

static void refuses_what_the_engines_read_differently(void **state)
{
    static const char *const patterns[] = {
        "^a",       "\\w",         "\\b",      "\\h",         "\\Aa",   "\\p{Han}", "\\pL",
        "\\p{^L}",  "[[:alpha:]]", "[a[b]]",   "[a&&b]",      "[]a]",   "[-a]",     "[\\S]",
        "[\\P{L}]", "[b-a]",       "[\\d-z]",  "[a-\\d]",     "[ab",    "[\\",      "a{,3}",
        "a{2}?",    "a{2}+",       "a{3,2}",   "a{2000}",     "a{x}",   "a**",      "a+*",
        "(?<n>a)",  "(?m:a)",      "(?i)a",    "(?#x)",       "(a",     "a)",       "\\1",
        "\\x80",    "\\xz",        "\\ud800",  "\\x{110000}", "\\x{41", "(?i:ss)",  "(?i:\xc3\xa9)",
        "(?i:[a])", "(?i:a+)",     "(?i:(a))", "(?i:\\s)",    "(?i:.)", "a\\",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
        struct bl_err err = { 0 };
        bl_text out = { 0 };

        if (bl_pattern_translate(&out, patterns[i], &err) != BL_E_UNSUPPORTED ||
            !strstr(err.text, "is not supported"))
            fail_msg("'%s' passes: '%s'", patterns[i], err.text);
        bl_text_release(&out);
    }
}

static void finds_added_tokens_leftmost_and_longest(void **state)
{
    static const char *const texts[] = { "ab", "abc", "<x>", "<x>y", "bcd" };
    bl_added_set set = { 0 };
    bl_added_match m;

    (void)state;
    assert_int_equal(bl_added_init(&set, 5, NULL), BL_OK);
    for (int32_t i = 0; i < 5; i++)
        assert_int_equal(
            bl_added_add(&set, texts[i], strlen(texts[i]), (bl_added_entry){ .id = i }, NULL),
            BL_OK);
    bl_added_seal(&set);
    assert_true(bl_added_find(&m, &set, "zabcd", 5, 0, 0));
    assert_true(m.id == 1 && m.begin == 1 && m.end == 4); /* not bcd, which is as long */
    assert_true(bl_added_find(&m, &set, "zab", 3, 0, 0));
    assert_true(m.id == 0 && m.end == 3);
    assert_true(bl_added_find(&m, &set, "a<x><x>y", 8, 4, 4));
    assert_true(m.id == 3 && m.begin == 4 && m.end == 8);
    assert_false(bl_added_find(&m, &set, "a<x", 3, 0, 0));
    assert_false(bl_added_find(&m, &set, "", 0, 0, 0));
    bl_added_release(&set);
}

static void takes_white_space_along_with_added_tokens(void **state)
{
    bl_added_set set = { 0 };
    bl_added_match m;
    const char *text = "a \xe3\x80\x80\t<x>\xc2\xa0 b";

    (void)state;
    assert_int_equal(bl_added_init(&set, 1, NULL), BL_OK);
    assert_int_equal(
        bl_added_add(&set, "<x>", 3, (bl_added_entry){ .lstrip = true, .rstrip = true }, NULL),
        BL_OK);
    bl_added_seal(&set);
    assert_true(bl_added_find(&m, &set, text, strlen(text), 0, 0));
    assert_true(m.begin == 1 && m.resume == 9 && m.end == 12);
    assert_true(bl_added_find(&m, &set, text, strlen(text), 2, 2));
    assert_int_equal(m.begin, 2); /* no further than the end of the match before */
    bl_added_release(&set);
}

static void normalizes(const char *text, const char *want)
{
    bl_text out = { 0 };
    bool changed = true;

    assert_int_equal(bl_nfc(&out, &changed, text, strlen(text), NULL), BL_OK);
    assert_string_equal(changed ? out.bytes : text, want);
    bl_text_release(&out);
}

static void normalizes_as_unicode_9_did(void **state)
{
    (void)state;
    normalizes("", "");
    normalizes("plain \xc3\xa9 \xe4\xb8\xad", "plain \xc3\xa9 \xe4\xb8\xad");
    normalizes("e\xcc\x81", "\xc3\xa9");
    normalizes("a\xcc\x81\xcc\xa3", "\xe1\xba\xa1\xcc\x81"); /* marks by class, then composed */
    normalizes("\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81"); /* Hangul, by rule */
    normalizes("\xea\xb0\x80\xe1\x86\xa7", "\xea\xb0\x80\xe1\x86\xa7"); /* U+11A7 is no consonant */
    normalizes("\xe2\x84\xab", "\xc3\x85");                             /* the angstrom sign */
    normalizes("e\n\xcc\x81", "e\n\xcc\x81");
    /* U+1E08F is of Unicode 15 and has class 230: to the reference an inert letter. */
    normalizes("e\xf0\x9e\x82\x8f\xcc\xa3", "e\xf0\x9e\x82\x8f\xcc\xa3");
    /* U+105D2 U+0307 compose since Unicode 16; U+0307 composes with others as ever. */
    normalizes("\xf0\x90\x97\x92\xcc\x87z\xcc\x87", "\xf0\x90\x97\x92\xcc\x87\xc5\xbc");
}

static void finds_the_first_byte_that_is_not_utf8(void **state)
{
    static const struct {
        const char *text;
        size_t n, valid;
    } cases[] = { { "", 0, 0 },
                  { "a\0b", 3, 3 },
                  { "0123456\x80", 8, 7 },
                  { "01234567\xc3\xa9\xff", 11, 10 },
                  { "\xf4\x8f\xbf\xbf", 4, 4 },
                  { "\xef\xbf\xbf", 3, 3 },
                  { "\xf4\x90\x80\x80", 4, 0 },
                  { "\xe0\x9f\xbf", 3, 0 },
                  { "\xf0\x8f\xbf\xbf", 4, 0 },
                  { "a\xed\xbf\xbf", 4, 1 },
                  { "a\xf0\x9f\x98", 4, 1 } };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_int_equal(bl_utf8_valid_prefix(cases[i].text, cases[i].n), cases[i].valid);
}

/* The definition: merge the leftmost pair of lowest rank until no pair merges. */
static size_t merge_plainly(uint32_t *symbol, size_t n, const bl_tokenizer_file *f)
{
    for (;;) {
        uint32_t best = f->n_merges;
        size_t at = 0;

        for (size_t i = 0; i + 1 < n; i++)
            for (uint32_t r = 0; r < best; r++)
                if (f->merge[r].left == symbol[i] && f->merge[r].right == symbol[i + 1]) {
                    best = r;
                    at = i;
                }
        if (best == f->n_merges)
            return n;
        symbol[at] = f->merge[best].result;
        n--;
        memmove(symbol + at + 1, symbol + at + 2, (n - at - 1) * sizeof(*symbol));
    }
}

/* Three letters and merges that overlap, so that their order matters. */
static bl_tokenizer_file *overlapping_merges(void)
{
    static const char json[] =
        "{\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"aa\":3,\"ab\":4,\"aab\":5,\"aaaa\":6,"
        "\"bc\":7,\"abc\":8,\"ba\":9,\"caab\":10,\"ca\":11},\"merges\":[[\"b\",\"c\"],"
        "[\"a\",\"a\"],[\"a\",\"b\"],[\"aa\",\"b\"],[\"aa\",\"aa\"],[\"a\",\"bc\"],"
        "[\"b\",\"a\"],[\"ab\",\"c\"],[\"c\",\"aab\"],[\"c\",\"a\"]]},"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"use_regex\":false}}";
    bl_tokenizer_file *f = NULL;

    assert_int_equal(bl_tokenizer_file_parse(&f, "t", json, sizeof(json) - 1, NULL, 0, NULL),
                     BL_OK);
    return f;
}

static void merges_short_and_long_pieces_by_the_same_rule(void **state)
{
    bl_tokenizer_file *f = overlapping_merges();
    bl_bpe *bpe = NULL;
    bl_bpe_work work = { 0 };
    bl_tokens tokens = { 0 };

    (void)state;
    assert_int_equal(bl_bpe_new(&bpe, f, NULL), BL_OK);
    srand(1);
    for (int round = 0; round < 400; round++) {
        char piece[200];
        uint32_t symbol[200];
        size_t n = 1 + (size_t)rand() % (round % 2 ? 48 : 200), left;

        for (size_t i = 0; i < n; i++)
            piece[i] = (char)('a' + (symbol[i] = (uint32_t)rand() % 3));
        left = merge_plainly(symbol, n, f);
        tokens.n = 0;
        assert_int_equal(bl_bpe_encode(&tokens, bpe, &work, piece, n, NULL), BL_OK);
        assert_int_equal(tokens.n, left);
        assert_memory_equal(tokens.id, symbol, left * sizeof(*symbol));
    }
    bl_tokens_release(&tokens);
    bl_bpe_work_release(&work);
    bl_bpe_free(bpe);
    bl_tokenizer_file_free(f);
}

static void takes_a_token_whole_only_if_its_merges_lead_there(void **state)
{
    static const char *const models[] = { "false", "true" };
    static const size_t n_ids[] = { 2, 1 }; /* "xy" is a token that no merge makes */

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char *json = bl_format("{\"model\":{\"vocab\":{\"x\":0,\"y\":1,\"xy\":2},\"merges\":[],"
                               "\"ignore_merges\":%s},\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}",
                               models[i]);
        bl_tokenizer_file *f = NULL;
        bl_bpe *bpe = NULL;
        bl_bpe_work work = { 0 };
        bl_tokens tokens = { 0 };

        assert_int_equal(bl_tokenizer_file_parse(&f, "t", json, strlen(json), NULL, 0, NULL),
                         BL_OK);
        assert_int_equal(bl_bpe_new(&bpe, f, NULL), BL_OK);
        assert_int_equal(bl_bpe_encode(&tokens, bpe, &work, "xy", 2, NULL), BL_OK);
        assert_int_equal(tokens.n, n_ids[i]);
        tokens.n = 0;
        assert_int_equal(bl_bpe_encode(&tokens, bpe, &work, "xzy", 3, NULL), BL_OK);
        assert_int_equal(tokens.n, 2); /* z is no token and leaves no trace */
        bl_tokens_release(&tokens);
        bl_bpe_free(bpe);
        bl_tokenizer_file_free(f);
        bl_free(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_into_matches_and_gaps),
        cmocka_unit_test(lets_each_expression_see_its_piece_only),
        cmocka_unit_test(cuts_as_llama_cpp_does_under_each_name),
        cmocka_unit_test(gives_sets_the_members_they_have_in_oniguruma),
        cmocka_unit_test(refuses_what_the_engines_read_differently),
        cmocka_unit_test(finds_added_tokens_leftmost_and_longest),
        cmocka_unit_test(takes_white_space_along_with_added_tokens),
        cmocka_unit_test(normalizes_as_unicode_9_did),
        cmocka_unit_test(finds_the_first_byte_that_is_not_utf8),
        cmocka_unit_test(merges_short_and_long_pieces_by_the_same_rule),
        cmocka_unit_test(takes_a_token_whole_only_if_its_merges_lead_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
