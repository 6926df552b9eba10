/*
 * cache_file.h - one shard of a cache, from any source: what is read once, and any sequence of it.
 *
 * The source is not kept: a cache may have more shards than a process may have open files.
 */
#ifndef BL_FORMATS_CACHE_FILE_H
#define BL_FORMATS_CACHE_FILE_H

#include "base/source.h"
#include "formats/logits/cache_layout.h"
#include "formats/logits/cache_record.h"

typedef struct bl_cache_file {
    bl_cache_header header;
    bl_cache_layout layout;
    bl_cache_index *index; /* [layout.n_seqs + 1]; the last is where the data ends */
    bl_cache_codes *codes; /* NULL: hidden */
    uint32_t *text;        /* [vocab_size] how often each id is in the tokens; NULL: not needed */
} bl_cache_file;           /* zero-initialise */

/* The header alone, for a look at what a file is. */
BL_MUST_USE bl_status bl_cache_file_look(bl_cache_file *out, bl_source *source, struct bl_err *err);

/* Check and keep all but the data. BL_E_FORMAT, BL_E_UNSUPPORTED, BL_E_IO, BL_E_NOMEM. */
BL_MUST_USE bl_status bl_cache_file_open(bl_cache_file *out, bl_source *source, struct bl_err *err);
void bl_cache_file_release(bl_cache_file *file); /* zeroed is allowed */

/* Sequence i of the shard. BL_E_MISMATCH when its bytes are damaged. */
BL_MUST_USE bl_status bl_cache_file_read(bl_cache_seq *out, const bl_cache_file *file,
                                         bl_source *source, uint32_t i, struct bl_err *err);

/* Compare every sequence with its hash. */
BL_MUST_USE bl_status bl_cache_file_check(const bl_cache_file *file, bl_source *source,
                                          struct bl_err *err);

#endif
