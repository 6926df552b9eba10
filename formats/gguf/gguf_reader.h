/*
 * gguf_reader.h - open a GGUF file (version 2 or 3, little-endian) as a container.
 *
 * Stricter than llama.cpp and the Python gguf package: keys and tensor names are unique, plain and
 * not empty; 1 to 4 dimensions, none zero; every offset is exactly the padded sum of the sizes
 * before it; nothing follows the last tensor but its padding, which may be missing. Refused with
 * BL_E_UNSUPPORTED: version 1, big-endian files, arrays of arrays, and tensor types that bl_dtype does
 * not know. Of a split model any part opens the whole (gguf_split.h).
 *
 * Source: the GGUF specification, version 3 (ggml/docs/gguf.md).
 */
#ifndef BL_FORMATS_GGUF_READER_H
#define BL_FORMATS_GGUF_READER_H

#include "base/err.h"
#include "base/source.h"
#include "formats/ckpt/container.h"
#include "formats/gguf/gguf_kv.h"

/*
 * Open the file and check all of its header; tensor data is not read. Close with
 * bl_container_close(). Stored shapes are outermost first: the reverse of the file's order.
 * Fails with BL_E_IO, BL_E_FORMAT, BL_E_UNSUPPORTED or BL_E_NOMEM.
 */
BL_MUST_USE bl_status bl_gguf_open(bl_container **out, const char *path, struct bl_err *err);

/* One part of a split model, alone; or a whole file. */
BL_MUST_USE bl_status bl_gguf_open_part(bl_container **out, const char *path, struct bl_err *err);

/* The same from any source, which is taken over: closed with the container, or on failure. */
BL_MUST_USE bl_status bl_gguf_open_source(bl_container **out, bl_source *source,
                                          struct bl_err *err);

/*
 * The same without tensors: only the metadata are read and checked. What follows them may be of any
 * type, incomplete, or the first shard of many.
 */
BL_MUST_USE bl_status bl_gguf_open_metadata(bl_container **out, const char *path,
                                            struct bl_err *err);

/* The metadata of a container that these functions made; NULL for other kinds. Borrowed. */
const bl_gguf_meta *bl_gguf_meta_of(const bl_container *container);

#endif
