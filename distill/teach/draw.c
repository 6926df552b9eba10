/* draw.c - see draw.h. */
#include "distill/teach/draw.h"

#include "base/alloc.h"
#include "base/clones.h"
#include "base/le.h"
#include "base/size.h"
#include "distill/counter.h"
#include "model/op_exp.h"
#include "model/op_softmax.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_LANES = 8, CHUNK = 1024 };

static const double log_p_step = 0x1p-17, log_p_least = -128;

/* A place in a heap of the largest logits: the least of them, and of equals the last, is on top. */
typedef struct bl_draw_place {
    float z;
    uint32_t id;
} place;

/* Of one token. */
typedef struct bl_draw_heap {
    uint32_t n;
} heap;

static bl_status allocate(bl_draw *d, struct bl_err *err)
{
    const size_t n = d->n_tokens;
    uint64_t sketch_seed;
    unsigned char bytes[8];

    d->sum = bl_calloc(n, sizeof(*d->sum));
    if (d->kind == BL_CACHE_SAMPLED)
        d->id = bl_calloc(n, d->n_draws * sizeof(*d->id));
    if (d->kind == BL_CACHE_TOP_K) {
        d->place = bl_alloc(n, d->n_top * sizeof(*d->place));
        d->heap = bl_calloc(n, sizeof(*d->heap));
    }
    if (!d->sum || (d->kind == BL_CACHE_SAMPLED && !d->id) ||
        (d->kind == BL_CACHE_TOP_K && (!d->place || !d->heap)))
        return bl_fail_nomem(err, "the teacher's answers");
    for (size_t i = 0; i < n; i++)
        d->sum[i].max = -INFINITY;
    if (d->kind != BL_CACHE_MIXED)
        return BL_OK;
    bl_put_u64(bytes, d->seed);
    sketch_seed = bl_hash64(bytes, sizeof(bytes));
    return bl_logit_sketch_init(&d->sketch, d->n_top, d->n_draws, sketch_seed + d->first_record,
                                d->target, n, err);
}

bl_status bl_draw_init(bl_draw *out, const bl_cache_info *info, uint64_t first_record,
                       const int32_t *target, size_t n_tokens, struct bl_err *err)
{
    bl_draw d = { .kind = info->kind,
                  .n_draws = info->n_draws,
                  .n_top = info->n_top,
                  .seed = info->seed,
                  .first_record = first_record,
                  .n_tokens = n_tokens,
                  .target = target };
    bl_status rc;

    assert(d.n_draws <= BL_CACHE_MAX_KEPT && d.n_top <= BL_CACHE_MAX_KEPT);
    rc = allocate(&d, err);
    if (rc == BL_OK)
        *out = d;
    else
        bl_draw_release(&d);
    return rc;
}

void bl_draw_release(bl_draw *draw)
{
    bl_free(draw->sum);
    bl_free(draw->id);
    bl_free(draw->place);
    bl_free(draw->heap);
    bl_logit_sketch_release(&draw->sketch);
    *draw = (bl_draw){ 0 };
}

uint64_t bl_draw_token_bytes(const bl_cache_info *info)
{
    switch (info->kind) {
    case BL_CACHE_SAMPLED:
        return sizeof(bl_draw_sum) + info->n_draws * sizeof(uint32_t);
    case BL_CACHE_TOP_K:
        return sizeof(bl_draw_sum) + sizeof(heap) + info->n_top * sizeof(place);
    case BL_CACHE_MIXED:
        return sizeof(bl_draw_sum) + 24 + 16 * (2 * (uint64_t)info->n_top + info->n_draws + 1);
    case BL_CACHE_HIDDEN:
        return sizeof(bl_draw_sum);
    }
    return 0;
}

/* e = e^(z - max); its sum and that of e (z - max), in lanes. */
BL_CLONES
static void sum_chunk(float *e, double *sum, double *moment, const float *z, float max, size_t n)
{
    double mass[N_LANES] = { 0 }, first[N_LANES] = { 0 };
    size_t i = 0;

    *sum = *moment = 0;
    for (size_t k = 0; k < n; k++)
        e[k] = bl_exp(z[k] - max);
    for (; i + N_LANES <= n; i += N_LANES)
        for (size_t j = 0; j < N_LANES; j++) {
            mass[j] += (double)e[i + j];
            first[j] += (double)e[i + j] * ((double)z[i + j] - (double)max);
        }
    for (; i < n; i++) {
        mass[0] += (double)e[i];
        first[0] += (double)e[i] * ((double)z[i] - (double)max);
    }
    for (size_t j = 0; j < N_LANES; j++) {
        *sum += mass[j];
        *moment += first[j];
    }
}

/* A larger maximum: what was summed so far is counted from the new one. */
static void raise_max(bl_draw_sum *s, float top)
{
    double step = (double)s->max - (double)top, shrink;

    if (!(top > s->max))
        return;
    if (s->max > -INFINITY) {
        shrink = exp(step);
        s->moment = shrink * (s->moment + step * s->sum);
        s->sum *= shrink;
    }
    s->max = top;
}

/* A draw that moves to the chunk: where in its running sum. */
struct mover {
    double at;
    uint32_t draw;
};

static int compare_movers(const void *a, const void *b)
{
    const struct mover *x = a, *y = b;

    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (x->draw > y->draw) - (x->draw < y->draw);
}

/* moves[i]: u_i < limit, both in steps of 2^-53. */
BL_CLONES
static void find_movers(unsigned char *moves, uint64_t *bits, uint64_t key, uint64_t limit,
                        uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t x = bl_counter_at(key, i) >> 11;

        bits[i] = x;
        moves[i] = x < limit;
    }
}

/* The chunk e of mass `mass` behind `before`, its first id `row`: which draws move, and where to. */
static void move_draws(uint32_t *id, uint32_t n_draws, uint64_t key, const float *e, size_t n,
                       double mass, double before, uint32_t row)
{
    struct mover mover[BL_CACHE_MAX_KEPT];
    unsigned char moves[BL_CACHE_MAX_KEPT];
    uint64_t bits[BL_CACHE_MAX_KEPT];
    const double all = before + mass;
    size_t n_movers = 0, v = 0;
    double reached = 0;

    if (!(mass > 0))
        return;
    find_movers(moves, bits, key, (uint64_t)ceil(mass / all * 0x1p53), n_draws);
    for (uint32_t i = 0; i < n_draws; i++)
        if (moves[i])
            mover[n_movers++] = (struct mover){ .at = (double)bits[i] * 0x1p-53 * all, .draw = i };
    if (n_movers == 0)
        return;
    qsort(mover, n_movers, sizeof(*mover), compare_movers);
    reached = (double)e[0];
    for (size_t i = 0; i < n_movers; i++) {
        while (v + 1 < n && !(mover[i].at < reached))
            reached += (double)e[++v];
        while (!(e[v] > 0)) /* past the end by rounding: the last id that has mass */
            v--;
        id[mover[i].draw] = row + (uint32_t)v;
    }
}

/* Whether a leaves a heap before b does. */
static bool goes_first(place a, place b)
{
    return a.z < b.z || (a.z == b.z && a.id > b.id);
}

static void sift_down(place *p, uint32_t n, place added)
{
    uint32_t i = 0;

    for (uint32_t child = 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && goes_first(p[child + 1], p[child]))
            child++;
        if (!goes_first(p[child], added))
            break;
        p[i] = p[child];
        i = child;
    }
    p[i] = added;
}

static void sift_up(place *p, uint32_t n, place added)
{
    uint32_t i = n;

    for (; i > 0 && goes_first(added, p[(i - 1) / 2]); i = (i - 1) / 2)
        p[i] = p[(i - 1) / 2];
    p[i] = added;
}

static void keep_top(place *p, uint32_t *n_kept, uint32_t n_top, const float *z, size_t n,
                     uint32_t row, float top)
{
    if (*n_kept == n_top && !(top > p[0].z))
        return;
    for (size_t i = 0; i < n; i++) {
        const place added = { .z = z[i], .id = row + (uint32_t)i };

        if (*n_kept < n_top)
            sift_up(p, (*n_kept)++, added);
        else if (added.z > p[0].z)
            sift_down(p, n_top, added);
    }
}

/* What u is drawn from besides chunk and draw. */
static uint64_t key_of(const bl_draw *d, size_t token)
{
    return bl_counter_mix(bl_counter_at(d->seed, 0) + d->first_record + token);
}

static void add_chunk(bl_draw *d, size_t token, const float *z, size_t n, uint32_t row)
{
    bl_draw_sum *s = &d->sum[token];
    const float top = bl_largest(z, n);
    const int64_t target = d->target[token];
    double mass, moment;
    float e[CHUNK];

    raise_max(s, top);
    sum_chunk(e, &mass, &moment, z, s->max, n);
    if (target >= (int64_t)row && target < (int64_t)row + (int64_t)n)
        s->target = z[target - (int64_t)row];
    if (d->kind == BL_CACHE_SAMPLED)
        move_draws(d->id + token * d->n_draws, d->n_draws, bl_counter_mix(key_of(d, token) ^ row),
                   e, n, mass, s->sum, row);
    else if (d->kind == BL_CACHE_TOP_K)
        keep_top(d->place + token * d->n_top, &d->heap[token].n, d->n_top, z, n, row, top);
    s->sum += mass;
    s->moment += moment;
}

bl_status bl_draw_add(void *context, size_t token, size_t n_tokens, uint64_t row, uint64_t n_rows,
                      const float *const *logits, struct bl_err *err)
{
    bl_draw *d = context;

    for (size_t t = 0; t < n_tokens; t++)
        for (uint64_t i = row, end; i < row + n_rows; i = end) {
            end = bl_min_u64(i - i % CHUNK + CHUNK, row + n_rows);
            add_chunk(d, token + t, logits[0] + t * n_rows + (i - row), (size_t)(end - i),
                      (uint32_t)i);
        }
    if (d->kind == BL_CACHE_MIXED)
        return bl_logit_sketch_add(&d->sketch, token, n_tokens, row, n_rows, logits, err);
    return BL_OK;
}

static int compare_ids(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static int compare_places(const void *a, const void *b)
{
    return compare_ids(&((const place *)a)->id, &((const place *)b)->id);
}

static void put(bl_draw_record *out, uint32_t id, double weight, uint32_t count)
{
    out->id[out->n] = id;
    out->weight[out->n] = (float)weight;
    out->count[out->n++] = count;
}

static void count_draws(bl_draw_record *out, const bl_draw *d, size_t token)
{
    uint32_t id[BL_CACHE_MAX_KEPT];

    memcpy(id, d->id + token * d->n_draws, d->n_draws * sizeof(*id));
    qsort(id, d->n_draws, sizeof(*id), compare_ids);
    for (uint32_t i = 0, next; i < d->n_draws; i = next) {
        for (next = i + 1; next < d->n_draws && id[next] == id[i];)
            next++;
        put(out, id[i], (double)(next - i) / d->n_draws, next - i);
    }
    out->tail = 1;
}

static void list_top(bl_draw_record *out, const bl_draw *d, size_t token, double log_sum)
{
    const uint32_t n = d->heap[token].n;
    place p[BL_CACHE_MAX_KEPT];
    double kept = 0;

    memcpy(p, d->place + token * d->n_top, n * sizeof(*p));
    qsort(p, n, sizeof(*p), compare_places);
    for (uint32_t i = 0; i < n; i++) {
        double weight = exp((double)p[i].z - log_sum);

        kept += weight;
        put(out, p[i].id, weight, 0);
    }
    out->tail = (float)fmax(1 - kept, 0);
}

/* The likeliest and the sample, which is ascending, as one ascending list. */
static void list_mixed(bl_draw_record *out, const bl_draw *d, size_t token)
{
    bl_logits_sparse r;
    place top[BL_LOGITS_MAX_KEPT];
    uint32_t s = 0;

    bl_logit_sketch_record(&r, &d->sketch, token);
    for (uint32_t i = 0; i < r.n_top; i++)
        top[i] = (place){ .z = r.log_p[i], .id = r.id[i] };
    qsort(top, r.n_top, sizeof(*top), compare_places);
    for (uint32_t i = 0; i <= r.n_top; i++) {
        for (; s < r.n_samples && (i == r.n_top || r.id[r.n_top + s] < top[i].id); s++)
            put(out, r.id[r.n_top + s], exp((double)fmaxf(r.log_p[r.n_top + s], r.ln_threshold)),
                1);
        if (i < r.n_top)
            put(out, top[i].id, exp((double)top[i].z), 0);
    }
    out->tail = r.tail;
}

/* As files keep it. */
static float round_log_p(double log_p)
{
    return (float)(fmax(fmin(round(log_p / log_p_step) * log_p_step, 0), log_p_least));
}

void bl_draw_record_of(bl_draw_record *out, const bl_draw *draw, size_t token)
{
    const bl_draw_sum *s = &draw->sum[token];
    const double log_sum = log(s->sum) + (double)s->max;

    out->n = 0;
    out->tail = 0;
    out->log_sum = (float)log_sum;
    out->log_p = round_log_p((double)s->target - log_sum);
    out->entropy = (float)fmax(log(s->sum) - s->moment / s->sum, 0);
    if (draw->kind == BL_CACHE_SAMPLED)
        count_draws(out, draw, token);
    else if (draw->kind == BL_CACHE_TOP_K)
        list_top(out, draw, token, log_sum);
    else if (draw->kind == BL_CACHE_MIXED)
        list_mixed(out, draw, token);
}
