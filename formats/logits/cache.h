/*
 * cache.h - a teacher's answers to a packed text, from which students learn (docs/format-cache.md).
 *
 * A cache is a folder of shards, each a file of its own that is complete or not there. Every shard
 * says to which teacher, tokenizer, text and packing it belongs; shards of different ones do not
 * open together. A cache of hidden states has the teacher's output head beside the shards.
 *
 *     sampled   draws from the teacher's distribution, with replacement: ids as a set, and counts
 *               (RS-KD, arXiv 2503.16870). weight = count / draws; its mean over seeds is p
 *     top-k     the likeliest ids with their p, and the mass of the others
 *     mixed     the likeliest with their p, and a sample of the others with weights that are right
 *               on the average (logits_sparse.h)
 *     hidden    the last hidden state after the final norm, in BF16: with the head, every logit
 */
#ifndef BL_FORMATS_LOGITS_CACHE_H
#define BL_FORMATS_LOGITS_CACHE_H

#include "base/err.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BL_CACHE_MAX_KEPT = 1024, BL_CACHE_NAME_BYTES = 127 };

typedef enum bl_cache_kind {
    BL_CACHE_SAMPLED = 1,
    BL_CACHE_TOP_K,
    BL_CACHE_MIXED,
    BL_CACHE_HIDDEN
} bl_cache_kind;

/* "sampled", "top-k", "mixed", "hidden". */
const char *bl_cache_kind_name(bl_cache_kind kind);
bool bl_cache_kind_by_name(bl_cache_kind *out, const char *name);

/* What every shard says of the whole cache: equal in all of them. */
typedef struct bl_cache_info {
    bl_cache_kind kind;
    uint32_t vocab_size;
    uint32_t n_positions; /* of a packed sequence */
    uint32_t n_seqs;      /* of the whole cache */
    uint32_t
        n_shards; /* shard i has sequences [n_seqs * i / n_shards, n_seqs * (i + 1) / n_shards) */
    uint32_t n_draws;     /* sampled: draws a token; mixed: places of the sample; else 0 */
    uint32_t n_top;       /* top-k and mixed: ids that are kept exactly; else 0 */
    uint32_t hidden_size; /* hidden; else 0 */
    uint64_t seed;        /* of the draws */
    bl_hash128 model;     /* formats/ckpt/fingerprint.h */
    bl_hash128 tokenizer; /* of the vocabulary: what makes ids comparable */
    bl_hash128 text;      /* of the bytes of its files, in order */
    bl_hash128 packing;   /* of every token and document boundary of every sequence, in order */
    char name[BL_CACHE_NAME_BYTES + 1]; /* of the teacher, for people; no path */
} bl_cache_info;

/*
 * One packed sequence and what the teacher said of it. A position has an answer when its document
 * goes on behind it (target >= 0); the others have no entries, and zeros. The arrays are the
 * record's own and are used again by the next read; zero-initialise, release once.
 */
typedef struct bl_cache_seq {
    uint32_t n_positions;
    int32_t *token; /* [n_positions] */
    uint32_t
        *start; /* [n_positions] the first position of the document, or piece of one, it is in */
    int32_t *target; /* [n_positions] the token behind it, or -1 */
    float *log_p;    /* [n_positions] ln p of the target, in steps of 2^-17, at least -128 */
    float *entropy;  /* [n_positions] of the teacher's distribution, in nats */
    float *log_sum;  /* [n_positions] log-sum-exp of the teacher's logits */
    float *tail;     /* [n_positions] mass that no exact entry has: sampled 1, hidden 0 */
    uint32_t *first; /* [n_positions + 1] where each position's entries begin */
    uint32_t *id;    /* [first[n_positions]] ascending within a position */
    float *weight;   /* the same: what the id has of the target distribution */
    uint32_t *count; /* the same: sampled: draws. Mixed: 1 for a sampled id, 0 for an exact one */
    float *hidden;   /* hidden: [n_positions][hidden_size]; else NULL */
    size_t n_room;   /* entries that there is room for */
} bl_cache_seq;

/* Room for n_positions and n_entries (and hidden states when hidden_size > 0); keeps what is there. */
BL_MUST_USE bl_status bl_cache_seq_reserve(bl_cache_seq *seq, uint32_t n_positions,
                                           size_t n_entries, uint32_t hidden_size,
                                           struct bl_err *err);
void bl_cache_seq_release(bl_cache_seq *seq); /* zeroed is allowed */

#endif
