/* Texts as packed sequences: what lies where, what sees what, and which hashes say so. */
#include "base/alloc.h"
#include "distill/teach/pack.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { CTX = 8 };

static bl_ckpt *ckpt;
static bl_tokenizer_file *file;
static bl_tokenizer *tokenizer;

static int open_model(void **state)
{
    char *path = realpath("data/nano-r1", NULL);
    bool opened = path && bl_ckpt_open(&ckpt, path, NULL) == BL_OK &&
                  bl_ckpt_tokenizer_file(&file, ckpt, NULL) == BL_OK &&
                  bl_tokenizer_new(&tokenizer, file, NULL) == BL_OK;

    free(path);
    return opened ? scratch_enter(state) : -1;
}

static int close_model(void **state)
{
    bl_tokenizer_free(tokenizer);
    bl_tokenizer_file_free(file);
    bl_ckpt_close(ckpt);
    return scratch_leave(state);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static bl_pack pack(const char *path, uint32_t ctx, const char *separator, uint64_t max_tokens)
{
    const bl_pack_options options = { .n_positions = ctx,
                                      .separator = separator,
                                      .max_tokens = max_tokens };
    struct bl_err err = { 0 };
    bl_pack out = { 0 };

    if (bl_pack_text(&out, ckpt, path, &options, &err) != BL_OK)
        fail_msg("%s", err.text);
    return out;
}

/* The documents one by one, as they have to lie end to end. */
static void encode(bl_tokens *out, const char *document)
{
    assert_int_equal(bl_tokenizer_encode(out, tokenizer, document, strlen(document),
                                         BL_ENCODE_BOS | BL_ENCODE_EOS, NULL),
                     BL_OK);
}

static const char first[] = "The river runs to the sea and the sea is full of ships.\n";
static const char second[] = "One.\n";
static const char third[] = "def main():\n    return the_value_of_everything\n";

static void documents_lie_end_to_end(void **state)
{
    bl_tokens expected = { 0 };
    size_t begin[3];
    bl_pack p;

    (void)state;
    encode(&expected, first);
    begin[1] = expected.n;
    encode(&expected, second);
    begin[2] = expected.n;
    encode(&expected, third);
    begin[0] = 0;
    write_file("text", "The river runs to the sea and the sea is full of ships.\n---\nOne.\n---\r\n"
                       "---\ndef main():\n    return the_value_of_everything\n---");
    p = pack("text", CTX, "---", 0);
    assert_int_equal(p.n_positions, CTX);
    assert_int_equal(p.n_documents, 3); /* an empty one is none */
    assert_int_equal(p.n_text_tokens, expected.n);
    assert_int_equal(p.n_seqs, expected.n / CTX);
    assert_int_equal(p.n_dropped, expected.n % CTX);
    assert_true(begin[1] > CTX && begin[1] % CTX != 0);
    assert_memory_equal(p.token, expected.id, p.n_seqs * CTX * sizeof(*p.token));
    for (size_t i = 0, d = 0; i < p.n_seqs * CTX; i++) {
        const size_t seq = i / CTX * CTX;
        size_t from;

        d += d < 2 && begin[d + 1] == i;
        from = begin[d] > seq ? begin[d] - seq : 0; /* a piece begins where the sequence does */
        assert_int_equal(p.start[i], from);
        if (i + 1 < p.n_seqs * CTX && (i + 1) % CTX != 0 && (d == 2 || begin[d + 1] != i + 1))
            assert_int_equal(bl_pack_target(&p, i), expected.id[i + 1]);
        else
            assert_int_equal(bl_pack_target(&p, i), -1);
    }
    bl_pack_release(&p);
    bl_tokens_release(&expected);
}

static void without_a_separator_a_file_is_a_document(void **state)
{
    bl_pack p;

    (void)state;
    write_file("text", "One.\n---\nTwo.\n");
    p = pack("text", 1000, NULL, 0);
    assert_int_equal(p.n_documents, 1);
    assert_int_equal(p.n_seqs, 1);
    assert_int_equal(p.n_positions, p.n_text_tokens); /* the only sequence is cut, not left out */
    assert_int_equal(p.n_dropped, 0);
    for (size_t i = 0; i < p.n_positions; i++)
        assert_int_equal(p.start[i], 0);
    assert_int_equal(bl_pack_target(&p, p.n_positions - 1), -1);
    bl_pack_release(&p);
    p = pack("text", CTX, NULL, 5);
    assert_int_equal(p.n_text_tokens, 5);
    assert_int_equal(p.n_positions, 5);
    bl_pack_release(&p);
}

static void what_the_text_brings_along_is_not_said_twice(void **state)
{
    char text[256];
    bl_pack p, q;

    (void)state;
    write_file("plain", "Once upon a time");
    snprintf(text, sizeof(text), "%sOnce upon a time%s", file->token[file->bos].text,
             file->token[file->eos].text);
    write_file("marked", text);
    p = pack("plain", 1000, NULL, 0);
    q = pack("marked", 1000, NULL, 0);
    assert_int_equal(p.token[0], file->bos);
    assert_int_equal(p.token[p.n_positions - 1], file->eos);
    assert_true(bl_hash128_equal(p.packing, q.packing));
    assert_false(bl_hash128_equal(p.text, q.text));
    bl_pack_release(&p);
    bl_pack_release(&q);
}

static void files_of_a_folder_are_documents_by_name(void **state)
{
    bl_pack p, q;

    (void)state;
    assert_int_equal(mkdir("texts", 0700), 0);
    assert_int_equal(mkdir("texts/c", 0700), 0);
    write_file("texts/b", second);
    write_file("texts/a", first);
    write_file("texts/.hidden", third);
    write_file("one", "The river runs to the sea and the sea is full of ships.\n|\nOne.\n");
    p = pack("texts", CTX, NULL, 0);
    q = pack("one", CTX, "|", 0);
    assert_int_equal(p.n_documents, 2);
    assert_true(bl_hash128_equal(p.packing, q.packing));
    assert_false(bl_hash128_equal(p.text, q.text));
    bl_pack_release(&p);
    bl_pack_release(&q);
}

static void hashes_tell_texts_and_packings_apart(void **state)
{
    bl_hash128 tokenizer_hash;
    bl_pack a, b;

    (void)state;
    write_file("x", "The river runs to the sea and the sea is full of ships.\n|\nOne.\n");
    a = pack("x", CTX, NULL, 0);
    b = pack("x", CTX, NULL, 0);
    assert_true(bl_hash128_equal(a.text, b.text) && bl_hash128_equal(a.packing, b.packing));
    bl_pack_release(&b);
    b = pack("x", CTX + 1, NULL, 0);
    assert_true(bl_hash128_equal(a.text, b.text));
    assert_false(bl_hash128_equal(a.packing, b.packing));
    bl_pack_release(&b);
    b = pack("x", CTX, "|", 0);
    assert_true(bl_hash128_equal(a.text, b.text));
    assert_false(bl_hash128_equal(a.packing, b.packing));
    bl_pack_release(&b);
    write_file("x", "The river runs to the sea and the sea is full of ships.\n|\nTwo.\n");
    b = pack("x", CTX, NULL, 0);
    assert_false(bl_hash128_equal(a.text, b.text));
    assert_true(bl_hash128_equal(a.tokenizer, b.tokenizer));
    assert_int_equal(bl_pack_tokenizer_hash(&tokenizer_hash, ckpt, NULL), BL_OK);
    assert_true(bl_hash128_equal(a.tokenizer, tokenizer_hash));
    bl_pack_release(&a);
    bl_pack_release(&b);
}

static void expect_refused(const char *path, const char *why, bl_status status)
{
    const bl_pack_options options = { .n_positions = CTX };
    struct bl_err err = { 0 };
    bl_pack p;

    assert_int_equal(bl_pack_text(&p, ckpt, path, &options, &err), status);
    if (!strstr(err.text, why))
        fail_msg("%s", err.text);
}

static void texts_that_are_none_are_refused(void **state)
{
    (void)state;
    write_file("bad", "a\xff");
    write_file("empty", "");
    assert_int_equal(mkdir("folder", 0700), 0);
    expect_refused("bad", "bad: ", BL_E_FORMAT);
    expect_refused("empty", "empty: 0 tokens", BL_E_USAGE);
    expect_refused("folder", "folder: 0 tokens", BL_E_USAGE);
    expect_refused("missing", "missing", BL_E_IO);
}

static void memory_that_is_not_given_is_said(void **state)
{
    const int64_t live = bl_alloc_live();
    const bl_pack_options options = { .n_positions = CTX };
    uint64_t n;
    bl_pack p;

    (void)state;
    write_file("x", first);
    n = bl_alloc_count();
    p = pack("x", CTX, NULL, 0);
    n = bl_alloc_count() - n;
    bl_pack_release(&p);
    for (uint64_t at = 1; at <= n; at += 1 + at / 8) {
        bl_status rc;

        bl_alloc_fail_at(at);
        rc = bl_pack_text(&p, ckpt, "x", &options, NULL);
        bl_alloc_fail_at(0);
        if (rc == BL_OK)
            bl_pack_release(&p);
        assert_int_equal(bl_alloc_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(documents_lie_end_to_end, scratch_clear),
        cmocka_unit_test_teardown(without_a_separator_a_file_is_a_document, scratch_clear),
        cmocka_unit_test_teardown(what_the_text_brings_along_is_not_said_twice, scratch_clear),
        cmocka_unit_test_teardown(files_of_a_folder_are_documents_by_name, scratch_clear),
        cmocka_unit_test_teardown(hashes_tell_texts_and_packings_apart, scratch_clear),
        cmocka_unit_test_teardown(texts_that_are_none_are_refused, scratch_clear),
        cmocka_unit_test_teardown(memory_that_is_not_given_is_said, scratch_clear),
    };

    return cmocka_run_group_tests(tests, open_model, close_model);
}
