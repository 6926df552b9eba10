/* estimate.c - see estimate.h. */
#include "convert/estimate.h"

#include "base/size.h"
#include "convert/tile.h"

#include <time.h>

enum { POINTS = 16, SAMPLE_VALUES = 4 << 20 };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bl_status drop(void *context, const void *bytes, size_t n, struct bl_err *err)
{
    (void)context, (void)bytes, (void)n, (void)err;
    return BL_OK;
}

/* The job that holds byte `at` of the source. */
static const bl_job *job_at(const bl_plan *plan, uint64_t at)
{
    size_t i = 0;

    while (i + 1 < plan->n_jobs && at >= plan->job[i].source_bytes)
        at -= plan->job[i++].source_bytes;
    return &plan->job[i];
}

/* Seconds for each byte of the job's source, from its first rows. */
static bl_status measure(double *seconds, const bl_job *job, const bl_pipe_options *options,
                         struct bl_err *err)
{
    const bl_pipe_end end = { .write = drop };
    bl_loss loss = { 0 };
    bl_job some = *job;
    const bl_plan plan = { .job = &some, .n_jobs = 1 };
    uint64_t unit = bl_tile_unit_rows(job), n_cols = bl_max_u64(job->rows.n_cols, 1);
    uint64_t rows = bl_ceil_div_u64(SAMPLE_VALUES, n_cols * unit) * unit;
    double start = now(), bytes;
    bl_status rc;

    some.n_rows = bl_min_u64(rows, job->n_rows);
    if (some.loss)
        some.loss = &loss;
    bytes = (double)job->source_bytes * (double)some.n_rows / (double)bl_max_u64(job->n_rows, 1);
    rc = bl_pipeline_run(&plan, end, options, err);
    *seconds = bytes > 0 ? (now() - start) / bytes : 0;
    return rc;
}

bl_status bl_estimate_seconds(double *seconds, const bl_plan *plan, const bl_pipe_options *options,
                              double budget, struct bl_err *err)
{
    double start = now(), sum = 0;
    int n = 0;
    bl_status rc = BL_OK;

    *seconds = 0;
    for (unsigned k = 0; k < POINTS && rc == BL_OK && now() - start < budget; k++) {
        /* the middle first, then the quarters, ...: wherever it ends, it has been everywhere */
        unsigned mirrored = (k & 1) << 3 | (k & 2) << 1 | (k & 4) >> 1 | (k & 8) >> 3;
        const uint64_t step = plan->n_source_bytes / POINTS;
        double each = 0;

        if (plan->n_jobs == 0)
            break;
        rc = measure(&each, job_at(plan, step * mirrored + step / 2), options, err);
        sum += each;
        n++;
    }
    if (rc == BL_OK && n > 0)
        *seconds = sum / n * (double)plan->n_source_bytes;
    return rc;
}
