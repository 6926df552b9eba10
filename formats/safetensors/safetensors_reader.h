/*
 * safetensors_reader.h - the table of contents of one safetensors file.
 *
 * The file: a header length N (8 bytes, little-endian), N bytes of JSON, then the data of all
 * tensors with no hole and no overlap. Specification: the README of huggingface/safetensors.
 * The header is checked completely; data is never read here. Stricter than the published
 * readers: see tests/corpus/safetensors/README.md.
 *
 * Memory while reading: the header and its JSON tree, at worst 21 bytes for each header byte; a
 * header is at most 100,000,000 bytes long. What stays is the table.
 */
#ifndef BL_FORMATS_SAFETENSORS_READER_H
#define BL_FORMATS_SAFETENSORS_READER_H

#include "base/arena.h"
#include "base/err.h"
#include "base/source.h"
#include "formats/ckpt/container.h"

#include <stddef.h>
#include <stdint.h>

enum { BL_SAFETENSORS_MAX_HEADER = 100000000 }; /* bytes of JSON, as the published reader has it */

/* One entry of __metadata__: both are UTF-8, NUL-terminated. */
typedef struct bl_safetensors_pair {
    const char *key, *value;
} bl_safetensors_pair;

typedef struct bl_safetensors {
    bl_stored *stored; /* in the order of the data; offset counts from the start of the file */
    size_t n_stored;
    uint64_t data_offset; /* 8 + header length: where the data of the first tensor begins */
    bl_safetensors_pair *metadata; /* in the order of the header; they change no tensor */
    size_t n_metadata;
    bl_arena arena; /* holds the names and the metadata */
} bl_safetensors;

/*
 * Read and check the header. *out is set on success only; release it with
 * bl_safetensors_release(). Fails with BL_E_FORMAT, BL_E_UNSUPPORTED (an element type or a field
 * that we do not know, too many dimensions), BL_E_IO, BL_E_NOMEM.
 */
BL_MUST_USE bl_status bl_safetensors_read(bl_safetensors *out, bl_source *source,
                                          struct bl_err *err);
void bl_safetensors_release(bl_safetensors *st); /* zeroed is allowed */

/* What is wrong with a tensor's name, for a sentence: "is empty"; NULL when nothing is. */
const char *bl_safetensors_name_fault(const char *name);

#endif
