/* pack.c - see pack.h. */
#include "distill/teach/pack.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/le.h"
#include "base/size.h"
#include "base/source.h"
#include "formats/hf/hf_listing.h"
#include "model/tokenizer/tokenizer.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_FILE_BYTES = 1 << 30, HASH_VALUES = 1024 };

/* A text that is being read: the tokens of its documents end to end. */
struct reading {
    const bl_pack_options *options;
    const bl_tokenizer_file *file;
    bl_tokenizer *tokenizer;
    bl_hasher *hasher; /* of the files' bytes */
    bl_tokens stream;
    size_t *begin; /* [n_documents] in the stream */
    size_t n_documents, room;
    uint64_t limit;
};

static bool is_full(const struct reading *r)
{
    return r->stream.n >= r->limit;
}

static bl_status note_document(struct reading *r, struct bl_err *err)
{
    if (r->n_documents == r->room) {
        size_t room = r->room ? 2 * r->room : 64;
        size_t *grown = bl_realloc(r->begin, room, sizeof(*grown));

        if (!grown)
            return bl_fail_nomem(err, "documents");
        r->begin = grown;
        r->room = room;
    }
    r->begin[r->n_documents++] = r->stream.n;
    return BL_OK;
}

/* One document behind the others. BOS and EOS that the text brings along are not said twice. */
static bl_status add_document(struct reading *r, const char *text, size_t n, struct bl_err *err)
{
    const bl_tokenizer_file *file = r->file;
    bl_tokens own = { 0 };
    bl_status rc;

    if (n == 0 || is_full(r))
        return BL_OK;
    rc = bl_tokenizer_encode(&own, r->tokenizer, text, n, 0, err);
    if (rc == BL_OK && own.n > 0)
        rc = note_document(r, err);
    if (rc == BL_OK && own.n > 0 && file->add_bos && file->bos >= 0 && own.id[0] != file->bos)
        rc = bl_tokens_add(&r->stream, (int32_t)file->bos, err);
    for (size_t i = 0; i < own.n && rc == BL_OK && !is_full(r); i++)
        rc = bl_tokens_add(&r->stream, own.id[i], err);
    if (rc == BL_OK && own.n > 0 && file->eos >= 0 && own.id[own.n - 1] != file->eos && !is_full(r))
        rc = bl_tokens_add(&r->stream, (int32_t)file->eos, err);
    bl_tokens_release(&own);
    return rc;
}

/* Whether the line of n bytes is the separator; lines may end in CR LF. */
static bool separates(const char *line, size_t n, const char *separator)
{
    size_t length = strlen(separator);

    if (n > length && line[n - 1] == '\r')
        n--;
    return n == length && memcmp(line, separator, n) == 0;
}

/* The documents of a file: what lies between the separator's lines. */
static bl_status add_documents(struct reading *r, const char *text, size_t n, struct bl_err *err)
{
    size_t begin = 0, line = 0;
    bl_status rc = BL_OK;

    while (r->options->separator && line < n && rc == BL_OK) {
        const char *newline = memchr(text + line, '\n', n - line);
        size_t end = newline ? (size_t)(newline - text) : n;
        size_t next = newline ? end + 1 : n;

        if (separates(text + line, end - line, r->options->separator)) {
            rc = add_document(r, text + begin, line - begin, err);
            begin = next;
        }
        line = next;
    }
    return rc == BL_OK ? add_document(r, text + begin, n - begin, err) : rc;
}

static bl_status add_file(struct reading *r, const char *path, struct bl_err *err)
{
    unsigned char length[8];
    char *bytes = NULL;
    size_t n = 0;
    bl_status rc = bl_source_read_file(&bytes, &n, path, MAX_FILE_BYTES, err);

    if (rc != BL_OK)
        return rc;
    bl_put_u64(length, n);
    bl_hasher_add(r->hasher, length, sizeof(length));
    bl_hasher_add(r->hasher, bytes, n);
    rc = add_documents(r, bytes, n, err);
    if (rc == BL_E_FORMAT)
        bl_err_prefix(err, "%s", path);
    bl_free(bytes);
    return rc;
}

static bl_status add_folder(struct reading *r, const char *path, struct bl_err *err)
{
    bl_arena arena = { 0 };
    bl_hf_listing listing = { 0 };
    bl_status rc = bl_hf_list_files(&listing, &arena, path, err);

    for (size_t i = 0; i < listing.n && rc == BL_OK; i++) {
        char *name = bl_format("%s/%s", path, listing.name[i]);

        if (listing.name[i][0] != '.')
            rc = name ? add_file(r, name, err) : bl_fail_nomem(err, path);
        bl_free(name);
    }
    bl_arena_release(&arena);
    return rc;
}

/* The sequences of the stream; where a document begins in the middle, so do its starts. */
static bl_status cut(bl_pack *p, struct reading *r, struct bl_err *err)
{
    const size_t n = r->stream.n;
    size_t document = 0, begin = 0;

    p->n_positions = (uint32_t)bl_min_u64(r->options->n_positions, n);
    if (n / p->n_positions > UINT32_MAX)
        return bl_fail(err, BL_E_UNSUPPORTED, "the text has %zu tokens: take it in parts", n);
    p->n_seqs = (uint32_t)(n / p->n_positions);
    p->n_text_tokens = n;
    p->n_documents = r->n_documents;
    p->n_dropped = n - (uint64_t)p->n_seqs * p->n_positions;
    p->start = bl_alloc(n - p->n_dropped, sizeof(*p->start));
    if (!p->start)
        return bl_fail_nomem(err, "packed sequences");
    for (size_t i = 0; i < n - p->n_dropped; i++) {
        size_t seq = i - i % p->n_positions;

        if (document < r->n_documents && r->begin[document] == i)
            begin = r->begin[document++];
        p->start[i] = (uint32_t)(begin > seq ? begin - seq : 0);
    }
    p->token = r->stream.id;
    r->stream = (bl_tokens){ 0 };
    return BL_OK;
}

static void hash_values(bl_hasher *hasher, const void *values, size_t n)
{
    const unsigned char *from = values;
    unsigned char bytes[4 * HASH_VALUES];

    for (size_t i = 0; i < n;) {
        size_t step = (size_t)bl_min_u64(HASH_VALUES, n - i);

        for (size_t j = 0; j < step; j++) {
            uint32_t value;

            memcpy(&value, from + 4 * (i + j), sizeof(value));
            bl_put_u32(bytes + 4 * j, value);
        }
        bl_hasher_add(hasher, bytes, 4 * step);
        i += step;
    }
}

static void hash_packing(bl_pack *p, bl_hasher *hasher)
{
    const uint32_t size[2] = { p->n_seqs, p->n_positions };

    bl_hasher_reset(hasher);
    hash_values(hasher, size, 2);
    for (size_t s = 0; s < p->n_seqs; s++) {
        hash_values(hasher, p->token + s * p->n_positions, p->n_positions);
        hash_values(hasher, p->start + s * p->n_positions, p->n_positions);
    }
    p->packing = bl_hasher_digest(hasher);
}

static bl_status hash_tokenizer(bl_hash128 *out, const bl_tokenizer_file *file,
                                const bl_tokenizer *tokenizer, struct bl_err *err)
{
    unsigned char head[16];
    bl_hasher *hasher = NULL;
    bl_text text = { 0 };
    bl_status rc = bl_hasher_new(&hasher, err);

    if (rc != BL_OK)
        return rc;
    bl_put_u64(head, (uint64_t)file->bos);
    bl_put_u64(head + 8, (uint64_t)file->eos);
    bl_hasher_add(hasher, head, 16);
    for (uint32_t i = 0; i < file->n_ids && rc == BL_OK; i++) {
        const int32_t id = (int32_t)i;

        if (!file->token[i].text)
            continue;
        text.n = 0;
        rc = bl_tokenizer_decode(&text, tokenizer, &id, 1, 0, err);
        if (rc == BL_OK)
            rc = bl_text_check(&text, err);
        bl_put_u32(head, i);
        bl_put_u32(head + 4, (uint32_t)text.n);
        bl_hasher_add(hasher, head, 8);
        if (text.n > 0)
            bl_hasher_add(hasher, text.bytes, text.n);
    }
    if (rc == BL_OK)
        *out = bl_hasher_digest(hasher);
    bl_text_release(&text);
    bl_hasher_free(hasher);
    return rc;
}

static bl_status read_text(bl_pack *p, struct reading *r, const char *path, struct bl_err *err)
{
    struct stat st;
    bl_status rc = stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? add_folder(r, path, err)
                                                               : add_file(r, path, err);

    if (rc == BL_OK && r->stream.n < 2)
        rc = bl_fail(err, BL_E_USAGE, "%s: %zu tokens: there is nothing to learn from", path,
                     r->stream.n);
    if (rc != BL_OK)
        return rc;
    p->text = bl_hasher_digest(r->hasher);
    rc = cut(p, r, err);
    if (rc == BL_OK)
        hash_packing(p, r->hasher);
    return rc;
}

bl_status bl_pack_text(bl_pack *out, const bl_ckpt *ckpt, const char *path,
                       const bl_pack_options *options, struct bl_err *err)
{
    struct reading r = { .options = options,
                         .limit = options->max_tokens ? options->max_tokens : UINT64_MAX };
    bl_tokenizer_file *file = NULL;
    bl_pack p = { 0 };
    bl_status rc = bl_ckpt_tokenizer_file(&file, ckpt, err);

    r.file = file;
    if (rc == BL_OK)
        rc = bl_tokenizer_new(&r.tokenizer, file, err);
    if (rc == BL_OK)
        rc = hash_tokenizer(&p.tokenizer, file, r.tokenizer, err);
    if (rc == BL_OK)
        rc = bl_hasher_new(&r.hasher, err);
    if (rc == BL_OK)
        rc = read_text(&p, &r, path, err);
    if (rc == BL_OK)
        *out = p;
    else
        bl_pack_release(&p);
    bl_free(r.begin);
    bl_tokens_release(&r.stream);
    bl_hasher_free(r.hasher);
    bl_tokenizer_free(r.tokenizer);
    bl_tokenizer_file_free(file);
    return rc;
}

void bl_pack_release(bl_pack *pack)
{
    bl_free(pack->token);
    bl_free(pack->start);
    *pack = (bl_pack){ 0 };
}

int32_t bl_pack_target(const bl_pack *pack, size_t i)
{
    if (i % pack->n_positions + 1 == pack->n_positions || pack->start[i + 1] != pack->start[i])
        return -1;
    return pack->token[i + 1];
}

bl_status bl_pack_tokenizer_hash(bl_hash128 *out, const bl_ckpt *ckpt, struct bl_err *err)
{
    bl_tokenizer_file *file = NULL;
    bl_tokenizer *tokenizer = NULL;
    bl_status rc = bl_ckpt_tokenizer_file(&file, ckpt, err);

    if (rc == BL_OK)
        rc = bl_tokenizer_new(&tokenizer, file, err);
    if (rc == BL_OK)
        rc = hash_tokenizer(out, file, tokenizer, err);
    bl_tokenizer_free(tokenizer);
    bl_tokenizer_file_free(file);
    return rc;
}
