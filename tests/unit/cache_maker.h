/*
 * cache_maker.h - made-up answers of a teacher, the same on every machine, for tests and timings of
 * caches. How its ids lie is the maker's choice: uniform over the vocabulary, or as words do (Zipf).
 */
#ifndef BL_TESTS_CACHE_MAKER_H
#define BL_TESTS_CACHE_MAKER_H

#include "formats/logits/cache.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct cache_maker {
    bl_cache_info info;
    uint64_t state;
    bool zipf;             /* ids, tokens and targets; else uniform */
    uint32_t n_ids;        /* distinct ids of each answer; 0: as the draws fall */
    uint32_t n_candidates; /* ids that the teacher thinks of */
    double slope;          /* the j-th of them has p ~ j^-slope */
    uint32_t document;     /* tokens of one, about */
} cache_maker;

static inline double maker_uniform(cache_maker *m)
{
    m->state = m->state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(m->state >> 11) + 0.5) * 0x1p-53;
}

static inline uint32_t maker_below(cache_maker *m, uint32_t n)
{
    return (uint32_t)(maker_uniform(m) * n);
}

/* Rank r has about 1 / r; ranks are spread over the vocabulary. */
static inline uint32_t maker_id(cache_maker *m)
{
    const uint32_t vocab = m->info.vocab_size;
    const uint32_t rank = (uint32_t)exp(maker_uniform(m) * log((double)vocab + 1)) - 1;

    if (!m->zipf)
        return maker_below(m, vocab);
    return (uint32_t)((rank < vocab ? rank : vocab - 1) * (uint64_t)2654435761u % vocab);
}

struct maker_entry {
    uint32_t id;
    double p;
    uint32_t count; /* draws; or 1 */
};

static inline int maker_compare(const void *a, const void *b)
{
    const struct maker_entry *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static inline bool maker_has(const struct maker_entry *e, uint32_t n, uint32_t id)
{
    for (uint32_t i = 0; i < n; i++)
        if (e[i].id == id)
            return true;
    return false;
}

/* Distinct candidates with falling p, the first of them perhaps the target. */
static inline uint32_t maker_candidates(cache_maker *m, struct maker_entry *e, uint32_t n,
                                        uint32_t target)
{
    double sum = 0;

    if (n > m->info.vocab_size)
        n = m->info.vocab_size;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id = m->zipf && i == 0 && maker_uniform(m) < 0.7 ? target : maker_id(m);

        for (uint32_t tries = 0; maker_has(e, i, id); tries++)
            id = tries < 100 ? maker_id(m) : (id + 1) % m->info.vocab_size;
        e[i] = (struct maker_entry){ .id = id, .p = pow(i + 1, -m->slope) };
        sum += e[i].p;
    }
    for (uint32_t i = 0; i < n; i++)
        e[i].p /= sum;
    return n;
}

static inline void maker_draw(cache_maker *m, struct maker_entry *e, uint32_t n)
{
    uint32_t n_left = m->info.n_draws;

    if (m->n_ids > 0) /* each at least once */
        for (uint32_t i = 0; i < n && n_left > 0; i++, n_left--)
            e[i].count = 1;
    for (; n_left > 0; n_left--) {
        double u = maker_uniform(m);
        uint32_t i = 0;

        while (i + 1 < n && u > e[i].p)
            u -= e[i++].p;
        e[i].count++;
    }
}

static inline uint32_t maker_wanted(const cache_maker *m)
{
    if (m->info.kind == BL_CACHE_SAMPLED)
        return m->n_ids > 0 ? m->n_ids : m->n_candidates;
    return m->info.n_top + m->info.n_draws;
}

/* Entries of position i, behind the ones that are there. */
static inline void maker_answer(cache_maker *m, bl_cache_seq *seq, uint32_t i)
{
    struct maker_entry e[BL_CACHE_MAX_KEPT];
    const uint32_t n = maker_candidates(m, e, maker_wanted(m), (uint32_t)seq->target[i]);
    uint32_t at = seq->first[i], n_kept = 0;
    double entropy = 0;

    if (m->info.kind == BL_CACHE_SAMPLED)
        maker_draw(m, e, n);
    for (uint32_t k = 0; k < n; k++)
        entropy -= e[k].p * log(e[k].p);
    for (uint32_t k = 0; k < n && m->info.kind == BL_CACHE_MIXED; k++) {
        e[k].count = k >= m->info.n_top;
        e[k].p = e[k].count ? 0.01 : e[k].p;
    }
    seq->log_p[i] = -9.0f;
    for (uint32_t k = 0; k < n; k++)
        if (e[k].id == (uint32_t)seq->target[i])
            seq->log_p[i] = (float)log(e[k].p);
    seq->entropy[i] = (float)entropy;
    seq->log_sum[i] = (float)(20 + maker_uniform(m));
    seq->tail[i] = m->info.kind == BL_CACHE_SAMPLED ? 1 : (float)maker_uniform(m);
    for (uint32_t k = 0; k < n; k++)
        if (m->info.kind != BL_CACHE_SAMPLED || e[k].count > 0)
            e[n_kept++] = e[k];
    qsort(e, n_kept, sizeof(*e), maker_compare);
    for (uint32_t k = 0; k < n_kept; k++) {
        seq->id[at] = e[k].id;
        seq->count[at] = e[k].count;
        seq->weight[at] = m->info.kind == BL_CACHE_SAMPLED
                              ? (float)e[k].count / (float)m->info.n_draws
                              : (float)e[k].p;
        at++;
    }
    seq->first[i + 1] = at;
}

static inline void maker_text(cache_maker *m, bl_cache_seq *seq)
{
    const uint32_t n = m->info.n_positions;

    for (uint32_t i = 0; i < n; i++) {
        const bool begins = i == 0 || maker_below(m, m->document) == 0;

        seq->token[i] = (int32_t)maker_id(m);
        seq->start[i] = begins ? i : seq->start[i - 1];
        seq->target[i] = -1;
        if (!begins)
            seq->target[i - 1] = seq->token[i];
    }
}

/* The next sequence. False when memory ran out. */
static inline bool maker_seq(cache_maker *m, bl_cache_seq *seq)
{
    const uint32_t n = m->info.n_positions, hidden = m->info.hidden_size;

    if (bl_cache_seq_reserve(seq, n, hidden > 0 ? 0 : (size_t)n * maker_wanted(m), hidden, NULL) !=
        BL_OK)
        return false;
    maker_text(m, seq);
    seq->first[0] = 0;
    for (uint32_t i = 0; i < n; i++) {
        seq->log_p[i] = seq->entropy[i] = seq->log_sum[i] = seq->tail[i] = 0;
        seq->first[i + 1] = seq->first[i];
        for (uint32_t k = 0; k < hidden; k++)
            seq->hidden[(size_t)i * hidden + k] =
                seq->target[i] < 0 ? 0 : (float)maker_below(m, 256) / 64 - 2;
        if (seq->target[i] < 0)
            continue;
        seq->log_p[i] = -(float)maker_below(m, 1 << 20) * 0x1p-17f;
        seq->log_sum[i] = (float)maker_below(m, 1 << 20) * 0x1p-13f - 64;
        seq->entropy[i] = (float)maker_below(m, 1 << 14) * 0x1p-11f;
        if (hidden == 0)
            maker_answer(m, seq, i);
    }
    return true;
}

#endif
