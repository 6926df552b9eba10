/*
 * tokenizer_build.c - tokens and merges into tables, with the checks that every source needs.
 *
 * Texts live in one block, sized beforehand; the map from text to id borrows them. Ids need not
 * be dense, but the table they index must be in proportion to the file.
 */
#include "formats/tokenizer/tokenizer_build.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <string.h>

enum {
    MAX_TOKEN_BYTES = 1 << 24,
    SHOWN = 100 /* bytes of a token in a sentence */
};

static int shown(size_t n)
{
    return (int)(n < SHOWN ? n : SHOWN);
}

bl_status bl_tokenizer_build_new(bl_tokenizer_builder *b, const char *name, const char *key,
                                 struct bl_err *err)
{
    bl_tokenizer_file *file = bl_calloc(1, sizeof(*file));

    if (!file)
        return bl_fail_nomem(err, name);
    file->bos = file->eos = file->pad = file->unk = -1;
    file->name = bl_arena_strdup(&file->arena, name);
    if (!file->name) {
        bl_tokenizer_file_free(file);
        return bl_fail_nomem(err, name);
    }
    *b = (bl_tokenizer_builder){ .file = file, .key = key };
    return BL_OK;
}

void bl_tokenizer_build_end(bl_tokenizer_file **out, bl_tokenizer_builder *b, bool failed)
{
    bl_map_release(&b->id_of);
    bl_text_release(&b->joined);
    if (failed)
        bl_tokenizer_file_free(b->file);
    else
        *out = b->file;
    b->file = NULL;
}

bl_status bl_tokenizer_build_measure(bl_tokenizer_builder *b, const char *text, size_t n,
                                     uint64_t id, struct bl_err *err)
{
    if (id >= BL_TOKENIZER_MAX_IDS)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: %s: the id of token '%.*s' is not an integer below %d", b->file->name,
                       b->key, shown(n), text, BL_TOKENIZER_MAX_IDS);
    if (n > MAX_TOKEN_BYTES)
        return bl_fail(err, BL_E_FORMAT, "%s: %s: token %" PRIu64 " has %zu bytes, more than %d",
                       b->file->name, b->key, id, n, MAX_TOKEN_BYTES);
    if (id > b->max_id)
        b->max_id = id;
    b->n_tokens++;
    b->n_bytes += n + 1; /* all of it lies in memory already: far from 2^64 */
    return BL_OK;
}

bl_status bl_tokenizer_build_room(bl_tokenizer_builder *b, uint32_t n_added, struct bl_err *err)
{
    bl_tokenizer_file *file = b->file;

    if (b->n_tokens == 0)
        return bl_fail(err, BL_E_FORMAT, "%s: %s: the vocabulary is empty", file->name, b->key);
    if (b->max_id > 8 * b->n_tokens + 4096)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: %s: id %" PRIu64 " is far above the %" PRIu64 " tokens", file->name,
                       b->key, b->max_id, b->n_tokens);
    file->n_ids = (uint32_t)b->max_id + 1;
    file->n_added = n_added;
    file->token = bl_arena_alloc(&file->arena, file->n_ids, sizeof(*file->token));
    file->added = bl_arena_alloc(&file->arena, n_added, sizeof(*file->added));
    b->pool = bl_arena_alloc(&file->arena, (size_t)b->n_bytes, 1);
    if (!file->token || !file->added || !b->pool)
        return bl_fail_nomem(err, file->name);
    return BL_OK;
}

static bool is_utf8(const char *text, size_t n)
{
    size_t at = 0, step = 1;
    uint32_t c;

    for (; at < n && step > 0; at += step)
        step = bl_utf8_decode(&c, text + at, n - at);
    return step > 0;
}

bl_status bl_tokenizer_build_token(bl_tokenizer_builder *b, const char *text, size_t n, uint32_t id,
                                   struct bl_err *err)
{
    const char *name = b->file->name;
    bl_vocab_token *t = &b->file->token[id];
    bool twice;
    bl_status rc;

    if (t->text)
        return bl_fail(err, BL_E_FORMAT, "%s: %s: tokens '%s' and '%.*s' share id %" PRIu32, name,
                       b->key, t->text, shown(n), text, id);
    if (n == 0)
        return bl_fail(err, BL_E_FORMAT, "%s: %s: token %" PRIu32 " is empty", name, b->key, id);
    if (memchr(text, '\0', n) || !is_utf8(text, n))
        return bl_fail(err, BL_E_FORMAT, "%s: %s: token %" PRIu32 " is not UTF-8 without NUL", name,
                       b->key, id);
    memcpy(b->pool, text, n);
    b->pool[n] = '\0';
    t->text = b->pool;
    t->n_bytes = (uint32_t)n;
    t->added = -1;
    b->pool += n + 1;
    rc = bl_map_put(&b->id_of, t->text, n, id, &twice, err);
    if (rc == BL_OK && twice)
        return bl_fail(err, BL_E_FORMAT, "%s: %s: the token '%s' stands twice", name, b->key,
                       t->text);
    return rc;
}

bl_status bl_tokenizer_build_merges(bl_tokenizer_builder *b, uint64_t n, struct bl_err *err)
{
    bl_tokenizer_file *file = b->file;

    if (n > 2 * (uint64_t)BL_TOKENIZER_MAX_IDS)
        return bl_fail(err, BL_E_FORMAT, "%s: %s: there are %" PRIu64 " merges, more than %d",
                       file->name, b->key, n, 2 * BL_TOKENIZER_MAX_IDS);
    file->merge = bl_arena_alloc(&file->arena, (size_t)n, sizeof(*file->merge));
    if (!file->merge)
        return bl_fail_nomem(err, file->name);
    file->n_merges = (uint32_t)n;
    return BL_OK;
}

bl_status bl_tokenizer_build_merge(bl_tokenizer_builder *b, uint32_t rank, const char *left,
                                   size_t n_left, const char *right, size_t n_right,
                                   struct bl_err *err)
{
    bl_merge *merge = &b->file->merge[rank];
    bl_status rc;

    b->joined.n = 0;
    bl_text_add(&b->joined, left, n_left);
    bl_text_add(&b->joined, right, n_right);
    rc = bl_text_check(&b->joined, err);
    if (rc != BL_OK)
        return rc;
    if (!bl_map_get(&merge->left, &b->id_of, left, n_left) ||
        !bl_map_get(&merge->right, &b->id_of, right, n_right) ||
        !bl_map_get(&merge->result, &b->id_of, b->joined.bytes, b->joined.n))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: %s: merge %" PRIu32 " (%.*s and %.*s) uses a token that is not there",
                       b->file->name, b->key, rank, shown(n_left), left, shown(n_right), right);
    return BL_OK;
}

bl_status bl_tokenizer_build_spaced_merge(bl_tokenizer_builder *b, uint32_t rank, const char *both,
                                          size_t n, struct bl_err *err)
{
    const char *space = n ? memchr(both, ' ', n) : NULL;
    size_t n_left = space ? (size_t)(space - both) : 0;

    if (!space || memchr(space + 1, ' ', n - n_left - 1))
        return bl_fail(err, BL_E_FORMAT, "%s: %s: merge %" PRIu32 " is not a pair of tokens",
                       b->file->name, b->key, rank);
    return bl_tokenizer_build_merge(b, rank, both, n_left, space + 1, n - n_left - 1, err);
}

bl_status bl_tokenizer_build_check_merges(const bl_tokenizer_builder *b, struct bl_err *err)
{
    const bl_tokenizer_file *file = b->file;
    bl_map seen = { 0 };
    bl_status rc = BL_OK;

    for (uint32_t i = 0; i < file->n_merges && rc == BL_OK; i++) {
        const char *pair = (const char *)&file->merge[i]; /* left, right: the key of the map */
        bool twice;

        rc = bl_map_put(&seen, pair, 2 * sizeof(uint32_t), i, &twice, err);
        if (rc == BL_OK && twice)
            rc = bl_fail(err, BL_E_FORMAT, "%s: %s: merge %" PRIu32 " repeats an earlier pair",
                         file->name, b->key, i);
    }
    bl_map_release(&seen);
    return rc;
}
