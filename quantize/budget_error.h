/*
 * budget_error.h - what each type would cost each tensor, from a sample of its rows: e of budget.h.
 *
 *     e = sum h_j (w - w')^2 / sum h_j w^2        over the sampled rows
 *
 * w' is w encoded by the very encoder that would be used and decoded again, h the importance of the
 * columns (1 where it is unknown).
 *
 * Rows: 3 % of a tensor's, spread evenly over all of it (so over all experts of a stack) and moved
 * inside their stretch by a golden-ratio sequence, so that no period of the rows is met. Not more
 * than 2 Mi values of a tensor, which is over a row for each of 256 experts; not fewer than 32
 * rows, which is more than 3 % of a matrix of less than a thousand rows (of R1: of kv_a, 0.006 % of
 * its values). Which rows depends on the shape alone.
 */
#ifndef BL_QUANTIZE_BUDGET_ERROR_H
#define BL_QUANTIZE_BUDGET_ERROR_H

#include "base/progress.h"
#include "convert/job.h"

/* How many rows of a job are sampled, and which is sample i of them. */
uint64_t bl_budget_n_samples(const bl_job *job);
uint64_t bl_budget_sample(const bl_job *job, uint64_t n_samples, uint64_t i);

typedef struct bl_budget_errors {
    const bl_plan *plan;                /* jobs with one part and a source of rows */
    const bl_encoder *const *candidate; /* [n_candidates]; part 0 only, by single rows */
    size_t n_candidates;
    const bool *wanted; /* [n_jobs] */
    int n_threads;
    bl_progress *progress; /* gets the bytes of the sampled rows in F32; may be NULL */
} bl_budget_errors;

/*
 * loss[n_jobs][n_candidates], zeroed by the caller: sums over the sampled rows. It stays zero for
 * jobs that are not wanted and for candidates whose blocks do not divide the job's rows.
 */
BL_MUST_USE bl_status bl_budget_measure(bl_loss *loss, const bl_budget_errors *what,
                                        struct bl_err *err);

#endif
