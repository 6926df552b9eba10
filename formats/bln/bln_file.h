/*
 * bln_file.h - an open .bln and how an entry's bytes are read. Internal to formats/bln.
 */
#ifndef BL_FORMATS_BLN_FILE_H
#define BL_FORMATS_BLN_FILE_H

#include "base/arena.h"
#include "base/source.h"
#include "formats/bln/bln_codec.h"
#include "formats/bln/bln_index.h"
#include "formats/bln/bln_reader.h"
#include "formats/ckpt/container.h"

typedef struct bl_bln_file {
    bl_container base;
    bl_source *source;
    bl_source **part; /* [n_parts]: 0 is the source itself; NULL: it is all there is */
    bl_bln_index index;
    bl_arena arena;
    uint32_t *tensor_entry; /* numbers of entries: of stored tensor i, ... */
    uint32_t *shard_entry;
    uint32_t *side_file_entry;
} bl_bln_file;

/* Filled by the first read that wants it. Zero-initialise, or bl_bln_scratch_new(). */
struct bl_bln_scratch {
    bl_bln_decoder *decoder;
    unsigned char *stored, *decoded; /* `size` bytes each */
    size_t size;
};

void bl_bln_scratch_release(bl_bln_scratch *scratch);

/* Read n bytes at byte `offset` of an entry, which has at least offset + n. */
BL_MUST_USE bl_status bl_bln_read_entry(const bl_bln_file *file, bl_bln_scratch *scratch,
                                        const bl_bln_entry *entry, uint64_t offset,
                                        unsigned char *out, size_t n, struct bl_err *err);

#endif
