/*
 * job.h - a unit of re-expression: rows of F32 in, bytes of one or more stored tensors out.
 *
 * A plan is an array of jobs in output order; the pipeline (pipeline.h) runs it. Where the rows
 * come from (a canonical tensor, a stack of experts, half of a kv_b projection) and what an
 * encoder makes of them is all that differs between conversions.
 */
#ifndef BL_CONVERT_JOB_H
#define BL_CONVERT_JOB_H

#include "base/err.h"
#include "formats/ckpt/container.h"
#include "formats/view/view.h"

enum { BL_JOB_MAX_PARTS = 3 };

/*
 * Encode n_rows rows of n_cols values. out[k] receives the bytes of part k for these rows; a part
 * whose stored tensor does not depend on the rows (a shape) is left alone. Pure: no state, any
 * thread, and the same bytes for a row whatever rows are encoded with it.
 */
typedef void (*bl_encode_fn)(void *const out[BL_JOB_MAX_PARTS], const float *rows, uint64_t n_rows,
                             uint64_t n_cols);

typedef struct bl_encoder {
    const char *name;  /* for reports: "BF16", "q4_0" */
    bl_dtype dtype;    /* of part 0 */
    uint32_t multiple; /* n_cols must be a multiple of this */
    float max_abs;     /* the largest magnitude it can take; values beyond are an error */
    bl_encode_fn encode;
} bl_encoder;

typedef struct bl_job {
    bl_rows rows;              /* where the values come from; rows.n_cols */
    uint64_t n_rows, row_unit; /* read whole multiples of row_unit where possible */
    uint64_t source_bytes;     /* that reading all rows costs, for progress */
    const bl_encoder *encoder;
    uint32_t n_parts;
    bl_stored part[BL_JOB_MAX_PARTS];     /* written one after the other, in this order */
    uint64_t row_bytes[BL_JOB_MAX_PARTS]; /* of a part for one row; 0: the part is `constant` */
    uint64_t constant[2];                 /* bytes of the part that does not depend on the rows */
} bl_job;

struct bl_plan_memory;

/* The jobs of one output. */
typedef struct bl_plan {
    struct bl_plan_memory *memory; /* what jobs and names point into */
    bl_job *job;
    size_t n_jobs;
    bl_stored *stored; /* the parts of all jobs, in order: what a writer is told */
    size_t n_stored;
    uint64_t n_bytes;        /* of all parts */
    uint64_t n_source_bytes; /* of all jobs */
    uint64_t n_values;       /* of all jobs: for bits per weight */
} bl_plan;

#endif
