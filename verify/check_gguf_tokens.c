/*
 * check_gguf_tokens.c - the tokenizer of a GGUF file: whether it can be used, and against its
 * embedding: a token without a row is read past the end of a matrix by some loaders and refused by
 * others.
 */
#include "verify/check_side_files.h"

#include "formats/gguf/gguf_reader.h"
#include "verify/check_findings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "tokenizer.ggml."

/* A list that goes along with the tokens has as many members. */
static bl_status check_list(bl_check_result *r, const bl_gguf_meta *meta, const char *key,
                            uint64_t n_tokens, struct bl_err *err)
{
    const bl_gguf_kv *kv = bl_gguf_find(meta, key);

    if (!kv || (kv->type == BL_GGUF_ARRAY && kv->n == n_tokens))
        return BL_OK;
    return bl_check_add(r, BL_FINDING_SIDE_FILE, err, "'%s' has %" PRIu64 " members, not %" PRIu64,
                        key, kv->n, n_tokens);
}

/* Every tokenizer.ggml.<name>_token_id that is there. */
static bl_status check_special(bl_check_result *r, const bl_gguf_kv *kv, uint64_t n_tokens,
                               struct bl_err *err)
{
    static const char tail[] = "_token_id";
    size_t n = strlen(kv->key);
    uint32_t id;

    if (strncmp(kv->key, PREFIX, sizeof(PREFIX) - 1) != 0 || n < sizeof(tail) ||
        strcmp(kv->key + n - (sizeof(tail) - 1), tail) != 0)
        return BL_OK;
    if (bl_gguf_kv_u32(&id, kv, NULL) != BL_OK)
        return bl_check_add(r, BL_FINDING_SIDE_FILE, err, "'%s' is not a token id (u32)", kv->key);
    if (id < n_tokens)
        return BL_OK;
    return bl_check_add(r, BL_FINDING_SIDE_FILE, err,
                        "'%s' is %" PRIu32 ", the vocabulary ends at %" PRIu64, kv->key, id,
                        n_tokens - 1);
}

/* What else would keep it from being used; a fault that is found already would be named again. */
static bl_status check_tables(bl_check_result *r, const bl_ckpt *ckpt, struct bl_err *err)
{
    bl_tokenizer_file *tokenizer = NULL;
    bl_status rc = bl_check_read_tokenizer(&tokenizer, r, ckpt, err);

    bl_tokenizer_file_free(tokenizer);
    return rc;
}

bl_status bl_check_gguf_tokens(bl_check_result *r, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bl_gguf_meta *meta = bl_gguf_meta_of(bl_ckpt_container(ckpt));
    const bl_gguf_kv *tokens = meta ? bl_gguf_find(meta, PREFIX "tokens") : NULL;
    uint64_t vocab_size = bl_ckpt_config(ckpt)->vocab_size;
    size_t n_faults = r->n_faults;
    bl_status rc;

    if (!tokens)
        return meta ? bl_check_add(r, BL_FINDING_NOTE, err, "the file has no tokenizer") : BL_OK;
    rc = check_list(r, meta, PREFIX "tokens", vocab_size, err);
    if (rc == BL_OK)
        rc = check_list(r, meta, PREFIX "token_type", tokens->n, err);
    if (rc == BL_OK)
        rc = check_list(r, meta, PREFIX "scores", tokens->n, err);
    for (size_t i = 0; i < bl_gguf_n_kv(meta) && rc == BL_OK; i++)
        rc = check_special(r, bl_gguf_kv_at(meta, i), vocab_size, err);
    return rc == BL_OK && r->n_faults == n_faults ? check_tables(r, ckpt, err) : rc;
}
