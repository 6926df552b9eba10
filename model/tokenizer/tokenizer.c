/*
 * tokenizer.c - the order of things: added tokens, normal form, added tokens again, pieces, merges.
 */
#include "model/tokenizer/tokenizer.h"

#include "base/alloc.h"
#include "model/tokenizer/tokenizer_added.h"
#include "model/tokenizer/tokenizer_bpe.h"
#include "model/tokenizer/tokenizer_nfc.h"
#include "model/tokenizer/tokenizer_split.h"

#include <inttypes.h>
#include <string.h>

struct bl_tokenizer {
    char *name;
    bl_bpe *bpe;
    bl_splitter *splitter;
    bool nfc;
    bl_added_set raw;        /* added tokens that match the text as it is */
    bl_added_set normalized; /* added tokens that match its normal form */
    uint32_t n_ids;
    const char *
        *plain;    /* [n_ids] what a token decodes to as it is written, in text_pool; or NULL */
    bool *special; /* [n_ids] */
    char *text_pool;
    int64_t bos, eos;
};

/* One call of encode: what it writes to and works with. */
struct encoder {
    const bl_tokenizer *t;
    bl_tokens *out;
    bl_split_work *split;
    bl_bpe_work bpe;
    bl_text normal;
    bool added;
    struct bl_err *err;
};

bl_status bl_tokens_add(bl_tokens *tokens, int32_t id, struct bl_err *err)
{
    if (tokens->n == tokens->size) {
        size_t size = tokens->size ? 2 * tokens->size : 256;
        int32_t *grown = bl_realloc(tokens->id, size, sizeof(*grown));

        if (!grown)
            return bl_fail_nomem(err, "token ids");
        tokens->id = grown;
        tokens->size = size;
    }
    tokens->id[tokens->n++] = id;
    return BL_OK;
}

void bl_tokens_release(bl_tokens *tokens)
{
    bl_free(tokens->id);
    *tokens = (bl_tokens){ 0 };
}

/* Whether a token decodes to its text as it is written, not to the bytes that the text spells. */
static bool is_plain(const bl_tokenizer *t, const bl_tokenizer_file *file, uint32_t id)
{
    size_t n;

    return file->token[id].text && (file->token[id].added >= 0 || !bl_bpe_bytes(t->bpe, id, &n));
}

static bl_status copy_plain_texts(bl_tokenizer *t, const bl_tokenizer_file *file,
                                  struct bl_err *err)
{
    size_t n_bytes = 0;
    char *to;

    for (uint32_t id = 0; id < file->n_ids; id++)
        if (is_plain(t, file, id))
            n_bytes += file->token[id].n_bytes + 1u;
    t->n_ids = file->n_ids;
    t->text_pool = to = bl_alloc(n_bytes, 1);
    t->plain = bl_calloc(file->n_ids, sizeof(*t->plain));
    t->special = bl_calloc(file->n_ids, sizeof(*t->special));
    if (!t->text_pool || !t->plain || !t->special)
        return bl_fail_nomem(err, file->name);
    for (uint32_t id = 0; id < file->n_ids; id++) {
        if (!is_plain(t, file, id))
            continue;
        t->plain[id] = to;
        memcpy(to, file->token[id].text, file->token[id].n_bytes + 1u);
        to += file->token[id].n_bytes + 1u;
    }
    for (uint32_t i = 0; i < file->n_added; i++)
        t->special[file->added[i].id] = file->added[i].special;
    return BL_OK;
}

/* A token that matches normalized text is itself looked for in its normal form. */
static bl_status add_added(bl_tokenizer *t, const bl_tokenizer_file *file,
                           const bl_added_token *added, struct bl_err *err)
{
    const bl_vocab_token *token = &file->token[added->id];
    bl_added_entry flags = { .id = (int32_t)added->id,
                             .lstrip = added->lstrip,
                             .rstrip = added->rstrip };
    bl_text normal = { 0 };
    bool changed = false;
    bl_status rc = BL_OK;

    if (added->single_word)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: the added token '%s' matches single words only, which is not supported",
                       file->name, token->text);
    if (!added->normalized)
        return bl_added_add(&t->raw, token->text, token->n_bytes, flags, err);
    if (file->nfc)
        rc = bl_nfc(&normal, &changed, token->text, token->n_bytes, err);
    if (rc == BL_OK)
        rc = bl_added_add(&t->normalized, changed ? normal.bytes : token->text,
                          changed ? normal.n : token->n_bytes, flags, err);
    bl_text_release(&normal);
    return rc;
}

static bl_status index_added(bl_tokenizer *t, const bl_tokenizer_file *file, struct bl_err *err)
{
    bl_status rc = bl_added_init(&t->raw, file->n_added, err);

    if (rc == BL_OK)
        rc = bl_added_init(&t->normalized, file->n_added, err);
    for (uint32_t i = 0; i < file->n_added && rc == BL_OK; i++)
        rc = add_added(t, file, &file->added[i], err);
    bl_added_seal(&t->raw);
    bl_added_seal(&t->normalized);
    return rc;
}

bl_status bl_tokenizer_new(bl_tokenizer **out, const bl_tokenizer_file *file, struct bl_err *err)
{
    bl_tokenizer *t = bl_calloc(1, sizeof(*t));
    bl_status rc;

    if (!t)
        return bl_fail_nomem(err, file->name);
    t->nfc = file->nfc;
    t->bos = file->bos;
    t->eos = file->eos;
    t->name = bl_strdup(file->name);
    rc = t->name ? index_added(t, file, err) : bl_fail_nomem(err, file->name);
    if (rc == BL_OK)
        rc = bl_splitter_new(&t->splitter, file->name, file->split, file->n_splits, err);
    if (rc == BL_OK)
        rc = bl_bpe_new(&t->bpe, file, err);
    if (rc == BL_OK)
        rc = copy_plain_texts(t, file, err);
    if (rc != BL_OK) {
        bl_tokenizer_free(t);
        return rc;
    }
    *out = t;
    return BL_OK;
}

void bl_tokenizer_free(bl_tokenizer *t)
{
    if (!t)
        return;
    bl_bpe_free(t->bpe);
    bl_splitter_free(t->splitter);
    bl_added_release(&t->raw);
    bl_added_release(&t->normalized);
    bl_free(t->plain);
    bl_free(t->special);
    bl_free(t->text_pool);
    bl_free(t->name);
    bl_free(t);
}

static bl_status take_piece(void *self, const char *piece, size_t n, struct bl_err *err)
{
    struct encoder *e = self;

    return bl_bpe_encode(e->out, e->t->bpe, &e->bpe, piece, n, err);
}

typedef bl_status encode_gap(struct encoder *e, const char *text, size_t n);

/* Take the added tokens of a set out of text; what lies between them goes to gap. */
static bl_status encode_added(struct encoder *e, const bl_added_set *set, const char *text,
                              size_t n, encode_gap *gap)
{
    bl_added_match match;
    size_t done = 0, from = 0;
    bl_status rc = BL_OK;

    while (rc == BL_OK && e->added && bl_added_find(&match, set, text, n, from, done)) {
        if (match.begin > done)
            rc = gap(e, text + done, match.begin - done);
        if (rc == BL_OK)
            rc = bl_tokens_add(e->out, match.id, e->err);
        done = match.end;
        from = match.resume;
    }
    return rc == BL_OK && done < n ? gap(e, text + done, n - done) : rc;
}

static bl_status encode_pieces(struct encoder *e, const char *text, size_t n)
{
    bl_piece_sink sink = { take_piece, e };

    return bl_splitter_run(e->t->splitter, e->split, text, n, sink, e->err);
}

static bl_status encode_normal(struct encoder *e, const char *text, size_t n)
{
    bool changed = false;
    bl_status rc = e->t->nfc ? bl_nfc(&e->normal, &changed, text, n, e->err) : BL_OK;

    if (rc != BL_OK)
        return rc;
    return encode_added(e, &e->t->normalized, changed ? e->normal.bytes : text,
                        changed ? e->normal.n : n, encode_pieces);
}

static bl_status add_named(bl_tokens *out, const bl_tokenizer *t, int64_t id, const char *what,
                           struct bl_err *err)
{
    if (id < 0)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: the tokenizer names no %s token", t->name, what);
    return bl_tokens_add(out, (int32_t)id, err);
}

bl_status bl_tokenizer_encode(bl_tokens *out, const bl_tokenizer *t, const char *text, size_t n,
                              unsigned flags, struct bl_err *err)
{
    struct encoder e = { .t = t, .out = out, .added = !(flags & BL_ENCODE_NO_ADDED), .err = err };
    size_t valid = bl_utf8_valid_prefix(text, n), n_before = out->n;
    bl_status rc = BL_OK;

    if (valid < n)
        return bl_fail(err, BL_E_FORMAT, "the text is not UTF-8: byte %zu (0x%02x)", valid,
                       (unsigned)(unsigned char)text[valid]);
    if (flags & BL_ENCODE_BOS)
        rc = add_named(out, t, t->bos, "BOS", err);
    if (rc == BL_OK && n > 0)
        rc = bl_split_work_new(&e.split, err);
    if (rc == BL_OK && n > 0)
        rc = encode_added(&e, &t->raw, text, n, encode_normal);
    if (rc == BL_OK && (flags & BL_ENCODE_EOS))
        rc = add_named(out, t, t->eos, "EOS", err);
    bl_split_work_free(e.split);
    bl_bpe_work_release(&e.bpe);
    bl_text_release(&e.normal);
    if (rc != BL_OK)
        out->n = n_before;
    return rc;
}

bl_status bl_tokenizer_decode(bl_text *out, const bl_tokenizer *t, const int32_t *id, size_t n,
                              unsigned flags, struct bl_err *err)
{
    for (size_t i = 0; i < n; i++) {
        bool inside = id[i] >= 0 && (uint32_t)id[i] < t->n_ids;
        const char *plain = inside ? t->plain[id[i]] : NULL;
        size_t n_bytes = 0;
        const char *bytes = inside ? bl_bpe_bytes(t->bpe, (uint32_t)id[i], &n_bytes) : NULL;

        if (inside && t->special[id[i]] && (flags & BL_DECODE_SKIP_SPECIAL))
            continue;
        if (!plain && !bytes)
            return bl_fail(err, BL_E_FORMAT, "%s: there is no token with id %" PRId32, t->name,
                           id[i]);
        bl_text_add(out, plain ? plain : bytes, plain ? strlen(plain) : n_bytes);
    }
    return bl_text_check(out, err);
}
