/*
 * bln_writer_internal.h - a .bln that is being written. Internal to bln_writer*.c.
 */
#ifndef BL_FORMATS_BLN_WRITER_INTERNAL_H
#define BL_FORMATS_BLN_WRITER_INTERNAL_H

#include "base/hash.h"
#include "base/sink.h"
#include "base/text.h"
#include "formats/bln/bln_writer.h"

struct bl_bln_writer {
    char *path;
    bl_sink *sink;  /* of the file with the index */
    bl_sink **part; /* [n_parts], of the payload where that is split: part k is part[k - 1] */
    uint32_t n_parts;
    uint64_t part_bytes; /* at most; 0: not split */
    bl_text part_sizes;  /* packed, as the index wants them */
    bool force;
    uint32_t n_published; /* parts that have their names */
    bl_hasher *hasher;    /* of the entry that is being written */
    bl_bln_entry entry;   /* the same */
    uint64_t n_missing;   /* bytes until it is complete */
    uint32_t n_entries, n_chunks;
    bl_text entries, chunks, names; /* packed, as the index wants them */
    size_t noted[3];                /* bytes of these that checkpoints have */
    bl_text info;                   /* items that the caller added */
    bl_text index;
};

#endif
