/*
 * gguf_writer.h - write a GGUF version 3 file: metadata and a tensor plan first, then the bytes.
 *
 * Calling sequence:
 *     bl_gguf_writer_new(&w, err);
 *     bl_gguf_put_u32(w, "llama.block_count", 61); ...          metadata, in order
 *     bl_gguf_plan_tensor(w, "token_embd.weight", BL_Q8_0, 2, dim); ...   tensors, in order
 *     bl_gguf_writer_begin(w, "x.gguf", force, err);            checks, header
 *     bl_gguf_writer_write(w, bytes, n, err); ...               all tensors, back to back
 *     bl_gguf_writer_commit(&w, err);                           or bl_gguf_writer_abort(&w)
 *
 * Puts and plans remember the first failure (a name twice, a name too long, no memory), which
 * begin reports. Padding between tensors is the writer's business; alignment is the default 32.
 * The output is atomic (base/sink.h). Not thread-safe.
 */
#ifndef BL_FORMATS_GGUF_WRITER_H
#define BL_FORMATS_GGUF_WRITER_H

#include "base/err.h"
#include "base/keep.h"
#include "formats/dtype/dtype.h"
#include "formats/gguf/gguf_kv.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_gguf_writer bl_gguf_writer;

BL_MUST_USE bl_status bl_gguf_writer_new(bl_gguf_writer **out, struct bl_err *err);

/* Metadata. Everything is copied. `general.alignment` is refused. */
void bl_gguf_put_u16(bl_gguf_writer *w, const char *key, uint16_t value);
void bl_gguf_put_u32(bl_gguf_writer *w, const char *key, uint32_t value);
void bl_gguf_put_i32(bl_gguf_writer *w, const char *key, int32_t value);
void bl_gguf_put_u64(bl_gguf_writer *w, const char *key, uint64_t value);
void bl_gguf_put_f32(bl_gguf_writer *w, const char *key, float value);
void bl_gguf_put_bool(bl_gguf_writer *w, const char *key, bool value);
void bl_gguf_put_string(bl_gguf_writer *w, const char *key, const char *bytes, size_t n);
void bl_gguf_put_strings(bl_gguf_writer *w, const char *key, const bl_gguf_string *value, size_t n);
void bl_gguf_put_i32s(bl_gguf_writer *w, const char *key, const int32_t *value, size_t n);
void bl_gguf_put_f32s(bl_gguf_writer *w, const char *key, const float *value, size_t n);

/* A pair of another file, of any type, as it is. */
void bl_gguf_put_kv(bl_gguf_writer *w, const bl_gguf_kv *kv);

/* An array of another file with elements item[n] of it only. */
void bl_gguf_put_kv_items(bl_gguf_writer *w, const bl_gguf_kv *kv, const uint64_t *item, size_t n);

/*
 * Declare the next tensor: a name of 1 to 63 bytes of printable ASCII, a type that GGUF has, 1 to 4
 * dimensions, outermost first, the last a multiple of the type's block.
 */
void bl_gguf_plan_tensor(bl_gguf_writer *w, const char *name, bl_dtype dtype, uint32_t ndim,
                         const uint64_t *dim);

/* Bytes of the whole file as planned so far. Fails with the first failure of a put or plan. */
BL_MUST_USE bl_status bl_gguf_writer_file_bytes(uint64_t *out, const bl_gguf_writer *w,
                                                struct bl_err *err);

/* Append the header of the file as planned so far, padded: the data of the first tensor follows it. */
BL_MUST_USE bl_status bl_gguf_writer_header(bl_text *out, const bl_gguf_writer *w,
                                            struct bl_err *err);

/*
 * Check the plan, open the output and write the header. Nothing can be put or
 * planned after it. Fails as bl_sink_begin() does, or with BL_E_UNSUPPORTED / BL_E_NOMEM when a put
 * or a plan failed.
 */
BL_MUST_USE bl_status bl_gguf_writer_begin(bl_gguf_writer *w, const char *path, bool force,
                                           struct bl_err *err);

/* The same for an output that can be gone on with (base/sink.h); keep NULL: it cannot. */
BL_MUST_USE bl_status bl_gguf_writer_begin_kept(bl_gguf_writer *w, const char *path, bool force,
                                                const bl_keep_options *keep, struct bl_err *err);
/* What is kept, to ask for states; NULL: nothing. */
const bl_keep *bl_gguf_writer_kept(const bl_gguf_writer *w);
/* Pass n bytes of tensor data that an earlier run wrote. BL_E_MISMATCH when they are not there. */
BL_MUST_USE bl_status bl_gguf_writer_skip(bl_gguf_writer *w, uint64_t n, struct bl_err *err);
/* As bl_sink_checkpoint(). */
BL_MUST_USE bl_status bl_gguf_writer_checkpoint(bl_gguf_writer *w, const void *state, size_t n,
                                                struct bl_err *err);

/*
 * The next n bytes of tensor data, in the order of the plan, in pieces of any size. Fails with
 * BL_E_IO, or BL_E_MISMATCH past the end of the plan.
 */
BL_MUST_USE bl_status bl_gguf_writer_write(bl_gguf_writer *w, const void *bytes, size_t n,
                                           struct bl_err *err);

/* Publish the file; BL_E_MISMATCH when a planned byte is missing. Frees *w, also on failure. */
BL_MUST_USE bl_status bl_gguf_writer_commit(bl_gguf_writer **w, struct bl_err *err);

/* Remove what was written and free *w; does nothing with NULL. */
void bl_gguf_writer_abort(bl_gguf_writer **w);

#endif
