/*
 * fuzz_gguf.c - any bytes as a GGUF file. A refusal must bring a sentence that names the file, and
 * free all it took; of a file that is accepted every value and every tensor must be readable, and
 * tensors must lie in order without overlap inside the file. If it holds a tokenizer, ids that come
 * out of that must be tokens, and decode.
 */
#include "base/alloc.h"
#include "base/source.h"
#include "formats/gguf/gguf_metadata.h"
#include "formats/gguf/gguf_reader.h"
#include "model/tokenizer/tokenizer.h"

#include <stdbool.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

/* Bytes go here, so that reading them is not optimised away. */
static volatile unsigned char seen;

static void touch(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        seen = (unsigned char)bytes[i];
}

static void check_value(const bl_gguf_kv *kv)
{
    bl_text text = { 0 };

    require(kv->key[0] != '\0');
    bl_gguf_kv_describe(&text, kv);
    require(bl_text_check(&text, NULL) == BL_OK);
    bl_text_release(&text);
    for (uint64_t i = 0; i < kv->n; i++) {
        if (kv->elem == BL_GGUF_STRING) {
            bl_gguf_string s = bl_gguf_kv_string_at(kv, i);

            touch(s.bytes, s.n);
        } else if (kv->elem == BL_GGUF_I32) {
            seen = (unsigned char)bl_gguf_kv_i32_at(kv, i);
        } else if (kv->elem == BL_GGUF_U32) {
            seen = (unsigned char)bl_gguf_kv_u32_at(kv, i);
        }
    }
}

static void check_metadata(const bl_gguf_meta *meta)
{
    for (size_t i = 0; i < bl_gguf_n_kv(meta); i++) {
        const bl_gguf_kv *kv = bl_gguf_kv_at(meta, i);

        require(bl_gguf_find(meta, kv->key) == kv);
        check_value(kv);
    }
}

static void check_tensors(const bl_container *c, uint64_t size)
{
    uint64_t end = 0;

    for (size_t i = 0; i < c->n_stored; i++) {
        const bl_stored *t = &c->stored[i];
        unsigned char *bytes;

        require(t->offset >= end && t->offset <= size && t->n_bytes <= size - t->offset);
        end = t->offset + t->n_bytes;
        bytes = bl_alloc((size_t)t->n_bytes, 1);
        require(bytes != NULL);
        require(bl_container_read(c, i, 0, bytes, (size_t)t->n_bytes, NULL) == BL_OK);
        require(bl_container_read(c, i, 1, bytes, (size_t)t->n_bytes, NULL) == BL_E_FORMAT);
        bl_free(bytes);
    }
}

static void encode(const bl_tokenizer *tokenizer)
{
    static const char text[] = "ab aab12 <s>b[PAD7]\xc3\xa9 x_y\n\n <u>";
    struct bl_err err = { 0 };
    bl_tokens tokens = { 0 };
    bl_text back = { 0 };
    bl_status rc = bl_tokenizer_encode(&tokens, tokenizer, text, sizeof(text), 0, &err);

    require(rc == BL_OK);
    require(bl_tokenizer_decode(&back, tokenizer, tokens.id, tokens.n, 0, &err) == BL_OK);
    bl_tokens_release(&tokens);
    bl_text_release(&back);
}

static void check_tokenizer(const bl_container *c)
{
    bl_tokenizer_file *file = NULL;
    bl_tokenizer *tokenizer = NULL;
    struct bl_err err = { 0 };
    bl_status rc = bl_gguf_read_tokenizer(&file, c, &err);

    if (rc == BL_OK) {
        require(bl_tokenizer_gguf_pre(file) != NULL);
        rc = bl_tokenizer_new(&tokenizer, file, &err);
        require(rc == BL_OK);
        encode(tokenizer);
    } else {
        require(err.status == rc && strncmp(err.text, "input: ", 7) == 0 && !file);
        require(rc == BL_E_FORMAT || rc == BL_E_UNSUPPORTED);
    }
    bl_tokenizer_free(tokenizer);
    bl_tokenizer_file_free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int64_t live = bl_alloc_live();
    struct bl_err err = { 0 };
    bl_container *c = NULL;
    bl_source *source = NULL;
    bl_status rc;

    require(bl_source_memory(&source, "input", data, size, &err) == BL_OK);
    rc = bl_gguf_open_source(&c, source, &err);
    if (rc == BL_OK) {
        check_metadata(bl_gguf_meta_of(c));
        check_tensors(c, size);
        check_tokenizer(c);
        bl_container_close(c);
    } else {
        require(err.status == rc && strncmp(err.text, "input: ", 7) == 0);
        require(rc == BL_E_FORMAT || rc == BL_E_UNSUPPORTED);
        require(c == NULL);
    }
    require(bl_alloc_live() == live);
    return 0;
}
