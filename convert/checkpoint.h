/*
 * checkpoint.h - how far a plan has been written, noted now and then, and found again.
 *
 * A state is the pipeline's position and the losses of the jobs since the state before:
 *
 *   u64 job, u64 row, u64 first job, then for each job from the first to `job` (if row > 0) or to the
 *   one before it: u64 values, f64 error, power, h_error, h_power, f32 largest, u32 zero
 *
 * A state is noted after every 1 GiB of output, and after every 32nd of it where that is less, but never more
 * often than every 64 MiB: an output below that starts again.
 */
#ifndef BL_CONVERT_CHECKPOINT_H
#define BL_CONVERT_CHECKPOINT_H

#include "base/keep.h"
#include "convert/pipeline.h"

/* A writer of files that can be gone on with: gguf_writer.h, hf_writer.h. */
typedef struct bl_checkpoint_ops {
    bl_status (*write)(void *writer, const void *bytes, size_t n, struct bl_err *err);
    bl_status (*skip)(void *writer, uint64_t n, struct bl_err *err);
    bl_status (*checkpoint)(void *writer, const void *state, size_t n, struct bl_err *err);
    const bl_keep *(*kept)(const void *writer);
} bl_checkpoint_ops;

/*
 * Run the plan into a writer that was begun: from the last checkpoint where there is one. *resumed
 * (may be NULL): the share of the output that was there, 0 to 1. The sentence of a failure says
 * what is kept of the output at `path`.
 */
BL_MUST_USE bl_status bl_checkpoint_run(double *resumed, const char *path, const bl_plan *plan,
                                        void *writer, const bl_checkpoint_ops *ops,
                                        const bl_pipe_options *options, struct bl_err *err);

/* Bytes of output between two checkpoints, of `total`. */
uint64_t bl_checkpoint_interval(uint64_t total);

/* For tests: the least interval, in the place of 64 MiB (0: that again). */
void bl_checkpoint_set_least(uint64_t n_bytes);

/*
 * What tells outputs apart: program version, the source's fingerprint, names, types and shapes of what is
 * written, and `more`, text that says what else decides the bytes (NULL: nothing).
 */
BL_MUST_USE bl_status bl_checkpoint_key(bl_hash128 *out, const bl_container *source,
                                        const bl_plan *plan, const char *more, struct bl_err *err);

/* bl_space_check() for what is not there yet, naming the option that does without. */
BL_MUST_USE bl_status bl_checkpoint_space(const char *path, uint64_t n_bytes, const bl_keep *keep,
                                          struct bl_err *err);

/* Say in a sentence of failure that the output at `path` is kept, if it is. */
void bl_checkpoint_say_kept(struct bl_err *err, bool kept, const char *path, double share);

#endif
