/* logit_compare.c - see logit_compare.h. */
#include "verify/logit_compare.h"

#include "base/alloc.h"
#include "base/size.h"

#include <math.h>
#include <string.h>

enum { CHUNK = 1024 };

/* In place of a logit that is left out: e^x of it is 0 beside any other. */
static const float left_out = -1e30f;

/* logit_compare.h: "far above" every p that the tail can have. */
static const double far = 4;

bl_status bl_logit_compare_init(bl_logit_compare *out, const bl_logits_sparse *record,
                                const int32_t *target, size_t n_tokens, struct bl_err *err)
{
    bl_logit_compare c = { .record = record,
                           .n_places = n_tokens ? record->n_top + record->n_samples : 0 };
    bl_status rc = bl_logit_stats_init(&c.tail, 1, target, n_tokens, err);

    if (rc != BL_OK)
        return rc;
    c.z = bl_calloc(n_tokens, (c.n_places + 1) * sizeof(*c.z));
    if (!c.z) {
        bl_logit_compare_release(&c);
        return bl_fail_nomem(err, "kept logits");
    }
    *out = c;
    return BL_OK;
}

void bl_logit_compare_release(bl_logit_compare *compare)
{
    bl_logit_stats_release(&compare->tail);
    bl_free(compare->z);
    *compare = (bl_logit_compare){ 0 };
}

/* Take what the record names out of z[n], which is [row, row + n) of the vocabulary. */
static void gather(float *kept, float *z, const bl_logits_sparse *r, int64_t target, uint64_t row,
                   size_t n)
{
    const uint32_t n_places = r->n_top + r->n_samples;

    if (target >= (int64_t)row && target < (int64_t)(row + n))
        kept[n_places] = z[(uint64_t)target - row];
    for (uint32_t i = 0; i < n_places; i++) {
        if (r->id[i] < row || r->id[i] >= row + n)
            continue;
        kept[i] = z[r->id[i] - row];
        if (i < r->n_top)
            z[r->id[i] - row] = left_out;
    }
}

bl_status bl_logit_compare_add(void *context, size_t token, size_t n_tokens, uint64_t row,
                               uint64_t n_rows, const float *const *logits, struct bl_err *err)
{
    bl_logit_compare *c = context;
    bl_status rc = BL_OK;
    float z[CHUNK];
    const float *const others = z;

    for (size_t t = 0; t < n_tokens; t++) {
        size_t i = token + t;

        for (uint64_t at = 0; at < n_rows && rc == BL_OK; at += CHUNK) {
            size_t n = (size_t)bl_min_u64(CHUNK, n_rows - at);

            memcpy(z, logits[0] + t * n_rows + at, n * sizeof(*z));
            gather(c->z + i * (c->n_places + 1), z, &c->record[i], c->tail.target[i], row + at, n);
            rc = bl_logit_stats_add(&c->tail, i, 1, row + at, n, &others, err);
        }
    }
    return rc;
}

/* The tested model's probabilities. */
struct tested {
    double lse;       /* of the whole vocabulary */
    double q_tail;    /* of the tail */
    double ln_q_tail; /* the same, without what is left out */
    uint32_t argmax;  /* of the whole vocabulary */
    bool without_top; /* the tail's likeliest token is left out */
};

static struct tested tested_of(const bl_logits_sparse *r, const bl_logit_sum *tail, const float *z)
{
    const bool has_tail = r->n_samples > 0;
    struct tested t = { .argmax = has_tail ? tail->argmax : r->id[0] };
    float max = has_tail ? tail->max : z[0];
    double sum, q_max;

    for (uint32_t i = 0; i < r->n_top; i++) {
        if (z[i] > max || (z[i] == max && r->id[i] < t.argmax))
            t.argmax = r->id[i];
        max = fmaxf(max, z[i]);
    }
    sum = has_tail ? tail->sum * exp((double)tail->max - (double)max) : 0;
    for (uint32_t i = 0; i < r->n_top; i++)
        sum += exp((double)z[i] - (double)max);
    t.lse = log(sum) + (double)max;
    if (!has_tail)
        return t;
    t.ln_q_tail = log(tail->sum) + (double)tail->max - t.lse;
    t.q_tail = exp(t.ln_q_tail);
    /* the tail's largest e^x is 1: as a part of P, is it far more than any p there? */
    q_max = (double)r->tail / tail->sum;
    if (q_max > far * exp((double)r->log_p[r->n_top - 1]) && tail->sum - 1 > 1e-9) {
        t.without_top = true;
        t.ln_q_tail = log(tail->sum - 1) + (double)tail->max - t.lse;
    }
    return t;
}

/* p ln(p/q) - p + q */
static double divergence(double ln_p, double ln_q)
{
    return exp(ln_p) * (ln_p - ln_q) - exp(ln_p) + exp(ln_q);
}

/* The sample's estimate of the last sum of logit_compare.h. */
static void add_sample(bl_logit_verdict *v, const bl_logits_sparse *r, const struct tested *t,
                       const bl_logit_sum *tail, const float *z)
{
    const double ln_ratio = log((double)r->tail) - t->ln_q_tail;
    const double threshold = exp((double)r->ln_threshold);

    for (uint32_t i = r->n_top; i < r->n_top + r->n_samples; i++) {
        double ln_p = (double)r->log_p[i], p = exp(ln_p);
        double d = ln_p - ((double)z[i] - t->lse) - ln_ratio; /* ln(p/q') */
        bool alone = t->without_top && r->id[i] == tail->argmax;
        double f = d - 1 + (alone ? 0 : exp(-d)); /* over p */

        v->kl += fmax(p, threshold) * f;
        v->kl_variance += f * f * threshold * fmax(threshold - p, 0);
    }
}

bl_logit_verdict bl_logit_compare_verdict(const bl_logit_compare *compare, size_t token)
{
    const bl_logits_sparse *r = &compare->record[token];
    const bl_logit_sum *tail = &compare->tail.token[token];
    const float *z = compare->z + token * (compare->n_places + 1);
    const struct tested t = tested_of(r, tail, z);
    bl_logit_verdict v = { .nll_base = -(double)r->target,
                           .nll = t.lse - (double)z[compare->n_places],
                           .same_top = t.argmax == r->id[0] };

    for (uint32_t i = 0; i < r->n_top; i++)
        v.kl += divergence((double)r->log_p[i], (double)z[i] - t.lse);
    v.kl += t.q_tail - (double)r->tail;
    if (r->tail > 0) {
        v.kl += (double)r->tail * (log((double)r->tail) - t.ln_q_tail);
        add_sample(&v, r, &t, tail, z);
    }
    return v;
}
