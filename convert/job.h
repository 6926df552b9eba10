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
#include "formats/ckpt/ckpt.h"
#include "formats/view/view.h"

enum { BL_JOB_MAX_PARTS = 4 };

/* What an encoder is given: rows of one matrix, all of which meet the same input. */
typedef struct bl_encode_rows {
    const float *value; /* [n_rows][n_cols] */
    uint64_t n_rows, n_cols;
    const float
        *importance; /* [n_cols]: mean square of what meets each column, >= 0; NULL: unknown */
} bl_encode_rows;

/*
 * Encode rows. out[k] receives the bytes of part k for these rows; a part whose stored tensor does
 * not depend on the rows (a shape) is left alone. Pure: no state, any thread, and the same bytes
 * for a unit of rows whatever is encoded with it.
 */
typedef void (*bl_encode_fn)(void *const out[BL_JOB_MAX_PARTS], const bl_encode_rows *rows);

/* What a reader of the parts will see: the inverse, for saying what was lost. */
typedef void (*bl_decode_rows_fn)(float *out, void *const part[BL_JOB_MAX_PARTS], uint64_t n_rows,
                                  uint64_t n_cols);

/* A stored tensor that an encoding makes of a matrix X.weight. */
typedef struct bl_part {
    const char *suffix; /* of its name, in the place of ".weight" */
    bl_dtype dtype;
    uint32_t ndim;
    uint64_t dim[2];
    uint64_t unit_bytes; /* as in bl_job; 0: it does not depend on the values */
} bl_part;

/*
 * An encoding that makes several tensors of a matrix [dim[0], dim[1]]. `form` is the encoder's, data
 * that tells apart encoders which share their functions. All are pure.
 */
typedef struct bl_part_ops {
    uint32_t (*parts)(bl_part out[BL_JOB_MAX_PARTS], const uint64_t dim[2], const void *form);
    void (*encode)(void *const out[BL_JOB_MAX_PARTS], const bl_encode_rows *rows, const void *form);
    void (*decode)(float *out, void *const part[BL_JOB_MAX_PARTS], uint64_t n_rows, uint64_t n_cols,
                   const void *form);
    /* Bytes of part k, where they do not depend on the values; zeros to begin with. NULL: zeros. */
    void (*constant)(void *out, uint32_t k, const uint64_t dim[2], const void *form);
    /*
     * Put the encoded bytes of rows [row, row + n_rows) where they belong in the whole tensors.
     * NULL: rows follow each other there, and part 0 can be written as it comes.
     */
    void (*place)(void *const whole[BL_JOB_MAX_PARTS], void *const part[BL_JOB_MAX_PARTS],
                  uint64_t row, uint64_t n_rows, const uint64_t dim[2], const void *form);
    /* Whether a source is stored as this encodes: its codes and scales are then copied. NULL: never. */
    bool (*keeps)(const bl_container *source, const bl_parts *parts);
} bl_part_ops;

/* unit_rows: the rows of a matrix have to come together. */
enum { BL_ALL_ROWS = UINT32_MAX };

typedef struct bl_encoder {
    const char *name;  /* for reports: "BF16", "Q4_K" */
    bl_dtype dtype;    /* of part 0 */
    uint32_t multiple; /* n_cols must be a multiple of this */
    float max_abs;     /* the largest magnitude it can take; values beyond are an error */
    bl_encode_fn encode;
    uint32_t unit_rows;          /* rows that are encoded together, as blocks of several rows need;
                                 0: any number. A matrix may end in a shorter unit */
    bl_decode_rows_fn decode;    /* NULL: part 0 by its dtype */
    const bl_part_ops *in_parts; /* NULL: one tensor, name and shape kept. Otherwise encode and
                                    decode above are not asked */
    const void *form;
} bl_encoder;

/* Parts that are taken as they are: bytes [offset, offset + n) of source index[k] for part k. */
typedef struct bl_raw {
    bl_status (*read)(const void *context, size_t index, uint64_t offset, void *out, size_t n,
                      struct bl_err *err);
    const void *context;
    size_t index[BL_JOB_MAX_PARTS];
} bl_raw;

/*
 * What an encoding cost: sums over all values x of a tensor, decoded again as y. h is the
 * importance of the value's column, 1 where it is unknown.
 */
typedef struct bl_loss {
    uint64_t n_values;
    double error, power;     /* sum (x - y)^2, sum x^2 */
    double h_error, h_power; /* sum h (x - y)^2, sum h x^2 */
    float largest;           /* |x - y| */
} bl_loss;

/* How the rows of a job lie in the canonical tensors behind it. */
typedef enum bl_job_view {
    BL_VIEW_ROWS, /* source[k] is behind rows [k * rows_each, ...), in its order or permuted */
    BL_VIEW_K_B,  /* head k of the key half of source[0] is, transposed (formats/view) */
    BL_VIEW_V_B,  /* head k of its value half */
    BL_VIEW_NONE  /* no tensor is */
} bl_job_view;

typedef struct bl_job {
    bl_rows rows;              /* where the values come from; rows.n_cols */
    uint64_t n_rows, row_unit; /* read whole multiples of row_unit where possible */
    bl_job_view view;
    const bl_tensor *const *source; /* the canonical tensors; NULL where there are none */
    uint64_t rows_each;
    uint64_t n_values;     /* weights that it stands for: n_rows x n_cols, where they are read */
    uint64_t source_bytes; /* that reading all rows costs, for progress */
    /* Row k: importance of the columns for rows [k * importance_rows, ...). read NULL: unknown. */
    bl_rows importance;
    uint64_t importance_rows;
    bl_raw raw;   /* read NULL: the rows are encoded. Otherwise rows.read may be NULL */
    bl_role role; /* for reports */
    const bl_encoder *encoder;
    uint32_t n_parts;
    bl_stored part[BL_JOB_MAX_PARTS]; /* written one after the other, in this order */
    /* Bytes of a part for one unit of rows (of one row where unit_rows is 0); 0: `constant`. */
    uint64_t unit_bytes[BL_JOB_MAX_PARTS];
    const void *constant[BL_JOB_MAX_PARTS]; /* bytes of a part that does not depend on the rows */
    bl_loss *loss;                          /* to be filled in; NULL: not wanted */
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
    bool keeps_mtp;          /* MTP layers are among them */
} bl_plan;

#endif
