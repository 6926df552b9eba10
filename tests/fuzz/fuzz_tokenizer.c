/*
 * fuzz_tokenizer.c - any bytes as a tokenizer.json and, behind the first NUL, a text to encode with
 * it. A refusal must bring a sentence that names the file, and free all it took. Ids that come out
 * must be tokens, and decode; to the text itself where nothing rewrites it and every byte is known.
 */
#include "base/alloc.h"
#include "model/tokenizer/tokenizer.h"

#include <stdbool.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

/* Whether decoding must give the text back. */
static bool is_lossless(const bl_tokenizer_file *file)
{
    bool known[256] = { false };

    for (uint32_t id = 0; id < file->n_ids; id++) {
        const unsigned char *s = (const unsigned char *)file->token[id].text;
        int byte = -1;

        if (s && file->token[id].in_model && s[0] < 0x80 && !s[1])
            byte = bl_byte_of_code_point(s[0]);
        else if (s && file->token[id].in_model && s[0] >= 0xc2 && s[0] < 0xe0 && !s[2])
            byte = bl_byte_of_code_point((s[0] & 0x1fu) << 6 | (s[1] & 0x3fu));
        if (byte >= 0)
            known[byte] = true;
    }
    for (size_t byte = 0; byte < 256; byte++)
        if (!known[byte])
            return false;
    for (uint32_t i = 0; i < file->n_splits; i++)
        if (file->split[i].prefix_space)
            return false;
    for (uint32_t i = 0; i < file->n_added; i++)
        if (file->added[i].lstrip || file->added[i].rstrip)
            return false;
    return !file->nfc;
}

static void encode(const bl_tokenizer_file *file, const bl_tokenizer *tokenizer, const char *text,
                   size_t n)
{
    struct bl_err err = { 0 };
    bl_tokens tokens = { 0 };
    bl_text back = { 0 };
    bl_status rc = bl_tokenizer_encode(&tokens, tokenizer, text, n, 0, &err);

    if (rc == BL_OK) {
        require(bl_tokenizer_decode(&back, tokenizer, tokens.id, tokens.n, 0, &err) == BL_OK);
        if (is_lossless(file))
            require(back.n == n && (n == 0 || memcmp(back.bytes, text, n) == 0));
    } else {
        require((rc == BL_E_FORMAT || rc == BL_E_UNSUPPORTED) && err.status == rc && *err.text);
        require(tokens.n == 0);
    }
    bl_tokens_release(&tokens);
    bl_text_release(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int64_t live = bl_alloc_live();
    const char *json = (const char *)data, *nul = size ? memchr(data, 0, size) : NULL;
    size_t n_json = nul ? (size_t)(nul - json) : size;
    bl_tokenizer_file *file = NULL;
    bl_tokenizer *tokenizer = NULL;
    struct bl_err err = { 0 };
    bl_status rc = bl_tokenizer_file_parse(&file, "input", json, n_json, NULL, 0, &err);

    if (rc == BL_OK) {
        (void)bl_tokenizer_gguf_pre(file);
        rc = bl_tokenizer_new(&tokenizer, file, &err);
    }
    if (rc == BL_OK && nul)
        encode(file, tokenizer, nul + 1, size - n_json - 1);
    if (rc != BL_OK)
        require((rc == BL_E_FORMAT || rc == BL_E_UNSUPPORTED) && err.status == rc &&
                strncmp(err.text, "input: ", 7) == 0);
    bl_tokenizer_free(tokenizer);
    bl_tokenizer_file_free(file);
    require(bl_alloc_live() == live);
    return 0;
}
