/*
 * compare.c - see compare.h. Pieces (about 1 MiB of F32, twice per thread) are cut by the tensors,
 * never by threads.
 */
#include "verify/compare.h"

#include "base/alloc.h"
#include "base/par.h"
#include "base/size.h"
#include "model/slab.h"

#include <stdlib.h>
#include <string.h>

struct pieces {
    const bl_ckpt *ref, *test;
    const bl_compared *pair;
    uint64_t piece_rows;
    float *values;         /* [n_threads][2][piece_rows * n_cols] */
    bl_metrics_sums *sums; /* [n_pieces] */
};

static bool same_shape(const bl_tensor *a, const bl_tensor *b)
{
    return a->ndim == b->ndim && memcmp(a->dim, b->dim, a->ndim * sizeof(a->dim[0])) == 0;
}

static bl_status compare_piece(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct pieces *p = context;
    const bl_tensor *ref = p->pair->ref, *test = p->pair->test;
    uint64_t row = i * p->piece_rows, n = bl_min_u64(p->piece_rows, ref->n_rows - row);
    size_t place = (size_t)(p->piece_rows * ref->n_cols);
    float *a = p->values + (size_t)i_thread * 2 * place, *b = a + place;
    bl_status rc = bl_ckpt_read_rows(p->ref, ref, row, n, a, err);

    if (rc == BL_OK)
        rc = bl_ckpt_read_rows(p->test, test, row, n, b, err);
    if (rc == BL_OK)
        bl_metrics_add(&p->sums[i], a, b, (size_t)(n * ref->n_cols));
    return rc;
}

static bl_status compare_tensor(bl_metrics_sums *sums, const bl_ckpt *ref, const bl_ckpt *test,
                                const bl_compared *pair, int n_threads, struct bl_err *err)
{
    uint64_t rows =
        bl_min_u64(bl_max_u64(bl_slab_piece_rows(pair->ref), bl_slab_piece_rows(pair->test)),
                   bl_max_u64(pair->ref->n_rows, 1));
    size_t n_pieces = (size_t)bl_ceil_div_u64(pair->ref->n_rows, rows);
    struct pieces p = { .ref = ref, .test = test, .pair = pair, .piece_rows = rows };
    bl_status rc;

    p.values = bl_alloc((size_t)n_threads * 2, (size_t)(rows * pair->ref->n_cols) * sizeof(float));
    p.sums = bl_calloc(n_pieces, sizeof(*p.sums));
    rc = p.values && p.sums ? bl_par_for(n_pieces, n_threads, compare_piece, &p, err)
                            : bl_fail_nomem(err, pair->ref->name);
    for (size_t i = 0; i < n_pieces && rc == BL_OK; i++)
        bl_metrics_merge(sums, &p.sums[i]);
    bl_free(p.values);
    bl_free(p.sums);
    return rc;
}

static int compare_worst_first(const void *a, const void *b)
{
    const bl_compared *x = a, *y = b;

    if (x->metrics.rel_rms != y->metrics.rel_rms)
        return x->metrics.rel_rms < y->metrics.rel_rms ? 1 : -1;
    return strcmp(x->ref->name, y->ref->name);
}

static bl_status allocate(bl_comparison *c, size_t n_ref, size_t n_test, struct bl_err *err)
{
    c->compared = bl_alloc(n_ref, sizeof(*c->compared));
    c->reshaped = bl_alloc(n_ref, sizeof(*c->reshaped));
    c->missing = bl_alloc(n_ref, sizeof(*c->missing));
    c->mtp_only = bl_alloc(n_ref + n_test, sizeof(*c->mtp_only));
    c->extra = bl_alloc(n_test, sizeof(*c->extra));
    c->damaged = bl_alloc(n_ref, sizeof(*c->damaged));
    if (!c->damaged || !c->compared || !c->reshaped || !c->missing || !c->mtp_only || !c->extra)
        return bl_fail_nomem(err, "comparison");
    return BL_OK;
}

/* Put every tensor of either checkpoint into its list. */
static void match_tensors(bl_comparison *c, const bl_ckpt *ref, const bl_ckpt *test)
{
    for (size_t i = 0; i < bl_ckpt_n_tensors(ref); i++) {
        const bl_tensor *a = bl_ckpt_tensor(ref, i), *b = bl_ckpt_find(test, a->name);
        const bl_compared pair = { .ref = a, .test = b };

        if (!b && a->is_mtp)
            c->mtp_only[c->n_mtp_only++] = a;
        else if (!b)
            c->missing[c->n_missing++] = a;
        else if (!same_shape(a, b))
            c->reshaped[c->n_reshaped++] = pair;
        else
            c->compared[c->n_compared++] = pair;
    }
    for (size_t i = 0; i < bl_ckpt_n_tensors(test); i++) {
        const bl_tensor *b = bl_ckpt_tensor(test, i);

        if (bl_ckpt_find(ref, b->name))
            continue;
        if (b->is_mtp)
            c->mtp_only[c->n_mtp_only++] = b;
        else
            c->extra[c->n_extra++] = b;
    }
}

/* A tensor that cannot be decoded says so, and the others are compared. */
static bl_status compare_all(bl_comparison *c, const bl_ckpt *ref, const bl_ckpt *test,
                             const bl_compare_options *options, struct bl_err *err)
{
    bl_metrics_sums all = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < c->n_compared; i++) {
        bl_compared *t = &c->compared[i];
        bl_metrics_sums sums = { 0 };
        struct bl_err here = { 0 };
        bl_status rc = compare_tensor(&sums, ref, test, t, options->n_threads, &here);

        bl_progress_add(options->progress, t->ref->n_bytes);
        if (rc == BL_E_FORMAT || rc == BL_E_MISMATCH) {
            c->damaged[c->n_damaged] = bl_strdup(here.text);
            if (!c->damaged[c->n_damaged])
                return bl_fail_nomem(err, t->ref->name);
            c->n_damaged++;
            continue;
        }
        if (rc != BL_OK) {
            if (err)
                *err = here;
            return rc;
        }
        t->metrics = bl_metrics_finish(&sums);
        c->n_identical += t->metrics.identical;
        bl_metrics_merge(&all, &sums);
        c->compared[n++] = *t;
    }
    c->n_compared = n;
    c->all = bl_metrics_finish(&all);
    return BL_OK;
}

/* Only the worst few: a broken checkpoint of many experts must not cost a read of all pairs. */
static bl_status diagnose_worst(bl_comparison *c, const bl_ckpt *ref, const bl_ckpt *test,
                                struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t i = 0; i < c->n_compared && i < BL_COMPARE_N_DIAGNOSED && rc == BL_OK; i++) {
        bl_compared *t = &c->compared[i];

        rc = bl_diagnose(&t->diagnosis, ref, t->ref, test, t->test, &t->metrics, err);
    }
    return rc;
}

bl_status bl_compare_run(bl_comparison *out, const bl_ckpt *ref, const bl_ckpt *test,
                         const bl_compare_options *options, struct bl_err *err)
{
    bl_comparison c = { 0 };
    bl_status rc = allocate(&c, bl_ckpt_n_tensors(ref), bl_ckpt_n_tensors(test), err);

    if (rc == BL_OK)
        match_tensors(&c, ref, test);
    if (bl_ckpt_has_config(ref) && bl_ckpt_has_config(test))
        c.n_config = bl_config_compare(c.config, bl_ckpt_config(test), bl_ckpt_config(ref));
    if (options->structure_only)
        c.n_compared = 0;
    if (rc == BL_OK)
        rc = compare_all(&c, ref, test, options, err);
    if (rc == BL_OK) {
        qsort(c.compared, c.n_compared, sizeof(*c.compared), compare_worst_first);
        rc = diagnose_worst(&c, ref, test, err);
    }
    if (rc != BL_OK) {
        bl_compare_release(&c);
        return rc;
    }
    *out = c;
    return BL_OK;
}

void bl_compare_release(bl_comparison *c)
{
    for (size_t i = 0; i < c->n_damaged; i++)
        bl_free(c->damaged[i]);
    bl_free(c->damaged);
    bl_free(c->compared);
    bl_free(c->reshaped);
    bl_free(c->missing);
    bl_free(c->mtp_only);
    bl_free(c->extra);
    *c = (bl_comparison){ 0 };
}

bool bl_compare_same_structure(const bl_comparison *c)
{
    return c->n_missing == 0 && c->n_extra == 0 && c->n_reshaped == 0 && c->n_damaged == 0;
}
