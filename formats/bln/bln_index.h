/*
 * bln_index.h - the index of a .bln file: loaded, checked to the last field, then immutable.
 * Internal to formats/bln.
 *
 * The decoded index is kept as it is and records are unpacked when they are asked for; names are
 * borrowed from it. Once bl_bln_index_load() has succeeded, every number that a record holds can
 * be used without another look.
 */
#ifndef BL_FORMATS_BLN_INDEX_H
#define BL_FORMATS_BLN_INDEX_H

#include "base/err.h"
#include "base/source.h"
#include "formats/bln/bln_layout.h"

typedef struct bl_bln_table {
    const unsigned char *record;
    size_t record_bytes; /* from one to the next; at least what this version knows */
    uint32_t n;
} bl_bln_table;

typedef struct bl_bln_index {
    unsigned char *bytes;
    bl_bln_table entries, chunks;
    const char *names;
    size_t n_names;            /* bytes */
    const unsigned char *info; /* items, end to end; NULL: none */
    size_t n_info;
    uint32_t align;
    const unsigned char *part_bytes; /* u64 of each; NULL: payload lies in this file */
    uint32_t n_parts;                /* files in all: 1, or 1 + those with payload */
    bl_hash128 id;
    uint64_t end; /* offset of the index in the file: where the payload ends */
    uint32_t n_tensors, n_shards, n_side_files;
} bl_bln_index;

/* Fails with BL_E_IO, BL_E_FORMAT, BL_E_UNSUPPORTED or BL_E_NOMEM. *out is set on success only. */
BL_MUST_USE bl_status bl_bln_index_load(bl_bln_index *out, bl_source *source, struct bl_err *err);
void bl_bln_index_release(bl_bln_index *index);

bl_bln_entry bl_bln_index_entry(const bl_bln_index *index, uint32_t i);
bl_bln_chunk bl_bln_index_chunk(const bl_bln_index *index, uint32_t i);
const char *bl_bln_index_name(const bl_bln_index *index, const bl_bln_entry *entry);

/*
 * Item `nth` (from 0) of the further information with this key: its value, of *n bytes; NULL when there
 * is none.
 */
const unsigned char *bl_bln_index_info(const bl_bln_index *index, uint32_t key, size_t nth,
                                       uint32_t *n);
const char *bl_bln_kind_name(const bl_bln_entry *entry); /* "tensor", "header of", "file" */

/* Bytes of part k, from 1. */
uint64_t bl_bln_index_part_bytes(const bl_bln_index *index, uint32_t k);

/* Check the superblock of part k of an archive whose index this is. */
BL_MUST_USE bl_status bl_bln_check_part(bl_source *part, const bl_bln_index *index, uint32_t k,
                                        struct bl_err *err);

/* Check entries, chunks and names against each other and the payload; count the kinds. */
BL_MUST_USE bl_status bl_bln_index_check(bl_bln_index *index, const char *path, struct bl_err *err);

#endif
