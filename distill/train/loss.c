/* loss.c - see loss.h. Sums over the vocabulary are in double, in lanes of a fixed order. */
#include "distill/train/loss.h"

#include "base/clones.h"
#include "model/op_exp.h"
#include "model/op_softmax.h"

#include <math.h>

enum { N_LANES = 8 };

/* sum of a[i] (x[i] - y[i]). */
BL_CLONES
static double weighted_difference(const bl_real *a, const bl_real *x, const bl_real *y, size_t n)
{
    double lane[N_LANES] = { 0 }, sum = 0;
    size_t i = 0;

    for (; i + N_LANES <= n; i += N_LANES)
        for (size_t j = 0; j < N_LANES; j++)
            lane[j] += (double)a[i + j] * (double)(x[i + j] - y[i + j]);
    for (; i < n; i++)
        lane[i % N_LANES] += (double)a[i] * (double)(x[i] - y[i]);
    for (size_t j = 0; j < N_LANES; j++)
        sum += lane[j];
    return sum;
}

BL_CLONES
static double exponentials(bl_real *e, const bl_real *x, size_t n, bl_real top, bl_real inverse)
{
    double lane[N_LANES] = { 0 }, sum = 0;
    size_t i = 0;

    for (size_t j = 0; j < n; j++)
        e[j] = bl_exp((x[j] - top) * inverse);
    for (; i + N_LANES <= n; i += N_LANES)
        for (size_t j = 0; j < N_LANES; j++)
            lane[j] += (double)e[i + j];
    for (; i < n; i++)
        lane[i % N_LANES] += (double)e[i];
    for (size_t j = 0; j < N_LANES; j++)
        sum += lane[j];
    return sum;
}

BL_CLONES
static void scale(bl_real *x, size_t n, bl_real factor)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

/* p = softmax(x / T); returns the log-sum-exp of x / T. */
static double softmax(bl_real *p, const bl_real *x, size_t n, double inverse)
{
    const bl_real top = bl_largest(x, n);
    const double sum = exponentials(p, x, n, top, (bl_real)inverse);

    scale(p, n, (bl_real)(1.0 / sum));
    return (double)top * inverse + log(sum);
}

/* One token at work. */
struct token {
    bl_real *z, *p, *t; /* [n]: logits; softmax(z / T); softmax(u / T) */
    size_t n;
    const bl_loss_target *target;
    double inverse; /* 1 / T */
    double lse;     /* of z / T */
    double factor;  /* kd * T: what a gradient in z is multiplied by */
};

/* z = factor * (share * p): the part of a gradient that every id has. */
BL_CLONES
static void set_share(bl_real *z, const bl_real *p, size_t n, bl_real share)
{
    for (size_t i = 0; i < n; i++)
        z[i] = share * p[i];
}

static double entries_divergence(const struct token *k, bool bucket)
{
    const bl_loss_target *t = k->target;
    double sum = 0, kept = 0, own = 0, cross = 0, tail = 0, rest;

    for (size_t i = 0; i < t->n; i++) {
        const double w = (double)t->weight[i];

        sum += w;
        kept += (double)k->p[t->id[i]];
        own += w > 0 ? w * log(w) : 0;
        cross -= w * ((double)k->z[t->id[i]] * k->inverse - k->lse);
    }
    rest = fmax(1 - kept, 1e-6);
    if (bucket) {
        tail = t->tail;
        own += tail > 0 ? tail * log(tail) : 0;
        cross -= tail * log(rest);
    }
    set_share(k->z, k->p, k->n, (bl_real)(k->factor * (sum - tail * kept / rest)));
    for (size_t i = 0; i < t->n; i++) {
        const double p = (double)k->p[t->id[i]];

        k->z[t->id[i]] += (bl_real)(k->factor * (tail * p / rest - (double)t->weight[i]));
    }
    return cross + (isnan(t->entropy) ? own : -t->entropy);
}

BL_CLONES
static void set_forward(bl_real *z, const bl_real *p, const bl_real *t, size_t n, bl_real factor)
{
    for (size_t i = 0; i < n; i++)
        z[i] = factor * (p[i] - t[i]);
}

/* z = factor p (z / T - u / T - shift) */
BL_CLONES
static void set_reverse(bl_real *z, const bl_real *p, const bl_real *u, size_t n, bl_real inverse,
                        bl_real shift, bl_real factor)
{
    for (size_t i = 0; i < n; i++)
        z[i] = factor * p[i] * ((z[i] - u[i]) * inverse - shift);
}

static double jensen_shannon(const struct token *k, double lse_teacher, double beta)
{
    const bl_real *u = k->target->teacher;
    double from_teacher = 0, from_student = 0;

    for (size_t i = 0; i < k->n; i++) {
        const double p = (double)k->p[i], t = (double)k->t[i];
        const double ln_p = (double)k->z[i] * k->inverse - k->lse;
        const double ln_t = (double)u[i] * k->inverse - lse_teacher;
        const double m = beta * t + (1 - beta) * p, ln_m = m > 0 ? log(m) : ln_p;

        from_teacher += t * (ln_t - ln_m);
        from_student += p * (ln_p - ln_m);
        k->z[i] = (bl_real)(ln_p - ln_m);
    }
    for (size_t i = 0; i < k->n; i++)
        k->z[i] = (bl_real)(k->factor * (1 - beta)) * k->p[i] * (k->z[i] - (bl_real)from_student);
    return beta * from_teacher + (1 - beta) * from_student;
}

static double whole_divergence(const struct token *k, const bl_distill_loss *loss)
{
    const bl_real *u = k->target->teacher;
    const double lse = softmax(k->t, u, k->n, k->inverse);
    double d;

    if (loss->kind == BL_JSD)
        return jensen_shannon(k, lse, loss->beta);
    if (loss->kind == BL_REVERSE_KL) {
        d = weighted_difference(k->p, k->z, u, k->n) * k->inverse - k->lse + lse;
        set_reverse(k->z, k->p, u, k->n, (bl_real)k->inverse, (bl_real)(k->lse - lse + d),
                    (bl_real)k->factor);
        return d;
    }
    d = weighted_difference(k->t, u, k->z, k->n) * k->inverse - lse + k->lse;
    set_forward(k->z, k->p, k->t, k->n, (bl_real)k->factor);
    return d;
}

BL_CLONES
static void add_share(bl_real *z, const bl_real *p, size_t n, bl_real share)
{
    for (size_t i = 0; i < n; i++)
        z[i] += share * p[i];
}

bl_loss_value bl_loss_token(bl_real *z, size_t n_vocab, const bl_distill_loss *loss,
                            const bl_loss_target *target, bl_real *scratch)
{
    const double temperature = loss->temperature > 0 ? loss->temperature : 1;
    bl_real *p = scratch; /* at temperature 1, for the cross-entropy */
    bl_loss_value v = { 0 };
    struct token k = { .z = z,
                       .p = p,
                       .t = p + n_vocab,
                       .n = n_vocab,
                       .target = target,
                       .inverse = 1 / temperature,
                       .lse = softmax(p, z, n_vocab, 1),
                       .factor = loss->kd * temperature };

    v.ce = k.lse - (double)z[target->target];
    if (temperature != 1 && loss->kd > 0) {
        k.p = p + 2 * n_vocab;
        k.lse = softmax(k.p, z, n_vocab, k.inverse);
    }
    if (loss->kd > 0)
        v.kd = target->teacher ? whole_divergence(&k, loss) : entries_divergence(&k, loss->bucket);
    else
        set_share(z, p, n_vocab, 0);
    if (loss->ce > 0) {
        add_share(z, p, n_vocab, (bl_real)loss->ce);
        z[target->target] -= (bl_real)loss->ce;
    }
    v.loss = loss->kd * temperature * temperature * v.kd + loss->ce * v.ce;
    return v;
}
