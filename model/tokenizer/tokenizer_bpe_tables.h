/*
 * tokenizer_bpe_tables.h - what merging looks up: tokens by bytes, merges by pair; private to
 * model/tokenizer. Hash tables with linear probing at a load of at most one half.
 */
#ifndef BL_MODEL_TOKENIZER_BPE_TABLES_H
#define BL_MODEL_TOKENIZER_BPE_TABLES_H

#include "base/hash.h"
#include "formats/tokenizer/tokenizer_file.h"

#include <string.h>

enum { BL_NO_RANK = -1 };

struct bl_pair_slot {
    uint32_t left, right;
    int32_t rank; /* BL_NO_RANK = empty */
    int32_t result;
};

struct bl_piece_slot {
    uint32_t hash;
    int32_t id; /* -1 = empty */
};

struct bl_bpe_tables {
    uint32_t n_ids;
    char *bytes;           /* of all tokens, one behind the other */
    uint32_t *begin;       /* [n_ids + 1] */
    int32_t byte_id[256];  /* -1 = no token */
    uint64_t n_pair_slots; /* powers of two */
    struct bl_pair_slot *pair;
    uint64_t n_piece_slots;
    struct bl_piece_slot *piece;
};

/* Fill *t (zeroed); release it in any case. */
BL_MUST_USE bl_status bl_bpe_tables_build(struct bl_bpe_tables *t, const bl_tokenizer_file *file,
                                          struct bl_err *err);
void bl_bpe_tables_release(struct bl_bpe_tables *t);

static inline uint64_t bl_hash_pair(uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * UINT64_C(0x9e3779b97f4a7c15);

    return h ^ h >> 32;
}

/* The merge of a pair; one with rank BL_NO_RANK when there is none. */
static inline const struct bl_pair_slot *bl_bpe_find_pair(const struct bl_bpe_tables *t,
                                                          int32_t left, int32_t right)
{
    uint64_t mask = t->n_pair_slots - 1;
    uint64_t i = bl_hash_pair((uint32_t)left, (uint32_t)right) & mask;

    for (;; i = (i + 1) & mask) {
        const struct bl_pair_slot *s = &t->pair[i];

        if (s->rank == BL_NO_RANK || (s->left == (uint32_t)left && s->right == (uint32_t)right))
            return s;
    }
}

/* The token with these bytes, or -1. */
static inline int32_t bl_bpe_find_piece(const struct bl_bpe_tables *t, const char *piece, size_t n)
{
    uint64_t mask = t->n_piece_slots - 1, hash = bl_hash64(piece, n);
    uint64_t i = (hash >> 32) & mask;

    for (;; i = (i + 1) & mask) {
        const struct bl_piece_slot *s = &t->piece[i];

        if (s->id < 0)
            return -1;
        if (s->hash == (uint32_t)hash && t->begin[s->id + 1] - t->begin[s->id] == n &&
            memcmp(t->bytes + t->begin[s->id], piece, n) == 0)
            return s->id;
    }
}

#endif
