/*
 * tokenizer_bpe.c - merging: always the pair of lowest rank, and of equals the leftmost.
 *
 * A piece that is a token by itself, and that its own merges lead back to, is taken whole: that is
 * most of a text. What is left is short as a rule, and scanned; a long piece gets a heap over a
 * linked list. Both find the same merges.
 */
#include "model/tokenizer_bpe.h"

#include "base/alloc.h"
#include "base/hash.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SHORT_PIECE = 48, NO_RANK = -1 };

struct pair_slot {
    uint32_t left, right;
    int32_t rank; /* NO_RANK = empty */
    int32_t result;
};

struct piece_slot {
    uint32_t hash;
    int32_t id; /* -1 = empty */
};

struct bl_bpe {
    char *name;
    uint32_t n_ids;
    char *bytes;           /* of all tokens, one behind the other */
    uint32_t *begin;       /* [n_ids + 1] */
    bool *whole;           /* [n_ids] the piece with these bytes is this token */
    int32_t byte_id[256];  /* -1 = no token */
    uint64_t n_pair_slots; /* powers of two */
    struct pair_slot *pair;
    uint64_t n_piece_slots;
    struct piece_slot *piece;
};

static uint64_t hash_pair(uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * UINT64_C(0x9e3779b97f4a7c15);

    return h ^ h >> 32;
}

static const struct pair_slot *find_pair(const bl_bpe *bpe, int32_t left, int32_t right)
{
    uint64_t mask = bpe->n_pair_slots - 1;
    uint64_t i = hash_pair((uint32_t)left, (uint32_t)right) & mask;

    for (;; i = (i + 1) & mask) {
        const struct pair_slot *s = &bpe->pair[i];

        if (s->rank == NO_RANK || (s->left == (uint32_t)left && s->right == (uint32_t)right))
            return s;
    }
}

static int32_t find_piece(const bl_bpe *bpe, const char *piece, size_t n)
{
    uint64_t mask = bpe->n_piece_slots - 1, hash = bl_hash64(piece, n);
    uint64_t i = (hash >> 32) & mask;

    for (;; i = (i + 1) & mask) {
        const struct piece_slot *s = &bpe->piece[i];

        if (s->id < 0)
            return -1;
        if (s->hash == (uint32_t)hash && bpe->begin[s->id + 1] - bpe->begin[s->id] == n &&
            memcmp(bpe->bytes + bpe->begin[s->id], piece, n) == 0)
            return s->id;
    }
}

/* The token that a whole piece is, or -1. */
static int32_t whole_piece(const bl_bpe *bpe, const char *piece, size_t n)
{
    int32_t id = n == 1 ? bpe->byte_id[(unsigned char)*piece] : find_piece(bpe, piece, n);

    return id >= 0 && bpe->whole[id] ? id : -1;
}

/* The ids of the bytes of a piece; returns how many (bytes without a token are left out). */
static size_t start_symbols(int32_t *symbol, const bl_bpe *bpe, const char *piece, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        int32_t id = bpe->byte_id[(unsigned char)piece[i]];

        if (id >= 0)
            symbol[count++] = id;
    }
    return count;
}

/* Merge in place; returns the number of symbols left. rank[i], result[i]: of symbols i and i + 1. */
static size_t merge_short(int32_t *symbol, const bl_bpe *bpe, size_t n)
{
    const struct pair_slot *pair[SHORT_PIECE];

    for (size_t i = 0; i + 1 < n; i++)
        pair[i] = find_pair(bpe, symbol[i], symbol[i + 1]);
    while (n > 1) {
        uint32_t lowest = UINT32_MAX; /* NO_RANK, as unsigned, is no lower */
        size_t at = 0;

        for (size_t i = 0; i + 1 < n; i++)
            if ((uint32_t)pair[i]->rank < lowest) {
                lowest = (uint32_t)pair[i]->rank;
                at = i;
            }
        if (lowest == UINT32_MAX)
            break;
        symbol[at] = pair[at]->result;
        memmove(symbol + at + 1, symbol + at + 2, (n - at - 2) * sizeof(*symbol));
        if (n - at > 2)
            memmove(pair + at, pair + at + 1, (n - at - 2) * sizeof(*pair));
        n--;
        if (at > 0)
            pair[at - 1] = find_pair(bpe, symbol[at - 1], symbol[at]);
        if (at + 1 < n)
            pair[at] = find_pair(bpe, symbol[at], symbol[at + 1]);
    }
    return n;
}

/* A long piece: symbols as a linked list, candidate pairs as a binary heap of (rank, place). */
struct list {
    uint64_t *heap; /* at most 2 n: a merge takes one out and puts two in */
    size_t n_heap;
    int32_t *symbol, *rank; /* rank of the pair that begins here, NO_RANK = none */
    uint32_t *next, *before;
    uint32_t n; /* also the end of both directions */
};

static void push(struct list *l, uint64_t entry)
{
    size_t i = l->n_heap++;

    while (i > 0 && l->heap[(i - 1) / 2] > entry) {
        l->heap[i] = l->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    l->heap[i] = entry;
}

static uint64_t pop(struct list *l)
{
    uint64_t top = l->heap[0], last = l->heap[--l->n_heap];
    size_t i = 0;

    for (size_t child = 1; child < l->n_heap; child = 2 * i + 1) {
        if (child + 1 < l->n_heap && l->heap[child + 1] < l->heap[child])
            child++;
        if (l->heap[child] >= last)
            break;
        l->heap[i] = l->heap[child];
        i = child;
    }
    l->heap[i] = last;
    return top;
}

/* Look up the pair that begins at i, and enter it into the heap if it merges. */
static void consider(struct list *l, const bl_bpe *bpe, uint32_t i)
{
    uint32_t j = l->next[i];

    l->rank[i] = NO_RANK;
    if (j == l->n)
        return;
    l->rank[i] = find_pair(bpe, l->symbol[i], l->symbol[j])->rank;
    if (l->rank[i] != NO_RANK)
        push(l, (uint64_t)l->rank[i] << 32 | i);
}

static void merge_list(struct list *l, const bl_bpe *bpe)
{
    for (uint32_t i = 0; i < l->n; i++) {
        l->next[i] = i + 1;
        l->before[i] = i ? i - 1 : l->n;
    }
    for (uint32_t i = 0; i < l->n; i++)
        consider(l, bpe, i);
    while (l->n_heap > 0) {
        uint64_t top = pop(l);
        uint32_t i = (uint32_t)top, j;

        if (l->rank[i] != (int32_t)(top >> 32))
            continue; /* one of the two has changed since; a rank belongs to one pair only */
        j = l->next[i];
        l->symbol[i] = find_pair(bpe, l->symbol[i], l->symbol[j])->result;
        l->rank[j] = NO_RANK;
        l->next[i] = l->next[j];
        if (l->next[i] != l->n)
            l->before[l->next[i]] = i;
        consider(l, bpe, i);
        if (l->before[i] != l->n)
            consider(l, bpe, l->before[i]);
    }
}

static bl_status encode_long(bl_tokens *out, const bl_bpe *bpe, bl_bpe_work *work,
                             const char *piece, size_t n, struct bl_err *err)
{
    const size_t per_byte = 2 * sizeof(uint64_t) + 4 * sizeof(uint32_t);
    struct list l = { 0 };
    bl_status rc = BL_OK;

    if (n > INT32_MAX)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: a piece of %zu bytes is too long", bpe->name, n);
    if (work->size < n * per_byte) {
        bl_free(work->bytes);
        work->size = 0;
        work->bytes = bl_alloc(n, per_byte);
        if (!work->bytes)
            return bl_fail_nomem(err, "merging a long piece");
        work->size = n * per_byte;
    }
    assert(work->bytes);
    l.heap = work->bytes;
    l.symbol = (int32_t *)(l.heap + 2 * n);
    l.rank = l.symbol + n;
    l.next = (uint32_t *)(l.rank + n);
    l.before = l.next + n;
    l.n = (uint32_t)start_symbols(l.symbol, bpe, piece, n);
    merge_list(&l, bpe);
    for (uint32_t i = 0; i < l.n && rc == BL_OK; i = l.next[i])
        rc = bl_tokens_add(out, l.symbol[i], err);
    return rc;
}

bl_status bl_bpe_encode(bl_tokens *out, const bl_bpe *bpe, bl_bpe_work *work, const char *piece,
                        size_t n, struct bl_err *err)
{
    int32_t symbol[SHORT_PIECE];
    int32_t id = whole_piece(bpe, piece, n);
    bl_status rc = BL_OK;

    if (id >= 0)
        return bl_tokens_add(out, id, err);
    if (n > SHORT_PIECE)
        return encode_long(out, bpe, work, piece, n, err);
    n = merge_short(symbol, bpe, start_symbols(symbol, bpe, piece, n));
    for (size_t i = 0; i < n && rc == BL_OK; i++)
        rc = bl_tokens_add(out, symbol[i], err);
    return rc;
}

void bl_bpe_work_release(bl_bpe_work *work)
{
    bl_free(work->bytes);
    *work = (bl_bpe_work){ 0 };
}

const char *bl_bpe_bytes(const bl_bpe *bpe, uint32_t id, size_t *n)
{
    if (id >= bpe->n_ids || bpe->begin[id] == bpe->begin[id + 1])
        return NULL;
    *n = bpe->begin[id + 1] - bpe->begin[id];
    return bpe->bytes + bpe->begin[id];
}

/* The bytes that a text in the alphabet stands for; 0 when it is not spelled in it. */
static size_t spell(char *out, const char *text, uint32_t n)
{
    size_t count = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t c = (unsigned char)text[i];
        int byte;

        if (c >= 0xe0 || (c >= 0x80 && i + 1 == n))
            return 0; /* the alphabet ends at U+0143 */
        if (c >= 0x80)
            c = (c & 0x1fu) << 6 | ((unsigned char)text[++i] & 0x3fu);
        byte = bl_byte_of_code_point(c);
        if (byte < 0)
            return 0;
        out[count++] = (char)byte;
    }
    return count;
}

static bl_status spell_tokens(bl_bpe *bpe, const bl_tokenizer_file *file, struct bl_err *err)
{
    uint64_t room = 0;
    uint32_t used = 0;

    for (uint32_t id = 0; id < file->n_ids; id++)
        room += file->token[id].n_bytes;
    if (room > UINT32_MAX)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: the vocabulary is too large", file->name);
    bpe->bytes = bl_alloc((size_t)room, 1);
    bpe->begin = bl_alloc((size_t)file->n_ids + 1, sizeof(*bpe->begin));
    bpe->whole = bl_calloc(file->n_ids, sizeof(*bpe->whole));
    if (!bpe->bytes || !bpe->begin || !bpe->whole)
        return bl_fail_nomem(err, file->name);
    for (uint32_t id = 0; id < file->n_ids; id++) {
        const bl_vocab_token *t = &file->token[id];

        bpe->begin[id] = used;
        if (t->in_model)
            used += (uint32_t)spell(bpe->bytes + used, t->text, t->n_bytes);
    }
    bpe->begin[file->n_ids] = used;
    return BL_OK;
}

static uint64_t slots_for(uint64_t n)
{
    uint64_t slots = 16;

    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

static bl_status index_pieces(bl_bpe *bpe, struct bl_err *err)
{
    bpe->n_piece_slots = slots_for(bpe->n_ids);
    bpe->piece = bl_alloc((size_t)bpe->n_piece_slots, sizeof(*bpe->piece));
    if (!bpe->piece)
        return bl_fail_nomem(err, bpe->name);
    memset(bpe->piece, 0xff, (size_t)bpe->n_piece_slots * sizeof(*bpe->piece));
    memset(bpe->byte_id, 0xff, sizeof(bpe->byte_id));
    for (uint32_t id = 0; id < bpe->n_ids; id++) {
        const char *bytes = bpe->bytes + bpe->begin[id];
        size_t n = bpe->begin[id + 1] - bpe->begin[id];
        uint64_t hash, i;

        if (n == 0)
            continue;
        if (n == 1)
            bpe->byte_id[(unsigned char)*bytes] = (int32_t)id;
        hash = bl_hash64(bytes, n);
        i = (hash >> 32) & (bpe->n_piece_slots - 1);
        while (bpe->piece[i].id >= 0)
            i = (i + 1) & (bpe->n_piece_slots - 1);
        bpe->piece[i] = (struct piece_slot){ (uint32_t)hash, (int32_t)id };
    }
    return BL_OK;
}

static bl_status index_pairs(bl_bpe *bpe, const bl_tokenizer_file *file, struct bl_err *err)
{
    bpe->n_pair_slots = slots_for(file->n_merges);
    bpe->pair = bl_alloc((size_t)bpe->n_pair_slots, sizeof(*bpe->pair));
    if (!bpe->pair)
        return bl_fail_nomem(err, bpe->name);
    memset(bpe->pair, 0xff, (size_t)bpe->n_pair_slots * sizeof(*bpe->pair));
    for (uint32_t rank = 0; rank < file->n_merges; rank++) {
        const bl_merge *m = &file->merge[rank];
        uint64_t i = hash_pair(m->left, m->right) & (bpe->n_pair_slots - 1);

        while (bpe->pair[i].rank != NO_RANK)
            i = (i + 1) & (bpe->n_pair_slots - 1);
        bpe->pair[i] = (struct pair_slot){ m->left, m->right, (int32_t)rank, (int32_t)m->result };
    }
    return BL_OK;
}

/* Which tokens a piece with their bytes becomes: all under ignore_merges, else those merges reach. */
static bl_status find_whole(bl_bpe *bpe, bool ignore_merges, struct bl_err *err)
{
    bl_bpe_work work = { 0 };
    bl_tokens tokens = { 0 };
    bl_status rc = BL_OK;

    for (uint32_t id = 0; id < bpe->n_ids && rc == BL_OK; id++) {
        size_t n = bpe->begin[id + 1] - bpe->begin[id];
        bool is_whole = n > 0;

        if (n > 1 && !ignore_merges) {
            tokens.n = 0;
            rc = bl_bpe_encode(&tokens, bpe, &work, bpe->bytes + bpe->begin[id], n, err);
            is_whole = rc == BL_OK && tokens.n == 1 && tokens.id[0] == (int32_t)id;
        }
        bpe->whole[id] = is_whole;
    }
    bl_bpe_work_release(&work);
    bl_tokens_release(&tokens);
    return rc;
}

/* Text may contain any byte but those that UTF-8 never uses. */
static bl_status check_bytes(const bl_bpe *bpe, const bl_tokenizer_file *file, struct bl_err *err)
{
    for (int byte = 0; byte < 256 && file->unk >= 0; byte++)
        if (bpe->byte_id[byte] < 0 && byte < 0xf5 && byte != 0xc0 && byte != 0xc1)
            return bl_fail(err, BL_E_UNSUPPORTED,
                           "%s: byte 0x%02x has no token, and an unknown token is named",
                           file->name, byte);
    return BL_OK;
}

bl_status bl_bpe_new(bl_bpe **out, const bl_tokenizer_file *file, struct bl_err *err)
{
    bl_bpe *bpe = bl_calloc(1, sizeof(*bpe));
    bl_status rc;

    if (!bpe)
        return bl_fail_nomem(err, file->name);
    bpe->n_ids = file->n_ids;
    bpe->name = bl_strdup(file->name);
    rc = bpe->name ? spell_tokens(bpe, file, err) : bl_fail_nomem(err, file->name);
    if (rc == BL_OK)
        rc = index_pieces(bpe, err);
    if (rc == BL_OK)
        rc = index_pairs(bpe, file, err);
    if (rc == BL_OK)
        rc = find_whole(bpe, file->ignore_merges, err);
    if (rc == BL_OK)
        rc = check_bytes(bpe, file, err);
    if (rc != BL_OK) {
        bl_bpe_free(bpe);
        return rc;
    }
    *out = bpe;
    return BL_OK;
}

void bl_bpe_free(bl_bpe *bpe)
{
    if (!bpe)
        return;
    bl_free(bpe->name);
    bl_free(bpe->bytes);
    bl_free(bpe->begin);
    bl_free(bpe->whole);
    bl_free(bpe->pair);
    bl_free(bpe->piece);
    bl_free(bpe);
}
