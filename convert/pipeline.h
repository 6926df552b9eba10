/*
 * pipeline.h - run a plan: read, decode, encode, write, in one pass.
 *
 * A tensor is cut into tiles of whole rows, about 256 Ki values each, so that a tile stays in the
 * cache from its decoding to its encoding. Tiles flow (base/flow.h): the disk is asked for those
 * ahead, workers encode, the calling thread writes in order, across the borders of tensors. Bytes do
 * not depend on the number of threads.
 *
 * Memory: bl_pipeline_memory(). For encodings in several parts the later parts of one tensor stay.
 * Nothing grows with the model.
 */
#ifndef BL_CONVERT_PIPELINE_H
#define BL_CONVERT_PIPELINE_H

#include "base/err.h"
#include "base/progress.h"
#include "convert/job.h"
#include "convert/sanity.h"

/* Where a run is: before row `row` of job `job`. */
typedef struct bl_pipe_position {
    size_t job;
    uint64_t row;
} bl_pipe_position;

/* Takes the bytes of the plan's stored tensors, in order, in pieces of any size. */
typedef struct bl_pipe_end {
    bl_status (*write)(void *context, const void *bytes, size_t n, struct bl_err *err);
    /*
     * All bytes before this position have been written, and a later run may start there. NULL: nobody
     * wants to know. Losses of the jobs before it, and so far of its own, are in the plan.
     */
    bl_status (*passed)(void *context, bl_pipe_position position, struct bl_err *err);
    void *context;
} bl_pipe_end;

typedef struct bl_pipe_options {
    int n_threads;          /* at least 1 */
    bl_pipe_position start; /* of a position that an earlier run passed; losses are added to */
    const bl_ckpt *ckpt; /* whose tensors will be read, to ask for them ahead; NULL: nobody asks */
    bl_sanity *sanity;   /* of ckpt's tensors, told of the values that pass; may be NULL */
    bl_progress *progress; /* may be NULL */
} bl_pipe_options;

/* The sentence of a failure names the tensor that was being written. */
BL_MUST_USE bl_status bl_pipeline_run(const bl_plan *plan, bl_pipe_end end,
                                      const bl_pipe_options *options, struct bl_err *err);

/* Bytes of output before a position that was passed. */
uint64_t bl_pipeline_bytes_before(const bl_plan *plan, bl_pipe_position position);

/* Bytes that a run needs at most, beside the plan. */
uint64_t bl_pipeline_memory(const bl_plan *plan, int n_threads);

#endif
