/*
 * adamw.c - one pass over gradient, moments and weights: memory traffic is all that it costs.
 * BF16 weights pass through a block of F32 that stays in the cache.
 */
#include "distill/train/adamw.h"

#include "base/alloc.h"
#include "base/clones.h"
#include "base/par.h"
#include "base/size.h"
#include "distill/counter.h"
#include "formats/dtype/float_bits.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { CHUNK_VALUES = 1 << 16, BLOCK_VALUES = 1024, LANES = 16 };

struct chunk {
    size_t parameter;
    uint64_t first; /* value of the parameter */
    size_t n;
};

struct bl_adamw {
    bl_parameter *const *parameter;
    size_t n_parameters;
    uint64_t *base; /* [n_parameters] number of a parameter's first value among all */
    float *m, *v;   /* [n_values] */
    uint64_t n_values;
    struct chunk *chunk;
    size_t n_chunks;
    double *sum; /* [n_chunks] */
};

static uint64_t count_values(const bl_parameter *p)
{
    return p->n_rows * p->n_cols; /* they are in memory, so it does not overflow */
}

static void cut_chunks(bl_adamw *a)
{
    size_t k = 0;

    for (size_t i = 0; i < a->n_parameters; i++) {
        const uint64_t n = count_values(a->parameter[i]);

        for (uint64_t at = 0; at < n; at += CHUNK_VALUES)
            a->chunk[k++] = (struct chunk){ i, at, (size_t)bl_min_u64(n - at, CHUNK_VALUES) };
    }
    assert(k == a->n_chunks);
}

bl_status bl_adamw_new(bl_adamw **out, bl_parameter *const *parameter, size_t n_parameters,
                       struct bl_err *err)
{
    bl_adamw *a = bl_calloc(1, sizeof(*a));

    if (!a)
        return bl_fail_nomem(err, "the optimizer");
    a->parameter = parameter;
    a->n_parameters = n_parameters;
    a->base = bl_calloc(n_parameters, sizeof(*a->base));
    for (size_t i = 0; a->base && i < n_parameters; i++) {
        a->base[i] = a->n_values;
        a->n_values += count_values(parameter[i]);
        a->n_chunks += (size_t)bl_ceil_div_u64(count_values(parameter[i]), CHUNK_VALUES);
    }
    a->m = bl_calloc(a->n_values, sizeof(*a->m));
    a->v = bl_calloc(a->n_values, sizeof(*a->v));
    a->chunk = bl_calloc(a->n_chunks, sizeof(*a->chunk));
    a->sum = bl_calloc(a->n_chunks, sizeof(*a->sum));
    if (!a->base || !a->m || !a->v || !a->chunk || !a->sum) {
        bl_adamw_free(a);
        return bl_fail_nomem(err, "the optimizer's moments, 8 bytes a parameter");
    }
    cut_chunks(a);
    *out = a;
    return BL_OK;
}

void bl_adamw_free(bl_adamw *a)
{
    if (!a)
        return;
    bl_free(a->base);
    bl_free(a->m);
    bl_free(a->v);
    bl_free(a->chunk);
    bl_free(a->sum);
    bl_free(a);
}

float *bl_adamw_m(bl_adamw *a, size_t i)
{
    return a->m + a->base[i];
}

float *bl_adamw_v(bl_adamw *a, size_t i)
{
    return a->v + a->base[i];
}

void bl_adamw_zero_gradients(bl_adamw *a)
{
    for (size_t i = 0; i < a->n_parameters; i++)
        memset(a->parameter[i]->grad, 0, (size_t)count_values(a->parameter[i]) * sizeof(float));
}

/* Sixteen sums side by side, and their tree: the same for every width of vector. */
BL_CLONES
static double sum_squares(const float *x, size_t n)
{
    double lane[LANES] = { 0 };
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] += (double)x[i + k] * (double)x[i + k];
    for (size_t k = 0; i + k < n; k++)
        lane[k] += (double)x[i + k] * (double)x[i + k];
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t k = 0; k < half; k++)
            lane[k] += lane[k + half];
    return lane[0];
}

static bl_status sum_chunk(void *context, size_t i, int i_thread, struct bl_err *err)
{
    bl_adamw *a = context;
    const struct chunk *c = &a->chunk[i];
    const bl_parameter *p = a->parameter[c->parameter];

    (void)i_thread;
    a->sum[i] = sum_squares(p->grad + c->first, c->n);
    if (!isfinite(a->sum[i]))
        return bl_fail(err, BL_E_MISMATCH, "the gradient of tensor '%s' is not finite", p->name);
    return BL_OK;
}

bl_status bl_adamw_norm(double *out, bl_adamw *a, int n_threads, struct bl_err *err)
{
    double sum = 0;
    bl_status rc = bl_par_for(a->n_chunks, n_threads, sum_chunk, a, err);

    if (rc != BL_OK)
        return rc;
    for (size_t i = 0; i < a->n_chunks; i++)
        sum += a->sum[i];
    *out = sqrt(sum);
    return BL_OK;
}

/* A step's numbers as the loop wants them. */
struct factors {
    float gradient, keep, one_minus_beta1, beta2, one_minus_beta2, root_correction, eps, rate;
};

BL_CLONES
static void update_values(float *w, float *m, float *v, const float *g, size_t n,
                          const struct factors *f)
{
    const struct factors k = *f;

    for (size_t i = 0; i < n; i++) {
        const float gi = g[i] * k.gradient;
        const float mi = m[i] + k.one_minus_beta1 * (gi - m[i]);
        const float vi = k.beta2 * v[i] + k.one_minus_beta2 * gi * gi;

        m[i] = mi;
        v[i] = vi;
        w[i] = k.keep * w[i] - k.rate * (mi / (sqrtf(vi) / k.root_correction + k.eps));
    }
}

/*
 * The random number is added below the last place that stays, and may carry into it. What is infinite
 * or NaN stays so, and the largest finite value does not become infinite.
 */
uint16_t bl_adamw_round_bf16(float x, uint64_t random)
{
    const uint32_t bits = bl_bits_from_f32(x);
    const uint32_t rounded = (bits + (uint32_t)(random & 0xffff)) >> 16;

    if ((bits & 0x7f800000u) == 0x7f800000u)
        return bl_bf16_from_f32(x);
    return (uint16_t)((rounded & 0x7f80u) == 0x7f80u ? bits >> 16 : rounded);
}

struct update {
    bl_adamw *a;
    struct factors with_decay, without;
    uint64_t key;
};

static void update_bf16(uint16_t *w, float *m, float *v, const float *g, size_t n,
                        const struct factors *f, uint64_t key, uint64_t index)
{
    float block[BLOCK_VALUES];

    for (size_t at = 0; at < n; at += BLOCK_VALUES) {
        const size_t n_block = n - at < BLOCK_VALUES ? n - at : BLOCK_VALUES;

        for (size_t i = 0; i < n_block; i++)
            block[i] = bl_f32_from_bf16(w[at + i]);
        update_values(block, m + at, v + at, g + at, n_block, f);
        for (size_t i = 0; i < n_block; i++)
            w[at + i] = bl_adamw_round_bf16(block[i], bl_counter_at(key, index + at + i) >> 48);
    }
}

static bl_status update_chunk(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct update *u = context;
    const bl_adamw *a = u->a;
    const struct chunk *c = &a->chunk[i];
    const bl_parameter *p = a->parameter[c->parameter];
    const struct factors *f = p->decays ? &u->with_decay : &u->without;
    const uint64_t index = a->base[c->parameter] + c->first;

    (void)i_thread, (void)err;
    if (p->bf16)
        update_bf16(p->bf16 + c->first, a->m + index, a->v + index, p->grad + c->first, c->n, f,
                    u->key, index);
    else
        update_values(p->value + c->first, a->m + index, a->v + index, p->grad + c->first, c->n, f);
    return BL_OK;
}

bl_status bl_adamw_update(bl_adamw *a, const bl_adamw_step *s, int n_threads, struct bl_err *err)
{
    struct update u = { .a = a, .key = bl_counter_key(s->seed, s->t) };

    assert(s->t > 0);
    u.without = (struct factors){ .gradient = (float)s->gradient_scale,
                                  .keep = 1,
                                  .one_minus_beta1 = (float)(1 - s->beta1),
                                  .beta2 = (float)s->beta2,
                                  .one_minus_beta2 = (float)(1 - s->beta2),
                                  .root_correction = (float)sqrt(1 - pow(s->beta2, (double)s->t)),
                                  .eps = (float)s->eps,
                                  .rate = (float)(s->lr / (1 - pow(s->beta1, (double)s->t))) };
    u.with_decay = u.without;
    u.with_decay.keep = (float)(1 - s->lr * s->weight_decay);
    return bl_par_for(a->n_chunks, n_threads, update_chunk, &u, err);
}
