/*
 * tokenizer_bpe.c - merging: always the pair of lowest rank, and of equals the leftmost.
 *
 * A piece that is a token by itself, and that its own merges lead back to, is taken whole: that is
 * most of a text. What is left is short as a rule, and scanned; a long piece gets a heap over a
 * linked list. Both find the same merges.
 */
#include "model/tokenizer/tokenizer_bpe.h"

#include "base/alloc.h"
#include "model/tokenizer/tokenizer_bpe_tables.h"

#include <assert.h>
#include <string.h>

enum { SHORT_PIECE = 48 };

struct bl_bpe {
    char *name;
    struct bl_bpe_tables t;
    bool *whole; /* [n_ids] the piece with these bytes is this token */
};

/* The token that a whole piece is, or -1. */
static int32_t whole_piece(const bl_bpe *bpe, const char *piece, size_t n)
{
    int32_t id =
        n == 1 ? bpe->t.byte_id[(unsigned char)*piece] : bl_bpe_find_piece(&bpe->t, piece, n);

    return id >= 0 && bpe->whole[id] ? id : -1;
}

/* The ids of the bytes of a piece; returns how many (bytes without a token are left out). */
static size_t start_symbols(int32_t *symbol, const bl_bpe *bpe, const char *piece, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        int32_t id = bpe->t.byte_id[(unsigned char)piece[i]];

        if (id >= 0)
            symbol[count++] = id;
    }
    return count;
}

/* Merge in place; returns the number of symbols left. pair[i]: of symbols i and i + 1. */
static size_t merge_short(int32_t *symbol, const bl_bpe *bpe, size_t n)
{
    const struct bl_pair_slot *pair[SHORT_PIECE];

    for (size_t i = 0; i + 1 < n; i++)
        pair[i] = bl_bpe_find_pair(&bpe->t, symbol[i], symbol[i + 1]);
    while (n > 1) {
        uint32_t lowest = UINT32_MAX; /* BL_NO_RANK, as unsigned, is no lower */
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
            pair[at - 1] = bl_bpe_find_pair(&bpe->t, symbol[at - 1], symbol[at]);
        if (at + 1 < n)
            pair[at] = bl_bpe_find_pair(&bpe->t, symbol[at], symbol[at + 1]);
    }
    return n;
}

/* A long piece: symbols as a linked list, candidate pairs as a binary heap of (rank, place). */
struct list {
    uint64_t *heap; /* at most 2 n: a merge takes one out and puts two in */
    size_t n_heap;
    int32_t *symbol, *rank; /* rank of the pair that begins here, BL_NO_RANK = none */
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

    l->rank[i] = BL_NO_RANK;
    if (j == l->n)
        return;
    l->rank[i] = bl_bpe_find_pair(&bpe->t, l->symbol[i], l->symbol[j])->rank;
    if (l->rank[i] != BL_NO_RANK)
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
        l->symbol[i] = bl_bpe_find_pair(&bpe->t, l->symbol[i], l->symbol[j])->result;
        l->rank[j] = BL_NO_RANK;
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
    if (!work->bytes || work->size < n * per_byte) {
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
    if (id >= bpe->t.n_ids || bpe->t.begin[id] == bpe->t.begin[id + 1])
        return NULL;
    *n = bpe->t.begin[id + 1] - bpe->t.begin[id];
    return bpe->t.bytes + bpe->t.begin[id];
}

/* Which tokens a piece with their bytes becomes: all under ignore_merges, else those merges reach. */
static bl_status find_whole(bl_bpe *bpe, bool ignore_merges, struct bl_err *err)
{
    bl_bpe_work work = { 0 };
    bl_tokens tokens = { 0 };
    bl_status rc = BL_OK;

    bpe->whole = bl_calloc(bpe->t.n_ids, sizeof(*bpe->whole));
    if (!bpe->whole)
        return bl_fail_nomem(err, bpe->name);
    for (uint32_t id = 0; id < bpe->t.n_ids && rc == BL_OK; id++) {
        size_t n = bpe->t.begin[id + 1] - bpe->t.begin[id];
        bool is_whole = n > 0;

        if (n > 1 && !ignore_merges) {
            tokens.n = 0;
            rc = bl_bpe_encode(&tokens, bpe, &work, bpe->t.bytes + bpe->t.begin[id], n, err);
            is_whole = rc == BL_OK && tokens.n == 1 && tokens.id[0] == (int32_t)id;
        }
        bpe->whole[id] = is_whole;
    }
    bl_bpe_work_release(&work);
    bl_tokens_release(&tokens);
    return rc;
}

bl_status bl_bpe_new(bl_bpe **out, const bl_tokenizer_file *file, struct bl_err *err)
{
    bl_bpe *bpe = bl_calloc(1, sizeof(*bpe));
    bl_status rc;

    if (!bpe)
        return bl_fail_nomem(err, file->name);
    bpe->name = bl_strdup(file->name);
    rc = bpe->name ? bl_bpe_tables_build(&bpe->t, file, err) : bl_fail_nomem(err, file->name);
    if (rc == BL_OK)
        rc = find_whole(bpe, file->ignore_merges, err);
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
    bl_bpe_tables_release(&bpe->t);
    bl_free(bpe->name);
    bl_free(bpe->whole);
    bl_free(bpe);
}
