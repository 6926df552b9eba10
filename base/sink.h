/*
 * sink.h - where output bytes go: all or nothing.
 *
 * Calling sequence:
 *     bl_sink_begin(&sink, "x.gguf", force, err);   opens x.gguf.partial
 *     bl_sink_write(sink, bytes, n, err); ...
 *     bl_sink_commit(&sink, err);                   flush, fsync, rename, fsync the directory
 * or  bl_sink_abort(&sink);                         removes x.gguf.partial
 *
 * Nothing appears under the final name until commit has succeeded, and nothing is left after a
 * failure: commit renames, and takes the name back when the folder cannot be synced. A write that
 * fails is remembered: every later write and the commit fail with the same sentence. Commit and
 * abort both end the sink and set it to NULL; abort of NULL does nothing, so
 * `bl_sink_abort(&sink)` at a `done:` label is always right.
 *
 * A directory is the same with many files (bl_outdir): they are written into NAME.partial/,
 * which is renamed as a whole.
 *
 * --force replaces a file by a file, and a folder when it is empty or holds a checkpoint (plain
 * files only, config.json and safetensors among them); links are never followed. Without it a
 * name that somebody else took while we wrote is not replaced either.
 *
 * Not thread-safe: one ordered writer.
 */
#ifndef BL_BASE_SINK_H
#define BL_BASE_SINK_H

#include "base/err.h"
#include "base/keep.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_sink bl_sink;
typedef struct bl_outdir bl_outdir;

/*
 * Refuses (BL_E_USAGE) when path is no name for a file, or is something else or a link; and,
 * unless force, when path exists or path.partial does (left by another run). Fails with BL_E_IO
 * when the folder is missing or not writable.
 */
BL_MUST_USE bl_status bl_sink_begin(bl_sink **out, const char *path, bool force,
                                    struct bl_err *err);
BL_MUST_USE bl_status bl_sink_write(bl_sink *sink, const void *bytes, size_t n, struct bl_err *err);
BL_MUST_USE bl_status bl_sink_write_zeros(bl_sink *sink, uint64_t n, struct bl_err *err);
/* Overwrite n bytes at offset, which were written before. */
BL_MUST_USE bl_status bl_sink_patch(bl_sink *sink, uint64_t offset, const void *bytes, size_t n,
                                    struct bl_err *err);
uint64_t bl_sink_offset(const bl_sink *sink); /* bytes written so far */
BL_MUST_USE bl_status bl_sink_commit(bl_sink **sink, struct bl_err *err);
void bl_sink_abort(bl_sink **sink);
/* Remove a file that a sink made and nobody needs any more. None there is fine. */
BL_MUST_USE bl_status bl_sink_remove(const char *path, struct bl_err *err);

BL_MUST_USE bl_status bl_outdir_begin(bl_outdir **out, const char *path, bool force,
                                      struct bl_err *err);
/* A file inside: a sink to be committed (or aborted) before the directory is. name: a plain name. */
BL_MUST_USE bl_status bl_outdir_file(bl_sink **out, bl_outdir *dir, const char *name,
                                     struct bl_err *err);
BL_MUST_USE bl_status bl_outdir_commit(bl_outdir **dir, struct bl_err *err);
void bl_outdir_abort(bl_outdir **dir);

/*
 * BL_OK when the file system that path will lie on has room for n_bytes; BL_E_IO, with both
 * numbers in the sentence, when it has not. A file system that does not say passes.
 */
BL_MUST_USE bl_status bl_space_check(const char *path, uint64_t n_bytes, struct bl_err *err);

/* Bytes that may be written there; UINT64_MAX where the file system does not say. */
BL_MUST_USE bl_status bl_space_free(uint64_t *out, const char *path, struct bl_err *err);

/*
 * Outputs that take long can be gone on with. Begun by the functions below they keep, once a
 * checkpoint was made, what is written when they are aborted or the process dies: NAME.partial and
 * NAME.partial.journal (base/keep.h). A run that begins with `resume` and the same key finds the
 * sound part of it: bl_sink_verified() bytes of a file are there. Writing over them compares, and
 * bl_sink_skip() passes them without a look. keep NULL: as bl_sink_begin().
 */
BL_MUST_USE bl_status bl_sink_begin_kept(bl_sink **out, const char *path, bool force,
                                         const bl_keep_options *keep, struct bl_err *err);
BL_MUST_USE bl_status bl_outdir_begin_kept(bl_outdir **out, const char *path, bool force,
                                           const bl_keep_options *keep, struct bl_err *err);
uint64_t bl_sink_verified(const bl_sink *sink);
/* The next n bytes are those that are there: at most as far as is verified. */
void bl_sink_skip(bl_sink *sink, uint64_t n);
/* Sync what was written, and note it with the caller's state (n > 0 bytes). */
BL_MUST_USE bl_status bl_sink_checkpoint(bl_sink *sink, const void *state, size_t n,
                                         struct bl_err *err);
/* What is kept, to ask for states; NULL: nothing. Borrowed. */
const bl_keep *bl_sink_kept(const bl_sink *sink);
const bl_keep *bl_outdir_kept(const bl_outdir *dir);

/* For tests: let the k-th system call of sinks from now on fail with ENOSPC (1 = next; 0 = none). */
void bl_sink_fail_at(uint64_t k);
uint64_t bl_sink_call_count(void);

#endif
