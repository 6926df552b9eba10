/* budget_error.c - see budget_error.h. A thread takes a tensor: a row is read once for all types. */
#include "quantize/budget_error.h"

#include "base/alloc.h"
#include "base/par.h"
#include "base/size.h"
#include "convert/loss.h"

#include <assert.h>

enum { SHARE = 33 /* one row of so many: 3 % */, LEAST_ROWS = 32, MOST_VALUES = 1 << 21 };

/* 2^16 / golden ratio: its multiples mod 2^16 fill the circle evenly. */
enum { GOLDEN = 40503 };

uint64_t bl_budget_n_samples(const bl_job *job)
{
    const uint64_t n_cols = bl_max_u64(job->rows.n_cols, 1);
    uint64_t n = bl_min_u64(job->n_rows / SHARE, MOST_VALUES / n_cols);

    return bl_min_u64(bl_max_u64(n, LEAST_ROWS), job->n_rows);
}

uint64_t bl_budget_sample(const bl_job *job, uint64_t n_samples, uint64_t i)
{
    /* stretch i of n: rows [i n_rows / n, (i + 1) n_rows / n), with n_rows = q n + r */
    const uint64_t q = job->n_rows / n_samples, r = job->n_rows % n_samples;
    const uint64_t first = i * q + i * r / n_samples;
    const uint64_t end = (i + 1) * q + (i + 1) * r / n_samples;

    return first + ((end - first) * (i * GOLDEN % 65536) >> 16);
}

/* What one tensor needs: a row, its importance, its blocks, and the row again. */
struct work {
    float *row, *importance, *decoded;
    unsigned char *block;
};

struct run {
    const bl_budget_errors *what;
    bl_loss *loss;
};

static size_t most_row_bytes(const bl_budget_errors *what, uint64_t n_cols)
{
    uint64_t most = 0;

    for (size_t q = 0; q < what->n_candidates; q++) {
        const bl_dtype_traits *t = bl_dtype_traits_of(what->candidate[q]->dtype);

        most = bl_max_u64(most, bl_ceil_div_u64(n_cols, t->block_len) * t->block_bytes);
    }
    return (size_t)most;
}

static bl_status allocate(struct work *w, const bl_budget_errors *what, uint64_t n_cols,
                          struct bl_err *err)
{
    w->row = bl_alloc((size_t)n_cols, sizeof(*w->row));
    w->importance = bl_alloc((size_t)n_cols, sizeof(*w->importance));
    w->decoded = bl_alloc((size_t)n_cols, sizeof(*w->decoded));
    w->block = bl_alloc(most_row_bytes(what, n_cols), 1);
    return w->row && w->importance && w->decoded && w->block ? BL_OK
                                                             : bl_fail_nomem(err, "bit budget");
}

static void release(struct work *w)
{
    bl_free(w->row);
    bl_free(w->importance);
    bl_free(w->decoded);
    bl_free(w->block);
}

/* One row by every type. */
static void try_types(bl_loss *loss, struct work *w, const bl_budget_errors *what,
                      const bl_job *job)
{
    const bl_encode_rows rows = { w->row, 1, job->rows.n_cols,
                                  job->importance.read ? w->importance : NULL };
    void *const part[BL_JOB_MAX_PARTS] = { w->block };

    for (size_t q = 0; q < what->n_candidates; q++) {
        const bl_encoder *e = what->candidate[q];

        if (rows.n_cols % e->multiple != 0)
            continue;
        e->encode(part, &rows);
        bl_dtype_traits_of(e->dtype)->to_f32(w->decoded, w->block, (size_t)rows.n_cols);
        bl_loss_measure(&loss[q], &rows, w->decoded);
    }
}

static bl_status read_row(struct work *w, const bl_job *job, uint64_t row, struct bl_err *err)
{
    bl_status rc = job->rows.read(job->rows.context, job->rows.tensor, row, 1, w->row, err);

    if (rc == BL_OK && job->importance.read)
        rc = job->importance.read(job->importance.context, job->importance.tensor,
                                  row / job->importance_rows, 1, w->importance, err);
    return rc;
}

static bl_status measure_job(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct run *r = context;
    const bl_job *job = &r->what->plan->job[i];
    const uint64_t n = bl_budget_n_samples(job);
    struct work w = { 0 };
    bl_status rc;

    (void)i_thread;
    if (!r->what->wanted[i])
        return BL_OK;
    assert(job->n_parts == 1 && job->rows.read);
    rc = allocate(&w, r->what, job->rows.n_cols, err);
    for (uint64_t k = 0; k < n && rc == BL_OK; k++) {
        rc = read_row(&w, job, bl_budget_sample(job, n, k), err);
        if (rc == BL_OK)
            try_types(r->loss + i * r->what->n_candidates, &w, r->what, job);
    }
    release(&w);
    if (rc != BL_OK)
        bl_err_prefix(err, "sampling '%s'", job->part[0].name);
    bl_progress_add(r->what->progress, n * job->rows.n_cols * sizeof(float));
    return rc;
}

bl_status bl_budget_measure(bl_loss *loss, const bl_budget_errors *what, struct bl_err *err)
{
    struct run r = { what, loss };

    for (size_t q = 0; q < what->n_candidates; q++)
        assert(what->candidate[q]->unit_rows == 0 && !what->candidate[q]->decode);
    return bl_par_for(what->plan->n_jobs, what->n_threads, measure_job, &r, err);
}
