/* logit_sketch.c - see logit_sketch.h. */
#include "verify/logit_sketch.h"

#include "base/alloc.h"
#include "base/clones.h"
#include "base/le.h"
#include "base/size.h"
#include "model/op_exp.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { CHUNK = 512 };

/* A token of the vocabulary in one of the two lists, which are sorted by key, largest first. */
typedef struct bl_logit_place {
    double key; /* the logit, or the priority */
    float z;
    uint32_t id; /* no_id: the place is empty, its key -INFINITY */
} place;

static const uint32_t no_id = UINT32_MAX;

/* What u is drawn from besides the id. */
struct seed {
    uint32_t add, mix;
};

bl_status bl_logit_sketch_init(bl_logit_sketch *out, uint32_t n_top, uint32_t n_samples,
                               uint64_t first_record, const int32_t *target, size_t n_tokens,
                               struct bl_err *err)
{
    bl_logit_sketch s = { .first_record = first_record,
                          .n_top = n_top,
                          .n_samples = n_samples,
                          .n_places = n_top + (n_top + n_samples + 1) };
    bl_status rc = bl_logit_stats_init(&s.stats, 1, target, n_tokens, err);

    assert(n_top + n_samples <= BL_LOGITS_MAX_KEPT);
    if (rc != BL_OK)
        return rc;
    s.place = bl_alloc(n_tokens, s.n_places * sizeof(*s.place));
    if (!s.place) {
        bl_logit_sketch_release(&s);
        return bl_fail_nomem(err, "kept logits");
    }
    for (size_t i = 0; i < n_tokens * s.n_places; i++)
        s.place[i] = (place){ .key = -(double)INFINITY, .id = no_id };
    *out = s;
    return BL_OK;
}

void bl_logit_sketch_release(bl_logit_sketch *sketch)
{
    bl_logit_stats_release(&sketch->stats);
    bl_free(sketch->place);
    *sketch = (bl_logit_sketch){ 0 };
}

static struct seed seed_of(uint64_t record)
{
    unsigned char bytes[8];
    uint64_t hash;

    bl_put_u64(bytes, record);
    hash = bl_hash64(bytes, sizeof(bytes));
    return (struct seed){ .add = (uint32_t)hash, .mix = (uint32_t)(hash >> 32) };
}

/* All 32 bits of the result depend on all of x (xor-shift and multiply, twice). */
static inline uint32_t mix(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

/* Uniform on (0, 1]: 2^31 values. */
static inline float uniform(struct seed seed, uint32_t id)
{
    uint32_t bits = mix(mix(id + seed.add) ^ seed.mix) >> 1;

    return ((float)(int32_t)bits + 0.5f) * 0x1p-31f;
}

/*
 * hit[i]: whether z[i] may be in one of the lists, whose last keys are least_top and
 * least_priority: z - ln u > least is u < e^(z - least), here with room for the rounding of e^x.
 */
BL_CLONES
static void find_hits(unsigned char *hit, const float *z, size_t n, uint32_t id, struct seed seed,
                      float least_top, float least_priority)
{
    for (size_t i = 0; i < n; i++) {
        float limit = bl_exp(z[i] - least_priority) * 1.0001f;
        int in_sample = uniform(seed, id + (uint32_t)i)<limit, in_top = z[i]> least_top;

        hit[i] = (unsigned char)(in_sample | in_top);
    }
}

/* Into a list of n places; on ties what came first stays in front. */
static void insert(place *list, uint32_t n, place p)
{
    uint32_t i = n - 1;

    if (!(p.key > list[i].key))
        return;
    for (; i > 0 && p.key > list[i - 1].key; i--)
        list[i] = list[i - 1];
    list[i] = p;
}

/* Empty places have to be filled before there is anything to compare with. */
static float least_of(const place *list, uint32_t n)
{
    return list[n - 1].id == no_id ? -INFINITY : (float)list[n - 1].key;
}

static void add_slice(place *top, uint32_t n_top, uint32_t n_priority, const float *z, size_t n,
                      uint32_t row, struct seed seed)
{
    place *priority = top + n_top;
    unsigned char hit[CHUNK];

    for (size_t i = 0; i < n; i += CHUNK) {
        size_t step = (size_t)bl_min_u64(CHUNK, n - i);
        float least = least_of(priority, n_priority);

        if (isinf(least)) /* every e^(z + inf) is a hit */
            memset(hit, 1, step);
        else
            find_hits(hit, z + i, step, row + (uint32_t)i, seed, least_of(top, n_top), least);
        for (size_t j = 0; j < step; j++) {
            place p = { .key = (double)z[i + j], .z = z[i + j], .id = row + (uint32_t)(i + j) };

            if (!hit[j])
                continue;
            insert(top, n_top, p);
            p.key -= log((double)uniform(seed, p.id));
            insert(priority, n_priority, p);
        }
    }
}

bl_status bl_logit_sketch_add(void *context, size_t token, size_t n_tokens, uint64_t row,
                              uint64_t n_rows, const float *const *logits, struct bl_err *err)
{
    bl_logit_sketch *s = context;
    const size_t n = (size_t)n_rows;

    for (size_t t = 0; t < n_tokens; t++)
        add_slice(s->place + (token + t) * s->n_places, s->n_top, s->n_places - s->n_top,
                  logits[0] + t * n, n, (uint32_t)row, seed_of(s->first_record + token + t));
    return bl_logit_stats_add(&s->stats, token, n_tokens, row, n_rows, logits, err);
}

static bool is_in(const place *list, uint32_t n, uint32_t id)
{
    for (uint32_t i = 0; i < n; i++)
        if (list[i].id == id)
            return true;
    return false;
}

static void put(bl_logits_sparse *out, uint32_t i, const place *p, double lse)
{
    out->id[i] = p->id;
    out->log_p[i] = (float)((double)p->z - lse);
}

/* The sample ascending by id: insertion, the lists are short. */
static void put_sample(bl_logits_sparse *out, const place *p, double lse)
{
    uint32_t i = out->n_top + out->n_samples++;

    for (; i > out->n_top && out->id[i - 1] > p->id; i--) {
        out->id[i] = out->id[i - 1];
        out->log_p[i] = out->log_p[i - 1];
    }
    put(out, i, p, lse);
}

void bl_logit_sketch_record(bl_logits_sparse *out, const bl_logit_sketch *sketch, size_t token)
{
    const bl_logit_sum *sum = &sketch->stats.token[token];
    const place *top = sketch->place + token * sketch->n_places, *priority = top + sketch->n_top;
    const double lse = log(sum->sum) + (double)sum->max;
    bl_logits_sparse r = { .target = (float)-bl_logit_stats_nll(&sketch->stats, token, 0),
                           .ln_threshold = -INFINITY };
    double kept = 0;

    while (r.n_top < sketch->n_top && top[r.n_top].id != no_id) {
        put(&r, r.n_top, &top[r.n_top], lse);
        kept += exp((double)top[r.n_top].z - lse);
        r.n_top++;
    }
    for (uint32_t i = 0; i < sketch->n_places - sketch->n_top && priority[i].id != no_id; i++) {
        if (is_in(top, r.n_top, priority[i].id))
            continue;
        if (r.n_samples == sketch->n_samples) {
            r.ln_threshold = (float)(priority[i].key - lse);
            break;
        }
        put_sample(&r, &priority[i], lse);
    }
    r.tail = r.n_samples > 0 ? (float)fmax(1 - kept, 0) : 0.0f;
    *out = r;
}
