/*
 * bln_layout.h - the fixed-size records of a .bln file, in memory and as bytes
 * (docs/format-bln.md). Internal to formats/bln.
 *
 * All integers are little-endian. Functions pack a record into bytes and back; nothing is
 * checked here, that is the reader's work.
 */
#ifndef BL_FORMATS_BLN_LAYOUT_H
#define BL_FORMATS_BLN_LAYOUT_H

#include "base/hash.h"
#include "formats/dtype/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BL_BLN_MAJOR = 1,
    BL_BLN_MINOR = 0,
    BL_BLN_ANCHOR_BYTES = 4096, /* superblock, trailer */
    BL_BLN_ALIGN = 64,          /* of every chunk, of the index and of the trailer */
    BL_BLN_MAX_ALIGN = 2 << 20,
    BL_BLN_CHUNK_BYTES = 1 << 20, /* at most, decoded */
    BL_BLN_MAX_CONST = 8,         /* bytes of the value that a const chunk repeats */
    BL_BLN_INDEX_MAX_BYTES = 1 << 30,
    BL_BLN_MAX_RATIO = 256, /* decoded to stored, of what is read into memory whole */
    BL_BLN_INDEX_HEADER_BYTES = 16,
    BL_BLN_SECTION_BYTES = 24,
    BL_BLN_ENTRY_BYTES = 128,
    BL_BLN_CHUNK_RECORD_BYTES = 32,
    BL_BLN_INFO_HEADER_BYTES = 8,
    BL_BLN_MAX_FILE_NAME = 255,
    BL_BLN_MAX_TENSOR_NAME = 65535
};

enum { BL_BLN_OPEN = 0, BL_BLN_COMPLETE = 1 }; /* states */

enum { BL_BLN_SPLIT = 1, BL_BLN_MAX_PARTS = 1000 }; /* feature bit: payload in files of its own */

/* What stands at the start and at the end of the file; the two differ in their magic only. */
typedef struct bl_bln_anchor {
    uint16_t major, minor;
    uint32_t state;
    uint64_t compat, ro_compat, incompat; /* feature bits */
    uint64_t file_bytes;
    uint64_t index_offset, index_stored, index_decoded;
    uint64_t index_hash; /* XXH3-64 of the decoded index */
    uint16_t index_codec;
    uint32_t part, n_parts;
    bl_hash128 id; /* XXH3-128 of the decoded index */
} bl_bln_anchor;

typedef enum bl_bln_place { BL_BLN_SUPERBLOCK, BL_BLN_TRAILER } bl_bln_place;

void bl_bln_pack_anchor(unsigned char bytes[BL_BLN_ANCHOR_BYTES], const bl_bln_anchor *anchor,
                        bl_bln_place place);
void bl_bln_unpack_anchor(bl_bln_anchor *anchor, const unsigned char bytes[BL_BLN_ANCHOR_BYTES]);
bool bl_bln_has_magic(const unsigned char bytes[8], bl_bln_place place);
/* Whether the checksum in the last eight bytes is right. */
bool bl_bln_anchor_is_sound(const unsigned char bytes[BL_BLN_ANCHOR_BYTES]);

enum {
    BL_BLN_SECTION_ENTRIES = 1,
    BL_BLN_SECTION_CHUNKS = 2,
    BL_BLN_SECTION_NAMES = 3,
    BL_BLN_SECTION_INFO = 4,
    BL_BLN_SECTION_PARTS = 5 /* u64 bytes of each part that has payload, in their order */
};

typedef struct bl_bln_section {
    uint32_t kind, record_bytes;
    uint64_t n_records, offset;
} bl_bln_section;

void bl_bln_pack_section(unsigned char bytes[BL_BLN_SECTION_BYTES], const bl_bln_section *section);
void bl_bln_unpack_section(bl_bln_section *section,
                           const unsigned char bytes[BL_BLN_SECTION_BYTES]);

enum { BL_BLN_TENSOR = 0, BL_BLN_SHARD_HEADER = 1, BL_BLN_SIDE_FILE = 2 }; /* kinds of entries */

typedef struct bl_bln_entry {
    uint32_t name_offset, n_name; /* in the section of names */
    uint8_t kind, ndim;
    uint16_t dtype; /* the format's number, see bl_bln_dtype_number() */
    uint32_t shard; /* of the source: tensors and shard headers */
    uint32_t first_chunk, n_chunks;
    uint64_t n_bytes; /* decoded */
    bl_hash128 hash;  /* XXH3-128 of the decoded bytes */
    uint32_t same_as; /* 0, or 1 + the number of an earlier entry whose chunks these are */
    uint64_t dim[BL_MAX_DIMS];
} bl_bln_entry;

void bl_bln_pack_entry(unsigned char bytes[BL_BLN_ENTRY_BYTES], const bl_bln_entry *entry);
void bl_bln_unpack_entry(bl_bln_entry *entry, const unsigned char bytes[BL_BLN_ENTRY_BYTES]);

enum {
    BL_BLN_RAW = 0,   /* as it is */
    BL_BLN_ZSTD = 1,  /* one zstd frame */
    BL_BLN_CONST = 2, /* one value of 1, 2, 4 or 8 bytes, repeated */
    BL_BLN_FP8 = 3,   /* E4M3: signs and mantissas, then exponents in a zstd frame */
    BL_BLN_BF16 = 4,  /* the same of BF16 */
    BL_BLN_ZLIB = 5,  /* one zlib stream */
    BL_BLN_N_CODECS
};

typedef struct bl_bln_chunk {
    uint64_t offset; /* in the file */
    uint32_t n_stored, n_decoded;
    uint16_t codec, part;
    uint64_t hash; /* XXH3-64 of the decoded bytes */
} bl_bln_chunk;

void bl_bln_pack_chunk(unsigned char bytes[BL_BLN_CHUNK_RECORD_BYTES], const bl_bln_chunk *chunk);
void bl_bln_unpack_chunk(bl_bln_chunk *chunk, const unsigned char bytes[BL_BLN_CHUNK_RECORD_BYTES]);

/* Keys of the section of further information. */
enum {
    BL_BLN_INFO_TOOL = 1, /* program and version, text */
    BL_BLN_INFO_SHA256 =
        2, /* u32 number of a header's or side file's entry, 32 bytes of the file */
    BL_BLN_INFO_RECIPE = 3, /* JSON */
    BL_BLN_SHA256_BYTES = 4 + 32
};

/* Numbers of element types in the format; false when there is none. */
bool bl_bln_dtype_number(uint16_t *out, bl_dtype dtype);
bool bl_bln_dtype_from_number(bl_dtype *out, uint16_t number);

#endif
