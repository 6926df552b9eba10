/*
 * hf_writer.h - a Hugging Face folder: shards, their index, side files; all or nothing.
 *
 * Calling sequence:
 *     bl_hf_writer_begin(&w, "out", force, plan, n, shard_size, err);   opens out.partial/
 *     bl_hf_writer_write(w, bytes, n, err); ...      data of all tensors in the order of the plan
 *     bl_hf_writer_side_file(w, "config.json", text, n, err);           at any time
 *     bl_hf_writer_commit(&w, err);                                     becomes out/
 * or  bl_hf_writer_abort(&w);                                           removes out.partial/
 *
 * A shard takes tensors until the next would bring its data over shard_size bytes; a tensor is
 * never split, so a larger one has a shard to itself. 0: everything in one file. Names are those
 * of the published checkpoints: model-00001-of-000163.safetensors; one shard is model.safetensors
 * and has no index. The same plan gives the same bytes. Not thread-safe: one ordered writer.
 */
#ifndef BL_FORMATS_HF_WRITER_H
#define BL_FORMATS_HF_WRITER_H

#include "base/err.h"
#include "base/keep.h"
#include "formats/ckpt/container.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_hf_writer bl_hf_writer;

/*
 * plan: of each bl_stored the name, dtype, ndim and dim count. The plan and its names are borrowed
 * until commit or abort. Refuses what bl_outdir_begin() refuses, and a plan that
 * bl_safetensors_check_plan() refuses. Whether the disk has room is the caller's to ask.
 */
BL_MUST_USE bl_status bl_hf_writer_begin(bl_hf_writer **out, const char *path, bool force,
                                         const bl_stored *plan, size_t n, uint64_t shard_size,
                                         struct bl_err *err);
/* The same for an output that can be gone on with (base/sink.h); keep NULL: it cannot. */
BL_MUST_USE bl_status bl_hf_writer_begin_kept(bl_hf_writer **out, const char *path, bool force,
                                              const bl_keep_options *keep, const bl_stored *plan,
                                              size_t n, uint64_t shard_size, struct bl_err *err);
/* What is kept, to ask for states; NULL: nothing. */
const bl_keep *bl_hf_writer_kept(const bl_hf_writer *w);
/* Pass n bytes of data that an earlier run wrote. BL_E_MISMATCH when they are not there. */
BL_MUST_USE bl_status bl_hf_writer_skip(bl_hf_writer *w, uint64_t n, struct bl_err *err);
/* As bl_sink_checkpoint(). */
BL_MUST_USE bl_status bl_hf_writer_checkpoint(bl_hf_writer *w, const void *state, size_t n,
                                              struct bl_err *err);
/* Pieces may have any length; they may end inside a tensor or run across several. */
BL_MUST_USE bl_status bl_hf_writer_write(bl_hf_writer *w, const void *bytes, size_t n,
                                         struct bl_err *err);
/* name: a plain file name that is no shard, no index and was not written before. */
BL_MUST_USE bl_status bl_hf_writer_side_file(bl_hf_writer *w, const char *name, const void *bytes,
                                             size_t n, struct bl_err *err);
/* Shards that a plan is cut into. */
BL_MUST_USE bl_status bl_hf_count_shards(size_t *out, const bl_stored *plan, size_t n,
                                         uint64_t shard_size, struct bl_err *err);
size_t bl_hf_writer_n_shards(const bl_hf_writer *w);
/* Ends the writer and sets it to NULL, also on failure: then nothing is left on the disk. */
BL_MUST_USE bl_status bl_hf_writer_commit(bl_hf_writer **w, struct bl_err *err);
/* Removes what was written, but for what is kept; NULL inside is allowed. */
void bl_hf_writer_abort(bl_hf_writer **w);

#endif
