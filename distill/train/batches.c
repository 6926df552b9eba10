/* batches.c - an order for each epoch, and records laid end to end. */
#include "distill/train/batches.h"

#include "base/alloc.h"
#include "base/size.h"
#include "distill/counter.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct bl_batches {
    bl_batch_source source;
    bl_batches_options o;
    uint64_t epoch;   /* that `order` is of */
    uint32_t *order;  /* [n_seqs] */
    bl_cache_seq seq; /* the record that was read last */
    int32_t *token;   /* [batch][n_positions], as all up to `first` */
    uint32_t *start;
    int32_t *target;
    float *tail;
    float *entropy;
    float *hidden;   /* [batch][n_positions][hidden_size] */
    uint32_t *first; /* [batch * n_positions + 1] */
    uint32_t *id;    /* [n_room] */
    float *weight;
    size_t n_room;
};

/* Fisher and Yates (Durstenfeld 1964). The bias of the remainder is below 2^-32. */
static void shuffle(bl_batches *b, uint64_t epoch)
{
    const uint32_t n = b->source.info->n_seqs;
    const uint64_t key = bl_counter_key(b->o.seed, epoch);

    for (uint32_t i = 0; i < n; i++)
        b->order[i] = i;
    for (uint32_t i = n - 1; i > 0; i--) {
        const uint32_t k = (uint32_t)(bl_counter_at(key, i) % ((uint64_t)i + 1));
        const uint32_t other = b->order[k];

        b->order[k] = b->order[i];
        b->order[i] = other;
    }
    b->epoch = epoch;
}

static bl_status allocate(bl_batches *b, struct bl_err *err)
{
    const bl_cache_info *info = b->source.info;
    uint64_t n, n_hidden;

    if (!bl_mul_u64(&n, b->o.batch, info->n_positions) || n >= UINT32_MAX ||
        !bl_mul_u64(&n_hidden, n, info->hidden_size))
        return bl_fail(err, BL_E_USAGE,
                       "%" PRIu32 " sequences of %" PRIu32 " tokens are too many at a time",
                       b->o.batch, info->n_positions);
    b->order = bl_alloc(info->n_seqs, sizeof(*b->order));
    b->token = bl_alloc(n, sizeof(*b->token));
    b->start = bl_alloc(n, sizeof(*b->start));
    b->target = bl_alloc(n, sizeof(*b->target));
    b->tail = bl_alloc(n, sizeof(*b->tail));
    b->entropy = bl_alloc(n, sizeof(*b->entropy));
    b->first = bl_alloc(n + 1, sizeof(*b->first));
    if (n_hidden > 0 && !b->o.no_teacher)
        b->hidden = bl_alloc(n_hidden, sizeof(*b->hidden));
    if (!b->order || !b->token || !b->start || !b->target || !b->tail || !b->entropy || !b->first ||
        (n_hidden > 0 && !b->o.no_teacher && !b->hidden))
        return bl_fail_nomem(err, "a batch");
    return BL_OK;
}

bl_status bl_batches_new(bl_batches **out, const bl_batch_source *source,
                         const bl_batches_options *options, struct bl_err *err)
{
    bl_batches *b;
    bl_status rc;

    if (source->info->n_seqs == 0 || options->batch == 0 || options->accumulate == 0)
        return bl_fail(err, BL_E_USAGE, "a step needs at least one sequence");
    b = bl_calloc(1, sizeof(*b));
    if (!b)
        return bl_fail_nomem(err, "a batch");
    b->source = *source;
    b->o = *options;
    rc = allocate(b, err);
    if (rc != BL_OK) {
        bl_batches_free(b);
        return rc;
    }
    shuffle(b, 0);
    *out = b;
    return BL_OK;
}

void bl_batches_free(bl_batches *b)
{
    if (!b)
        return;
    bl_cache_seq_release(&b->seq);
    bl_free(b->order);
    bl_free(b->token);
    bl_free(b->start);
    bl_free(b->target);
    bl_free(b->tail);
    bl_free(b->entropy);
    bl_free(b->hidden);
    bl_free(b->first);
    bl_free(b->id);
    bl_free(b->weight);
    bl_free(b);
}

uint32_t bl_batches_sequence(bl_batches *b, uint64_t k)
{
    const uint64_t epoch = k / b->source.info->n_seqs;

    if (epoch != b->epoch)
        shuffle(b, epoch);
    return b->order[k % b->source.info->n_seqs];
}

static bl_status reserve_entries(bl_batches *b, uint64_t n, struct bl_err *err)
{
    uint32_t *id;
    float *weight;

    if (n <= b->n_room)
        return BL_OK;
    if (n > UINT32_MAX)
        return bl_fail(err, BL_E_USAGE,
                       "a batch has %" PRIu64 " entries of the teacher, too many: fewer sequences "
                       "at a time",
                       n);
    n = bl_max_u64(n, b->n_room + b->n_room / 2);
    id = bl_realloc(b->id, n, sizeof(*id));
    if (id)
        b->id = id;
    weight = bl_realloc(b->weight, n, sizeof(*weight));
    if (weight)
        b->weight = weight;
    if (!id || !weight)
        return bl_fail_nomem(err, "a batch");
    b->n_room = n;
    return BL_OK;
}

/* Make the weights of one position add up to 1. */
static bool normalise(float *weight, uint32_t n)
{
    double sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += (double)weight[i];
    if (!(sum > 0) || !isfinite(sum))
        return false;
    for (uint32_t i = 0; i < n; i++)
        weight[i] = (float)((double)weight[i] / sum);
    return true;
}

/* Behind what is there, the entries of the record, whose first position is `at`. */
static bl_status append_entries(bl_batches *b, size_t at, uint32_t i_seq, struct bl_err *err)
{
    const bl_cache_seq *s = &b->seq;
    const bool renormalise = b->source.info->kind == BL_CACHE_TOP_K && !b->o.bucket;
    const uint32_t base = b->first[at], n = s->first[s->n_positions];
    bl_status rc = reserve_entries(b, (uint64_t)base + n, err);

    if (rc != BL_OK)
        return rc;
    if (n > 0) {
        memcpy(b->id + base, s->id, n * sizeof(*b->id));
        memcpy(b->weight + base, s->weight, n * sizeof(*b->weight));
    }
    for (uint32_t p = 0; p < s->n_positions; p++) {
        const uint32_t n_here = s->first[p + 1] - s->first[p];

        b->first[at + p + 1] = base + s->first[p + 1];
        if (renormalise && n_here > 0 && !normalise(b->weight + base + s->first[p], n_here))
            return bl_fail(err, BL_E_MISMATCH,
                           "sequence %" PRIu32 ", position %" PRIu32
                           ": the teacher's weights add up to nothing",
                           i_seq, p);
    }
    return BL_OK;
}

static bl_status append(bl_batches *b, uint32_t i, uint32_t i_seq, struct bl_err *err)
{
    const bl_cache_info *info = b->source.info;
    const bl_cache_seq *s = &b->seq;
    const uint32_t n = info->n_positions;
    const size_t at = (size_t)i * n;
    bl_status rc = b->source.read(b->source.context, &b->seq, i_seq, err);

    if (rc == BL_OK && s->n_positions != n)
        rc = bl_fail(err, BL_E_MISMATCH,
                     "sequence %" PRIu32 " has %" PRIu32 " positions, not %" PRIu32, i_seq,
                     s->n_positions, n);
    if (rc != BL_OK)
        return rc;
    memcpy(b->token + at, s->token, n * sizeof(*b->token));
    memcpy(b->start + at, s->start, n * sizeof(*b->start));
    memcpy(b->target + at, s->target, n * sizeof(*b->target));
    if (b->o.no_teacher)
        return BL_OK;
    memcpy(b->tail + at, s->tail, n * sizeof(*b->tail));
    memcpy(b->entropy + at, s->entropy, n * sizeof(*b->entropy));
    if (b->hidden)
        memcpy(b->hidden + at * info->hidden_size, s->hidden,
               (size_t)n * info->hidden_size * sizeof(*b->hidden));
    return b->hidden ? BL_OK : append_entries(b, at, i_seq, err);
}

bl_status bl_batches_gather(bl_batch *out, bl_batches *b, uint64_t step, uint32_t i_batch,
                            struct bl_err *err)
{
    const bl_cache_info *info = b->source.info;
    const uint64_t k = (step * b->o.accumulate + i_batch) * b->o.batch;
    const bool sparse = !b->o.no_teacher && !b->hidden;
    const bool draws = info->kind == BL_CACHE_SAMPLED || info->kind == BL_CACHE_MIXED;

    b->first[0] = 0;
    for (uint32_t i = 0; i < b->o.batch; i++) {
        bl_status rc = append(b, i, bl_batches_sequence(b, k + i), err);

        if (rc != BL_OK)
            return rc;
    }
    *out = (bl_batch){ .n_seqs = b->o.batch,
                       .n_positions = info->n_positions,
                       .token = b->token,
                       .start = b->start,
                       .target = b->target,
                       .first = sparse ? b->first : NULL,
                       .id = sparse ? b->id : NULL,
                       .weight = sparse ? b->weight : NULL,
                       .tail = sparse && b->o.bucket ? b->tail : NULL,
                       .entropy = sparse && draws ? b->entropy : NULL,
                       .hidden = b->hidden,
                       .teacher_hidden = b->hidden ? info->hidden_size : 0,
                       .teacher_head = b->hidden ? b->source.head : NULL,
                       .teacher_context = b->source.context };
    return BL_OK;
}
