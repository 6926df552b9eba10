/*
 * gguf_put_tokenizer.c - a byte-level BPE tokenizer as GGUF metadata.
 */
#include "formats/gguf/gguf_metadata.h"

#include "base/alloc.h"
#include "base/arena.h"

#include <inttypes.h>
#include <string.h>

/* <|...|> with either bar: markers that chat templates use, control tokens whatever they claim. */
static bool looks_special(const char *text, size_t n)
{
    static const char wide_open[] = "<\xef\xbd\x9c", wide_close[] = "\xef\xbd\x9c>";

    if (n > 4 && memcmp(text, "<|", 2) == 0 && memcmp(text + n - 2, "|>", 2) == 0)
        return true;
    return n > 8 && memcmp(text, wide_open, 4) == 0 && memcmp(text + n - 4, wide_close, 4) == 0;
}

static int32_t token_type(const bl_tokenizer_file *t, uint32_t id)
{
    const bl_vocab_token *token = &t->token[id];

    if (token->added < 0)
        return BL_GGUF_TOKEN_NORMAL;
    return t->added[token->added].special || looks_special(token->text, token->n_bytes)
               ? BL_GGUF_TOKEN_CONTROL
               : BL_GGUF_TOKEN_USER_DEFINED;
}

static bl_status put_tokens(bl_gguf_writer *w, const bl_tokenizer_file *t, uint32_t vocab_size,
                            bl_arena *arena, struct bl_err *err)
{
    bl_gguf_string *text = bl_arena_alloc(arena, vocab_size, sizeof(*text));
    int32_t *type = bl_arena_alloc(arena, vocab_size, sizeof(*type));

    if (!text || !type)
        return bl_fail_nomem(err, "tokenizer metadata");
    for (uint32_t id = 0; id < vocab_size; id++) {
        if (id < t->n_ids && t->token[id].text) {
            text[id] = (bl_gguf_string){ t->token[id].text, t->token[id].n_bytes };
            type[id] = token_type(t, id);
            continue;
        }
        text[id].bytes = bl_arena_format(arena, "[PAD%" PRIu32 "]", id);
        if (!text[id].bytes)
            return bl_fail_nomem(err, "tokenizer metadata");
        text[id].n = strlen(text[id].bytes);
        type[id] = BL_GGUF_TOKEN_UNUSED;
    }
    bl_gguf_put_strings(w, "tokenizer.ggml.tokens", text, vocab_size);
    bl_gguf_put_i32s(w, "tokenizer.ggml.token_type", type, vocab_size);
    return BL_OK;
}

static bl_status put_merges(bl_gguf_writer *w, const bl_tokenizer_file *t, bl_arena *arena,
                            struct bl_err *err)
{
    bl_gguf_string *merge = bl_arena_alloc(arena, t->n_merges, sizeof(*merge));

    if (!merge)
        return bl_fail_nomem(err, "tokenizer metadata");
    for (uint32_t i = 0; i < t->n_merges; i++) {
        merge[i].bytes = bl_arena_format(arena, "%s %s", t->token[t->merge[i].left].text,
                                         t->token[t->merge[i].right].text);
        if (!merge[i].bytes)
            return bl_fail_nomem(err, "tokenizer metadata");
        merge[i].n = strlen(merge[i].bytes);
    }
    bl_gguf_put_strings(w, "tokenizer.ggml.merges", merge, t->n_merges);
    return BL_OK;
}

static void put_id(bl_gguf_writer *w, const char *key, int64_t id)
{
    if (id >= 0)
        bl_gguf_put_u32(w, key, (uint32_t)id);
}

bl_status bl_gguf_put_tokenizer(bl_gguf_writer *w, const bl_tokenizer_file *t,
                                const bl_config *config, struct bl_err *err)
{
    const char *pre = bl_tokenizer_gguf_pre(t);
    bl_arena arena = { 0 };
    bl_status rc;

    if (!pre)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: llama.cpp has no name for these split expressions", t->name);
    if (t->n_ids > config->vocab_size)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: %" PRIu32 " token ids, but the model's vocabulary has %" PRIu32,
                       t->name, t->n_ids, config->vocab_size);
    bl_gguf_put_string(w, "tokenizer.ggml.model", "gpt2", 4);
    bl_gguf_put_string(w, "tokenizer.ggml.pre", pre, strlen(pre));
    rc = put_tokens(w, t, config->vocab_size, &arena, err);
    if (rc == BL_OK)
        rc = put_merges(w, t, &arena, err);
    bl_arena_release(&arena); /* puts copy */
    if (rc != BL_OK)
        return rc;
    put_id(w, "tokenizer.ggml.bos_token_id", t->bos);
    put_id(w, "tokenizer.ggml.eos_token_id", t->eos);
    put_id(w, "tokenizer.ggml.unknown_token_id", t->unk);
    put_id(w, "tokenizer.ggml.padding_token_id", t->pad);
    bl_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", t->add_bos);
    bl_gguf_put_bool(w, "tokenizer.ggml.add_eos_token", t->add_eos);
    if (t->chat_template)
        bl_gguf_put_string(w, "tokenizer.chat_template", t->chat_template,
                           strlen(t->chat_template));
    return BL_OK;
}
