/*
 * bln_reader.h - a .bln file as a container (docs/format-bln.md), and what else it keeps: the
 * headers of the shards it was made from, and checksums of everything.
 *
 * Opening reads and checks the whole index and no data. A read decodes only the chunks that it
 * touches, each of at most 1 MiB, and compares their checksums. Thread-safe: a reader does not
 * change after open; what a read needs it allocates, at most two chunks and a decoder, unless it
 * is given a scratch.
 *
 * As a container, a .bln has one shard, itself, or the files that it lies in; the shards below are those
 * of its source.
 */
#ifndef BL_FORMATS_BLN_READER_H
#define BL_FORMATS_BLN_READER_H

#include "base/err.h"
#include "base/progress.h"
#include "base/source.h"
#include "formats/ckpt/container.h"

#define BL_BLN_KIND "bln"

/*
 * Fails with BL_E_FORMAT (damaged, truncated, incomplete), BL_E_UNSUPPORTED (a later version),
 * BL_E_IO or BL_E_NOMEM. Reading damaged data later fails with BL_E_MISMATCH.
 */
BL_MUST_USE bl_status bl_bln_open(bl_container **out, const char *path, struct bl_err *err);

/* The same from any source, which now belongs to the container: it is closed on failure too. */
BL_MUST_USE bl_status bl_bln_open_source(bl_container **out, bl_source *source, struct bl_err *err);

/* The source's shards. Tensors of a shard are stored tensors [*first, *first + *n), in order. */
size_t bl_bln_n_shards(const bl_container *container);
const char *bl_bln_shard_name(const bl_container *container, size_t shard);
void bl_bln_shard_tensors(size_t *first, size_t *n, const bl_container *container, size_t shard);

/* As bl_container_shard_header(): what precedes the tensors in the shard. The caller frees *out. */
BL_MUST_USE bl_status bl_bln_shard_header(const bl_container *container, size_t shard, char **out,
                                          size_t *n_bytes, struct bl_err *err);

/* Bytes of the shard's header. */
uint64_t bl_bln_shard_header_bytes(const bl_container *container, size_t shard);

/* Bytes of a side file; 0 when there is none of that name. */
uint64_t bl_bln_side_file_bytes(const bl_container *container, const char *name);

/* Who wrote the file, and how: text of *n bytes, not NUL-terminated; NULL: it does not say. */
const char *bl_bln_tool(const bl_container *container, size_t *n);
const char *bl_bln_recipe(const bl_container *container, size_t *n); /* JSON */

/*
 * SHA-256 of source file i < shards + side files, in the order of the archive, and its name; false when the
 * archive was not asked to keep them.
 */
bool bl_bln_source_sha256(uint8_t out[32], const char **name, const bl_container *container,
                          size_t i);

/* Reads of stored tensor i at whole multiples of this many bytes decode nothing twice; > 0. */
uint64_t bl_bln_read_unit(const bl_container *container, size_t i);

/*
 * What reads need besides their output, kept from one to the next: for a thread that reads much.
 * Belongs to one thread at a time; any .bln may be read with it.
 */
typedef struct bl_bln_scratch bl_bln_scratch;

BL_MUST_USE bl_status bl_bln_scratch_new(bl_bln_scratch **out, struct bl_err *err);
void bl_bln_scratch_free(bl_bln_scratch *scratch);

/* As bl_container_read(). */
BL_MUST_USE bl_status bl_bln_read(const bl_container *container, bl_bln_scratch *scratch, size_t i,
                                  uint64_t offset, void *out, size_t n, struct bl_err *err);

/* Told of every damaged entry, in file order, on the calling thread. */
typedef void (*bl_bln_bad_fn)(void *context, const char *sentence);

/*
 * Decode everything and compare every checksum, of chunks and of whole entries. BL_E_MISMATCH when
 * something is damaged: the sentence counts and names the first; bad (may be NULL) hears of each.
 * Memory: two chunks and a decoder for each thread.
 */
BL_MUST_USE bl_status bl_bln_verify(const bl_container *container, int n_threads,
                                    bl_progress *progress, bl_bln_bad_fn bad, void *context,
                                    struct bl_err *err);

#endif
