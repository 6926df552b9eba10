/* diagnose.c - see diagnose.h. */
#include "verify/diagnose.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/size.h"
#include "model/slab.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum {
    SAMPLE_ROWS = 4,      /* of a tensor that may be another one */
    N_PROBES = 16,        /* rows that are looked for in the reference */
    MAX_VALUES = 1 << 28, /* of a tensor whose rows are looked for */
};

static const double alike = 0.9;  /* cosine of two samples of the same values, quantized or not */
static const double unlike = 0.5; /* cosine below which values are somebody else's */
static const double rounding = 0.01; /* relative RMS error of a cast to 8 bits or more: no news */
static const double row_error = 0.5; /* relative RMS error of a row that has moved */

struct pair {
    const bl_ckpt *ref, *test;
    const bl_tensor *a, *b; /* of ref and of test */
};

static double dot(const float *x, const float *y, size_t n)
{
    bl_metrics_sums sums = { 0 };

    bl_metrics_add(&sums, x, y, n);
    return sums.dot;
}

static double cosine(const float *x, const float *y, size_t n)
{
    double norms = dot(x, x, n) * dot(y, y, n);

    return norms > 0 ? dot(x, y, n) / sqrt(norms) : 0;
}

/* What follows "layers.<n>." in a name; the whole name where that is not in it. */
static const char *behind_layer(const char *name)
{
    static const char mark[] = "layers.";
    const char *at = strstr(name, mark);

    if (!at)
        return name;
    at += sizeof(mark) - 1;
    return at + strspn(at, "0123456789");
}

/* Siblings in the layer, and the same tensor of other layers. */
static bool may_stand_for(const bl_tensor *t, const bl_tensor *other)
{
    if (t == other || t->role != other->role || t->ndim != other->ndim ||
        memcmp(t->dim, other->dim, t->ndim * sizeof(t->dim[0])) != 0)
        return false;
    return t->layer == other->layer ||
           strcmp(behind_layer(t->name), behind_layer(other->name)) == 0;
}

/* How much a sample of the first rows of `t` is like x. place: as large as x. */
static bl_status compare_sample(double *out, const bl_ckpt *ckpt, const bl_tensor *t,
                                const float *x, float *place, struct bl_err *err)
{
    uint64_t rows = bl_min_u64(SAMPLE_ROWS, t->n_rows);
    bl_status rc = bl_ckpt_read_rows(ckpt, t, 0, rows, place, err);

    if (rc == BL_OK)
        *out = cosine(x, place, (size_t)(rows * t->n_cols));
    return rc;
}

/* The tensor of the reference whose first rows are those of b. */
static bl_status find_other(const bl_tensor **out, const struct pair *p, const float *x,
                            float *place, struct bl_err *err)
{
    double best = alike;
    bl_status rc = BL_OK;

    *out = NULL;
    for (size_t i = 0; i < bl_ckpt_n_tensors(p->ref) && rc == BL_OK; i++) {
        const bl_tensor *t = bl_ckpt_tensor(p->ref, i);
        double c = 0;

        if (!may_stand_for(p->a, t))
            continue;
        rc = compare_sample(&c, p->ref, t, x, place, err);
        if (rc == BL_OK && c > best) {
            best = c;
            *out = t;
        }
    }
    return rc;
}

/* Whether test has a's values under the name of `other`. x is overwritten. */
static bl_status is_mutual(bool *out, const struct pair *p, const bl_tensor *other, float *x,
                           float *place, struct bl_err *err)
{
    const bl_tensor *t = bl_ckpt_find(p->test, other->name);
    double c = 0;
    bl_status rc;

    *out = false;
    if (!t || t->n_rows != p->a->n_rows || t->n_cols != p->a->n_cols)
        return BL_OK;
    rc = bl_ckpt_read_rows(p->ref, p->a, 0, bl_min_u64(SAMPLE_ROWS, p->a->n_rows), x, err);
    if (rc == BL_OK)
        rc = compare_sample(&c, p->test, t, x, place, err);
    *out = c > alike;
    return rc;
}

static bl_status look_for_another(bl_diagnosis *out, const struct pair *p, struct bl_err *err)
{
    uint64_t rows = bl_min_u64(SAMPLE_ROWS, p->b->n_rows);
    size_t n = (size_t)(rows * p->b->n_cols);
    float *x = bl_alloc(n, 2 * sizeof(*x));
    const bl_tensor *other = NULL;
    bool mutual = false;
    bl_status rc =
        x ? bl_ckpt_read_rows(p->test, p->b, 0, rows, x, err) : bl_fail_nomem(err, p->b->name);

    if (rc == BL_OK)
        rc = find_other(&other, p, x, x + n, err);
    if (rc == BL_OK && other)
        rc = is_mutual(&mutual, p, other, x, x + n, err);
    if (rc == BL_OK && other) {
        out->kind = mutual ? BL_DIAGNOSIS_EXCHANGED : BL_DIAGNOSIS_COPY;
        out->other = other;
    }
    bl_free(x);
    return rc;
}

/* Rows of b that are far from the same rows of a. */
struct probes {
    uint64_t n_far; /* in all */
    size_t n;       /* kept: every so many of them, so that they lie over the whole tensor */
    uint64_t stride;
    uint64_t row[N_PROBES];
    double best[N_PROBES];
    uint64_t found[N_PROBES]; /* the row of a that is most like it */
    float *values;            /* [N_PROBES][n_cols] */
};

/* When the places are full, every second probe goes and the stride doubles. */
static void keep_probe(struct probes *p, uint64_t row, const float *values, size_t n_cols)
{
    if (p->n_far++ % p->stride != 0)
        return;
    if (p->n == N_PROBES) {
        for (size_t i = 0; i < N_PROBES / 2; i++) {
            p->row[i] = p->row[2 * i];
            memcpy(p->values + i * n_cols, p->values + 2 * i * n_cols, n_cols * sizeof(float));
        }
        p->n = N_PROBES / 2;
        p->stride *= 2;
    }
    p->row[p->n] = row;
    memcpy(p->values + p->n * n_cols, values, n_cols * sizeof(float));
    p->n++;
}

static void find_far_rows(struct probes *probes, uint64_t row, uint64_t n_rows, const float *a,
                          const float *b, size_t n_cols)
{
    for (uint64_t i = 0; i < n_rows; i++) {
        bl_metrics_sums sums = { 0 };

        bl_metrics_add(&sums, a + i * n_cols, b + i * n_cols, n_cols);
        if (sums.diff2 > row_error * row_error * sums.ref2)
            keep_probe(probes, row + i, b + i * n_cols, n_cols);
    }
}

static void match_rows(struct probes *probes, uint64_t row, uint64_t n_rows, const float *a,
                       size_t n_cols)
{
    for (size_t k = 0; k < probes->n; k++)
        for (uint64_t i = 0; i < n_rows; i++) {
            double c = cosine(probes->values + k * n_cols, a + i * n_cols, n_cols);

            if (c > probes->best[k]) {
                probes->best[k] = c;
                probes->found[k] = row + i;
            }
        }
}

/* Read a (and, while probes are chosen, b) piece by piece. */
static bl_status walk_rows(struct probes *probes, const struct pair *p, bool choosing, float *place,
                           uint64_t piece_rows, struct bl_err *err)
{
    size_t n_cols = (size_t)p->a->n_cols;
    float *b = place + piece_rows * n_cols;
    bl_status rc = BL_OK;

    for (uint64_t row = 0; row < p->a->n_rows && rc == BL_OK; row += piece_rows) {
        uint64_t n = bl_min_u64(piece_rows, p->a->n_rows - row);

        rc = bl_cancel_check(err);
        if (rc == BL_OK)
            rc = bl_ckpt_read_rows(p->ref, p->a, row, n, place, err);
        if (rc == BL_OK && choosing)
            rc = bl_ckpt_read_rows(p->test, p->b, row, n, b, err);
        if (rc == BL_OK && choosing)
            find_far_rows(probes, row, n, place, b, n_cols);
        else if (rc == BL_OK)
            match_rows(probes, row, n, place, n_cols);
    }
    return rc;
}

/* Three of four rows that are wrong here are right elsewhere: they have moved. */
static bl_status look_for_moved_rows(bl_diagnosis *out, const struct pair *p, struct bl_err *err)
{
    uint64_t rows = bl_min_u64(bl_slab_piece_rows(p->a), p->a->n_rows);
    size_t n_cols = (size_t)p->a->n_cols, n_moved = 0;
    struct probes probes = { .stride = 1 };
    float *place = bl_alloc(2 * (size_t)rows, n_cols * sizeof(*place));
    bl_status rc = BL_OK;

    probes.values = bl_alloc(N_PROBES, n_cols * sizeof(*probes.values));
    if (!place || !probes.values)
        rc = bl_fail_nomem(err, p->a->name);
    if (rc == BL_OK)
        rc = walk_rows(&probes, p, true, place, rows, err);
    if (rc == BL_OK && probes.n > 0)
        rc = walk_rows(&probes, p, false, place, rows, err);
    for (size_t k = 0; k < probes.n; k++)
        n_moved += probes.best[k] > alike && probes.found[k] != probes.row[k];
    if (rc == BL_OK && probes.n > 1 && 4 * n_moved >= 3 * probes.n)
        out->kind = BL_DIAGNOSIS_ROWS;
    bl_free(place);
    bl_free(probes.values);
    return rc;
}

bl_status bl_diagnose(bl_diagnosis *out, const bl_ckpt *ref, const bl_tensor *a,
                      const bl_ckpt *test, const bl_tensor *b, const bl_metrics *m,
                      struct bl_err *err)
{
    const struct pair p = { ref, test, a, b };
    double off = fabs(m->factor - 1);
    bl_status rc = BL_OK;

    *out = (bl_diagnosis){ .factor = m->factor,
                           .n_different = m->n_different,
                           .n_values = a->n_values };
    if (m->identical || !isfinite(m->rel_rms))
        return BL_OK;
    if (m->test_is_zero)
        out->kind = BL_DIAGNOSIS_ZERO;
    else if (off > 1e-4 && off >= 0.9 * m->rel_rms && fabs(m->cosine) > alike)
        out->kind = BL_DIAGNOSIS_SCALED;
    if (out->kind != BL_DIAGNOSIS_NONE)
        return BL_OK;
    if (m->cosine < unlike)
        rc = look_for_another(out, &p, err);
    if (rc == BL_OK && out->kind == BL_DIAGNOSIS_NONE && m->rel_rms > row_error / 2 &&
        a->n_rows > 1 && a->n_values <= MAX_VALUES)
        rc = look_for_moved_rows(out, &p, err);
    if (rc == BL_OK && out->kind == BL_DIAGNOSIS_NONE && m->n_different <= a->n_values / 2 &&
        m->rel_rms > rounding)
        out->kind = BL_DIAGNOSIS_FEW;
    return rc;
}

void bl_diagnosis_put(bl_text *out, const bl_diagnosis *d)
{
    switch (d->kind) {
    case BL_DIAGNOSIS_NONE:
        break;
    case BL_DIAGNOSIS_ZERO:
        bl_text_puts(out, "is all zeros");
        break;
    case BL_DIAGNOSIS_SCALED:
        bl_text_printf(out, "looks scaled by %.4g", d->factor);
        break;
    case BL_DIAGNOSIS_FEW:
        bl_text_printf(out, "%" PRIu64 " of %" PRIu64 " values differ", d->n_different,
                       d->n_values);
        break;
    case BL_DIAGNOSIS_EXCHANGED:
        bl_text_puts(out, "looks exchanged with ");
        bl_text_put_name(out, d->other->name);
        break;
    case BL_DIAGNOSIS_COPY:
        bl_text_puts(out, "looks like a copy of ");
        bl_text_put_name(out, d->other->name);
        break;
    case BL_DIAGNOSIS_ROWS:
        bl_text_puts(out, "looks like the reference with its rows in another order");
        break;
    }
}
