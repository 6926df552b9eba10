/*
 * pipeline.h - run a plan: read, decode, encode, write, in one pass.
 *
 * A tensor is cut into tiles of whole rows, about 256 Ki values each, so that a tile stays in the
 * cache from its decoding to its encoding. A batch of tiles is encoded in parallel while the batch
 * before it is written in order. Bytes do not depend on the number of threads.
 * Memory: a thread has one tile stored, one in F32, eight encoded: at most 10 MiB. For encodings in
 * several parts the later parts of one tensor stay. Nothing grows with the model.
 */
#ifndef BL_CONVERT_PIPELINE_H
#define BL_CONVERT_PIPELINE_H

#include "base/err.h"
#include "base/progress.h"
#include "convert/job.h"

/* Takes the bytes of the plan's stored tensors, in order, in pieces of any size. */
typedef struct bl_pipe_end {
    bl_status (*write)(void *context, const void *bytes, size_t n, struct bl_err *err);
    void *context;
} bl_pipe_end;

/* The sentence of a failure names the tensor that was being written. progress may be NULL. */
BL_MUST_USE bl_status bl_pipeline_run(const bl_plan *plan, bl_pipe_end end, int n_threads,
                                      bl_progress *progress, struct bl_err *err);

#endif
