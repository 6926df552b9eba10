/*
 * bln_writer.h - write a .bln file (docs/format-bln.md), front to back, in one pass.
 *
 * Calling sequence:
 *     bl_bln_begin(&writer, "x.bln", force, err);
 *     bl_bln_begin_entry(writer, &index, &item, err);    for each shard: its header, its tensors in
 *         bl_bln_put_chunk(writer, ...);                 file order; then side files by name
 *     bl_bln_commit(&writer, err);
 * or  bl_bln_abort(&writer);
 *
 * Chunks are coded by bl_bln_encode() (bln_codec.h), on as many threads as the caller likes; they
 * arrive here in order, on one. The bytes of the file depend on items and chunks only: no time,
 * no path. Memory: the index, about 130 bytes and the name for an entry and 32 for a chunk, three
 * times while it is written.
 */
#ifndef BL_FORMATS_BLN_WRITER_H
#define BL_FORMATS_BLN_WRITER_H

#include "base/err.h"
#include "base/keep.h"
#include "formats/bln/bln_layout.h"

#include <stdbool.h>

typedef struct bl_bln_writer bl_bln_writer;

typedef struct bl_bln_item {
    int kind;         /* BL_BLN_TENSOR, BL_BLN_SHARD_HEADER, BL_BLN_SIDE_FILE */
    const char *name; /* of the tensor, of the shard, of the file */
    bl_dtype dtype;   /* tensors only, as ndim and dim */
    uint32_t ndim;
    uint64_t dim[BL_MAX_DIMS];
    uint64_t n_bytes;
} bl_bln_item;

/* Decoded bytes of every chunk of an item but the last: whole rows where a row fits, and where 128
 * fit a multiple of 128, the height of an FP8 block. */
uint32_t bl_bln_chunk_bytes(const bl_bln_item *item);

/*
 * The same with the payload in files of its own, "x.bln.001" and so on, of at most part_bytes (one
 * chunk at least) each; the index stays in x.bln. They get their names when all are complete, x.bln
 * last. Memory: 1 MiB for each.
 */
BL_MUST_USE bl_status bl_bln_begin_split(bl_bln_writer **out, const char *path, bool force,
                                         uint64_t part_bytes, struct bl_err *err);

/*
 * The same for an output that can be gone on with (base/sink.h); keep NULL: it cannot. A run that
 * resumes calls bl_bln_resume() first.
 */
BL_MUST_USE bl_status bl_bln_begin_kept(bl_bln_writer **out, const char *path, bool force,
                                        const bl_keep_options *keep, struct bl_err *err);
/* What is kept; NULL: nothing. */
const bl_keep *bl_bln_kept(const bl_bln_writer *writer);

/*
 * Go to the last checkpoint: *n_entries are complete, and of the next one *n_done decoded bytes are
 * there, whose bytes the caller then gives to bl_bln_remember(), in pieces. BL_E_MISMATCH when what
 * the journal says makes no sense.
 */
BL_MUST_USE bl_status bl_bln_resume(uint32_t *n_entries, uint64_t *n_done, bl_bln_writer *writer,
                                    struct bl_err *err);
void bl_bln_remember(bl_bln_writer *writer, const unsigned char *decoded, size_t n);
/* Between chunks: have all that was put on the disk, and noted. */
BL_MUST_USE bl_status bl_bln_checkpoint(bl_bln_writer *writer, struct bl_err *err);

/* Add further information (bln_layout.h), behind what was added before; in any order with entries. */
BL_MUST_USE bl_status bl_bln_put_info(bl_bln_writer *writer, uint32_t key, const void *value,
                                      size_t n, struct bl_err *err);

/* As bl_sink_begin(). */
BL_MUST_USE bl_status bl_bln_begin(bl_bln_writer **out, const char *path, bool force,
                                   struct bl_err *err);

/*
 * The entry before must be complete. *index: its number, 0 for the first. BL_E_UNSUPPORTED for a
 * name or an element type that the format cannot hold.
 */
BL_MUST_USE bl_status bl_bln_begin_entry(bl_bln_writer *writer, uint32_t *index,
                                         const bl_bln_item *item, struct bl_err *err);

/*
 * The next chunk of the entry, as bl_bln_encode() gave it: chunk->n_stored bytes of `stored`,
 * and what they decode to. An entry is complete when its n_bytes have come.
 */
BL_MUST_USE bl_status bl_bln_put_chunk(bl_bln_writer *writer, const bl_bln_chunk *chunk,
                                       const unsigned char *stored, const unsigned char *decoded,
                                       struct bl_err *err);

/* A whole entry whose bytes are those of the earlier entry `same`: nothing is stored again. */
BL_MUST_USE bl_status bl_bln_put_same(bl_bln_writer *writer, const bl_bln_item *item, uint32_t same,
                                      struct bl_err *err);

uint64_t bl_bln_offset(const bl_bln_writer *writer); /* bytes written so far */

BL_MUST_USE bl_status bl_bln_commit(bl_bln_writer **writer, struct bl_err *err);
void bl_bln_abort(bl_bln_writer **writer); /* *writer may be NULL */

#endif
