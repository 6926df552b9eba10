/*
 * gguf_read_tokenizer.c - a byte-level BPE tokenizer out of GGUF metadata: the same tables that
 * tokenizer.json gives. The inverse of gguf_put_tokenizer.c, plus what other writers make.
 *
 * Where the two differ, llama.cpp decides, since a GGUF file says nothing: no normal form, no added
 * token takes white space along, all added tokens are looked for at once. docs/tokenizer.md.
 *
 * Source: llama.cpp's loader (src/llama-vocab.cpp) and the GGUF specification, version 3.
 */
#include "formats/gguf/gguf_metadata.h"

#include "formats/gguf/gguf_kv.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/tokenizer/tokenizer_build.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct reader {
    const char *name; /* of the file, for sentences */
    const bl_gguf_meta *meta;
    const bl_gguf_kv *tokens; /* strings */
    const bl_gguf_kv *types;  /* i32, as many; NULL = all are normal */
    bl_tokenizer_builder b;
    struct bl_err *err;
};

static bl_status find_array(const bl_gguf_kv **out, const struct reader *r, const char *key,
                            bl_gguf_type elem)
{
    const bl_gguf_kv *kv = bl_gguf_find(r->meta, key);

    *out = kv;
    if (!kv)
        return bl_fail(r->err, BL_E_FORMAT, "%s: '%s' is missing", r->name, key);
    return bl_gguf_kv_expect_array(kv, elem, r->err);
}

/* The kind of tokenizer: of those that llama.cpp knows, one is byte-level BPE. */
static bl_status check_model(const struct reader *r)
{
    const bl_gguf_kv *kv = bl_gguf_find(r->meta, "tokenizer.ggml.model");
    bl_gguf_string model = { "", 0 };
    bl_status rc;

    if (!kv)
        return bl_fail(r->err, BL_E_UNSUPPORTED,
                       "%s: it holds no tokenizer ('tokenizer.ggml.model' is missing)", r->name);
    rc = bl_gguf_kv_string(&model, kv, r->err);
    if (rc == BL_OK && (model.n != 4 || memcmp(model.bytes, "gpt2", 4) != 0))
        rc = bl_fail(r->err, BL_E_UNSUPPORTED,
                     "%s: 'tokenizer.ggml.model': a tokenizer of kind '%.*s' is not supported, "
                     "only byte-level BPE ('gpt2')",
                     r->name, (int)(model.n < 32 ? model.n : 32), model.bytes);
    return rc;
}

/* A file without a name for its split expressions is older than names: llama.cpp's first rules. */
static bl_status use_pre(const struct reader *r)
{
    const bl_gguf_kv *kv = bl_gguf_find(r->meta, "tokenizer.ggml.pre");
    bl_gguf_string pre = { "default", 7 };
    bl_status rc = kv ? bl_gguf_kv_string(&pre, kv, r->err) : BL_OK;

    if (rc == BL_OK && !bl_tokenizer_use_gguf_pre(r->b.file, pre.bytes, pre.n))
        rc = bl_fail(r->err, BL_E_UNSUPPORTED,
                     "%s: 'tokenizer.ggml.pre': split expressions '%.*s' are not supported",
                     r->name, (int)(pre.n < 64 ? pre.n : 64), pre.bytes);
    return rc;
}

static int32_t type_of(const struct reader *r, uint64_t id)
{
    return r->types ? bl_gguf_kv_i32_at(r->types, id) : BL_GGUF_TOKEN_NORMAL;
}

/* Matched in the text as it is, whole: control tokens, those that users defined, and the unknown. */
static bool is_added(const struct reader *r, uint64_t id)
{
    const int32_t type = type_of(r, id);

    return type == BL_GGUF_TOKEN_CONTROL || type == BL_GGUF_TOKEN_USER_DEFINED ||
           type == BL_GGUF_TOKEN_UNKNOWN;
}

/* Ids that no token has: writers put [PAD<id>] there, or nothing. */
static bool is_filler(const struct reader *r, uint64_t id)
{
    const bl_gguf_string s = bl_gguf_kv_string_at(r->tokens, id);
    char filler[32];

    if (s.n == 0)
        return true;
    if (type_of(r, id) != BL_GGUF_TOKEN_UNUSED)
        return false;
    snprintf(filler, sizeof(filler), "[PAD%" PRIu64 "]", id);
    return s.n == strlen(filler) && memcmp(s.bytes, filler, s.n) == 0;
}

static bl_status measure_tokens(struct reader *r)
{
    uint32_t n_added = 0;
    bl_status rc = BL_OK;

    for (uint64_t id = 0; id < r->tokens->n && rc == BL_OK; id++) {
        const bl_gguf_string s = bl_gguf_kv_string_at(r->tokens, id);
        const int32_t type = type_of(r, id);

        if (type < 0 || type > BL_GGUF_TOKEN_BYTE)
            return bl_fail(r->err, BL_E_FORMAT,
                           "%s: 'tokenizer.ggml.token_type': token %" PRIu64 " has type %" PRId32
                           ", not 0 to %d",
                           r->name, id, type, BL_GGUF_TOKEN_BYTE);
        if (is_filler(r, id))
            continue;
        n_added += is_added(r, id);
        rc = bl_tokenizer_build_measure(&r->b, s.bytes, s.n, id, r->err);
    }
    return rc == BL_OK ? bl_tokenizer_build_room(&r->b, n_added, r->err) : rc;
}

/*
 * llama.cpp looks every piece up among all tokens, added ones too, so all are in the model. No
 * order is kept between control and other added tokens: none is normalized.
 */
static bl_status read_tokens(struct reader *r)
{
    bl_tokenizer_file *file = r->b.file;
    uint32_t n_added = 0;
    bl_status rc;

    for (uint32_t id = 0; id < file->n_ids; id++) {
        const bl_gguf_string s = bl_gguf_kv_string_at(r->tokens, id);

        if (is_filler(r, id))
            continue;
        rc = bl_tokenizer_build_token(&r->b, s.bytes, s.n, id, r->err);
        if (rc != BL_OK)
            return rc;
        file->token[id].in_model = true;
        if (!is_added(r, id))
            continue;
        file->token[id].added = (int32_t)n_added;
        file->added[n_added++] =
            (bl_added_token){ .id = id, .special = type_of(r, id) != BL_GGUF_TOKEN_USER_DEFINED };
    }
    return BL_OK;
}

static bl_status read_merges(struct reader *r)
{
    const bl_gguf_kv *merges;
    bl_status rc = find_array(&merges, r, "tokenizer.ggml.merges", BL_GGUF_STRING);

    r->b.key = "'tokenizer.ggml.merges'";
    if (rc == BL_OK)
        rc = bl_tokenizer_build_merges(&r->b, merges->n, r->err);
    for (uint32_t i = 0; rc == BL_OK && i < merges->n; i++) {
        const bl_gguf_string s = bl_gguf_kv_string_at(merges, i);

        rc = bl_tokenizer_build_spaced_merge(&r->b, i, s.bytes, s.n, r->err);
    }
    return rc == BL_OK ? bl_tokenizer_build_check_merges(&r->b, r->err) : rc;
}

/* A token that a key names; -1 stays when there is no such key. */
static bl_status read_id(int64_t *out, const struct reader *r, const char *key)
{
    const bl_tokenizer_file *file = r->b.file;
    const bl_gguf_kv *kv = bl_gguf_find(r->meta, key);
    uint32_t id = 0;
    bl_status rc = kv ? bl_gguf_kv_u32(&id, kv, r->err) : BL_OK;

    if (!kv || rc != BL_OK)
        return rc;
    if (id >= file->n_ids || !file->token[id].text)
        return bl_fail(r->err, BL_E_FORMAT, "%s: '%s' is %" PRIu32 ", which is not a token",
                       r->name, key, id);
    *out = id;
    return BL_OK;
}

static bl_status read_flag(bool *out, const struct reader *r, const char *key)
{
    const bl_gguf_kv *kv = bl_gguf_find(r->meta, key);

    return kv ? bl_gguf_kv_bool(out, kv, r->err) : BL_OK;
}

static bl_status read_template(const struct reader *r)
{
    bl_tokenizer_file *file = r->b.file;
    const bl_gguf_kv *kv = bl_gguf_find(r->meta, "tokenizer.chat_template");
    bl_gguf_string text = { "", 0 };
    bl_status rc = kv ? bl_gguf_kv_string(&text, kv, r->err) : BL_OK;

    if (!kv || rc != BL_OK)
        return rc;
    if (text.n && memchr(text.bytes, '\0', text.n))
        return bl_fail(r->err, BL_E_FORMAT, "%s: 'tokenizer.chat_template' has a NUL in it",
                       r->name);
    file->chat_template = bl_arena_strndup(&file->arena, text.bytes, text.n);
    return file->chat_template ? BL_OK : bl_fail_nomem(r->err, r->name);
}

static bl_status read_named(const struct reader *r)
{
    bl_tokenizer_file *file = r->b.file;
    bl_status rc = read_id(&file->bos, r, "tokenizer.ggml.bos_token_id");

    if (rc == BL_OK)
        rc = read_id(&file->eos, r, "tokenizer.ggml.eos_token_id");
    if (rc == BL_OK)
        rc = read_id(&file->unk, r, "tokenizer.ggml.unknown_token_id");
    if (rc == BL_OK)
        rc = read_id(&file->pad, r, "tokenizer.ggml.padding_token_id");
    if (rc == BL_OK)
        rc = read_flag(&file->add_bos, r, "tokenizer.ggml.add_bos_token");
    if (rc == BL_OK)
        rc = read_flag(&file->add_eos, r, "tokenizer.ggml.add_eos_token");
    return rc == BL_OK ? read_template(r) : rc;
}

static bl_status read_tables(struct reader *r)
{
    bl_status rc = use_pre(r);

    if (rc == BL_OK)
        rc = measure_tokens(r);
    if (rc == BL_OK)
        rc = read_tokens(r);
    if (rc == BL_OK)
        rc = read_merges(r);
    return rc == BL_OK ? read_named(r) : rc;
}

bl_status bl_gguf_read_tokenizer(bl_tokenizer_file **out, const bl_container *gguf,
                                 struct bl_err *err)
{
    static const char types[] = "tokenizer.ggml.token_type";
    struct reader r = { .name = gguf->path, .meta = bl_gguf_meta_of(gguf), .err = err };
    bl_status rc = check_model(&r);

    if (rc == BL_OK)
        rc = find_array(&r.tokens, &r, "tokenizer.ggml.tokens", BL_GGUF_STRING);
    if (rc == BL_OK && bl_gguf_find(r.meta, types)) {
        rc = find_array(&r.types, &r, types, BL_GGUF_I32);
        if (rc == BL_OK && r.types->n != r.tokens->n)
            rc = bl_fail(err, BL_E_FORMAT, "%s: '%s' has %" PRIu64 " values for %" PRIu64 " tokens",
                         gguf->path, types, r.types->n, r.tokens->n);
    }
    if (rc == BL_OK)
        rc = bl_tokenizer_build_new(&r.b, gguf->path, "'tokenizer.ggml.tokens'", err);
    if (rc != BL_OK)
        return rc;
    rc = read_tables(&r);
    bl_tokenizer_build_end(out, &r.b, rc != BL_OK);
    return rc;
}
