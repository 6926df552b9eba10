/*
 * safetensors_writer.h - one safetensors file: a declared plan, then the data in that order.
 *
 * Calling sequence:
 *     bl_safetensors_writer_begin(&w, sink, plan, n, err);   writes the header, takes the sink
 *     bl_safetensors_writer_write(w, bytes, n, err); ...     data of the tensors, end to end
 *     bl_safetensors_writer_commit(&w, err);                 all declared bytes must be there
 * or  bl_safetensors_writer_abort(&w);
 *
 * Of a planned bl_stored the name (borrowed while begin runs), dtype, ndim and dim count; n_bytes,
 * shard and offset are ignored. The same plan gives the same bytes: tensors in the order of the
 * plan, "__metadata__":{"format":"pt"} (transformers wants it), the header padded with spaces so
 * that data starts at a multiple of 8.
 */
#ifndef BL_FORMATS_SAFETENSORS_WRITER_H
#define BL_FORMATS_SAFETENSORS_WRITER_H

#include "base/err.h"
#include "base/sink.h"
#include "base/text.h"
#include "formats/ckpt/container.h"
#include "formats/safetensors/safetensors_reader.h"

#include <stddef.h>
#include <stdint.h>

typedef struct bl_safetensors_writer bl_safetensors_writer;

/*
 * Check a plan: names, duplicates, types that safetensors has, shapes. file: for sentences. Fails
 * with BL_E_FORMAT, BL_E_UNSUPPORTED or BL_E_NOMEM.
 */
BL_MUST_USE bl_status bl_safetensors_check_plan(const char *file, const bl_stored *plan, size_t n,
                                                struct bl_err *err);

/*
 * Append the length word and the header of a checked plan to *out, and set *n_data to the bytes
 * that follow it. Fails with BL_E_UNSUPPORTED when the header passes what safetensors allows.
 */
BL_MUST_USE bl_status bl_safetensors_plan_header(bl_text *out, uint64_t *n_data, const char *file,
                                                 const bl_stored *plan, size_t n,
                                                 struct bl_err *err);

/* On success the writer owns the sink; on failure the sink stays the caller's, to be aborted. */
BL_MUST_USE bl_status bl_safetensors_writer_begin(bl_safetensors_writer **out, bl_sink *sink,
                                                  const char *file, const bl_stored *plan, size_t n,
                                                  struct bl_err *err);

/* The same with other metadata, in this order: keys must differ. */
BL_MUST_USE bl_status bl_safetensors_writer_begin_with(bl_safetensors_writer **out, bl_sink *sink,
                                                       const char *file, const bl_stored *plan,
                                                       size_t n,
                                                       const bl_safetensors_pair *metadata,
                                                       size_t n_metadata, struct bl_err *err);
BL_MUST_USE bl_status bl_safetensors_writer_write(bl_safetensors_writer *w, const void *bytes,
                                                  size_t n, struct bl_err *err);
/* Pass n bytes of data that an earlier run wrote (base/sink.h). BL_E_MISMATCH: they are not there. */
BL_MUST_USE bl_status bl_safetensors_writer_skip(bl_safetensors_writer *w, uint64_t n,
                                                 struct bl_err *err);
/* As bl_sink_checkpoint(). */
BL_MUST_USE bl_status bl_safetensors_writer_checkpoint(bl_safetensors_writer *w, const void *state,
                                                       size_t n, struct bl_err *err);
uint64_t bl_safetensors_writer_left(const bl_safetensors_writer *w); /* data bytes to come */
/* Ends the writer and sets it to NULL, also on failure: then nothing is left on the disk. */
BL_MUST_USE bl_status bl_safetensors_writer_commit(bl_safetensors_writer **w, struct bl_err *err);
void bl_safetensors_writer_abort(bl_safetensors_writer **w); /* NULL inside is allowed */

#endif
