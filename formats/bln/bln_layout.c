/* bln_layout.c - one pair of functions per record; offsets are those of docs/format-bln.md. */
#include "formats/bln/bln_layout.h"

#include "base/le.h"

#include <string.h>

enum { ANCHOR_HASHED_BYTES = BL_BLN_ANCHOR_BYTES - 8 };

/* As in PNG: a byte that 7-bit transfer breaks, line ends that text transfer breaks. */
static const unsigned char magic[2][8] = {
    [BL_BLN_SUPERBLOCK] = { 0x89, 'B', 'L', 'N', '\r', '\n', 0x1a, '\n' },
    [BL_BLN_TRAILER] = { 0x89, 'b', 'l', 'n', '\r', '\n', 0x1a, '\n' },
};

void bl_bln_pack_anchor(unsigned char bytes[BL_BLN_ANCHOR_BYTES], const bl_bln_anchor *anchor,
                        bl_bln_place place)
{
    memset(bytes, 0, BL_BLN_ANCHOR_BYTES);
    memcpy(bytes, magic[place], 8);
    bl_put_u16(bytes + 8, anchor->major);
    bl_put_u16(bytes + 10, anchor->minor);
    bl_put_u32(bytes + 12, anchor->state);
    bl_put_u64(bytes + 16, anchor->compat);
    bl_put_u64(bytes + 24, anchor->ro_compat);
    bl_put_u64(bytes + 32, anchor->incompat);
    bl_put_u64(bytes + 40, anchor->file_bytes);
    bl_put_u64(bytes + 48, anchor->index_offset);
    bl_put_u64(bytes + 56, anchor->index_stored);
    bl_put_u64(bytes + 64, anchor->index_decoded);
    bl_put_u64(bytes + 72, anchor->index_hash);
    bl_put_u16(bytes + 80, anchor->index_codec);
    bl_put_u32(bytes + 84, anchor->part);
    bl_put_u32(bytes + 88, anchor->n_parts);
    bl_put_u64(bytes + 96, anchor->id.low);
    bl_put_u64(bytes + 104, anchor->id.high);
    bl_put_u64(bytes + ANCHOR_HASHED_BYTES, bl_hash64(bytes, ANCHOR_HASHED_BYTES));
}

void bl_bln_unpack_anchor(bl_bln_anchor *anchor, const unsigned char bytes[BL_BLN_ANCHOR_BYTES])
{
    *anchor = (bl_bln_anchor){
        .major = bl_get_u16(bytes + 8),
        .minor = bl_get_u16(bytes + 10),
        .state = bl_get_u32(bytes + 12),
        .compat = bl_get_u64(bytes + 16),
        .ro_compat = bl_get_u64(bytes + 24),
        .incompat = bl_get_u64(bytes + 32),
        .file_bytes = bl_get_u64(bytes + 40),
        .index_offset = bl_get_u64(bytes + 48),
        .index_stored = bl_get_u64(bytes + 56),
        .index_decoded = bl_get_u64(bytes + 64),
        .index_hash = bl_get_u64(bytes + 72),
        .index_codec = bl_get_u16(bytes + 80),
        .part = bl_get_u32(bytes + 84),
        .n_parts = bl_get_u32(bytes + 88),
        .id = { .low = bl_get_u64(bytes + 96), .high = bl_get_u64(bytes + 104) },
    };
}

bool bl_bln_has_magic(const unsigned char bytes[8], bl_bln_place place)
{
    return memcmp(bytes, magic[place], 8) == 0;
}

bool bl_bln_anchor_is_sound(const unsigned char bytes[BL_BLN_ANCHOR_BYTES])
{
    return bl_get_u64(bytes + ANCHOR_HASHED_BYTES) == bl_hash64(bytes, ANCHOR_HASHED_BYTES);
}

void bl_bln_pack_section(unsigned char bytes[BL_BLN_SECTION_BYTES], const bl_bln_section *section)
{
    bl_put_u32(bytes, section->kind);
    bl_put_u32(bytes + 4, section->record_bytes);
    bl_put_u64(bytes + 8, section->n_records);
    bl_put_u64(bytes + 16, section->offset);
}

void bl_bln_unpack_section(bl_bln_section *section, const unsigned char bytes[BL_BLN_SECTION_BYTES])
{
    *section = (bl_bln_section){
        .kind = bl_get_u32(bytes),
        .record_bytes = bl_get_u32(bytes + 4),
        .n_records = bl_get_u64(bytes + 8),
        .offset = bl_get_u64(bytes + 16),
    };
}

void bl_bln_pack_entry(unsigned char bytes[BL_BLN_ENTRY_BYTES], const bl_bln_entry *entry)
{
    memset(bytes, 0, BL_BLN_ENTRY_BYTES);
    bl_put_u32(bytes, entry->name_offset);
    bl_put_u32(bytes + 4, entry->n_name);
    bytes[8] = entry->kind;
    bytes[9] = entry->ndim;
    bl_put_u16(bytes + 10, entry->dtype);
    bl_put_u32(bytes + 12, entry->shard);
    bl_put_u32(bytes + 16, entry->first_chunk);
    bl_put_u32(bytes + 20, entry->n_chunks);
    bl_put_u64(bytes + 24, entry->n_bytes);
    bl_put_u64(bytes + 32, entry->hash.low);
    bl_put_u64(bytes + 40, entry->hash.high);
    bl_put_u32(bytes + 48, entry->same_as);
    for (size_t d = 0; d < BL_MAX_DIMS; d++)
        bl_put_u64(bytes + 64 + 8 * d, entry->dim[d]);
}

void bl_bln_unpack_entry(bl_bln_entry *entry, const unsigned char bytes[BL_BLN_ENTRY_BYTES])
{
    *entry = (bl_bln_entry){
        .name_offset = bl_get_u32(bytes),
        .n_name = bl_get_u32(bytes + 4),
        .kind = bytes[8],
        .ndim = bytes[9],
        .dtype = bl_get_u16(bytes + 10),
        .shard = bl_get_u32(bytes + 12),
        .first_chunk = bl_get_u32(bytes + 16),
        .n_chunks = bl_get_u32(bytes + 20),
        .n_bytes = bl_get_u64(bytes + 24),
        .hash = { .low = bl_get_u64(bytes + 32), .high = bl_get_u64(bytes + 40) },
        .same_as = bl_get_u32(bytes + 48),
    };
    for (size_t d = 0; d < BL_MAX_DIMS; d++)
        entry->dim[d] = bl_get_u64(bytes + 64 + 8 * d);
}

void bl_bln_pack_chunk(unsigned char bytes[BL_BLN_CHUNK_RECORD_BYTES], const bl_bln_chunk *chunk)
{
    memset(bytes, 0, BL_BLN_CHUNK_RECORD_BYTES);
    bl_put_u64(bytes, chunk->offset);
    bl_put_u32(bytes + 8, chunk->n_stored);
    bl_put_u32(bytes + 12, chunk->n_decoded);
    bl_put_u16(bytes + 16, chunk->codec);
    bl_put_u16(bytes + 18, chunk->part);
    bl_put_u64(bytes + 24, chunk->hash);
}

void bl_bln_unpack_chunk(bl_bln_chunk *chunk, const unsigned char bytes[BL_BLN_CHUNK_RECORD_BYTES])
{
    *chunk = (bl_bln_chunk){
        .offset = bl_get_u64(bytes),
        .n_stored = bl_get_u32(bytes + 8),
        .n_decoded = bl_get_u32(bytes + 12),
        .codec = bl_get_u16(bytes + 16),
        .part = bl_get_u16(bytes + 18),
        .hash = bl_get_u64(bytes + 24),
    };
}

/* Numbers in the file never change, whatever happens to the order of the enumeration. */
static const struct {
    uint16_t number;
    bl_dtype dtype;
} dtypes[] = {
    { 1, BL_BOOL },         { 2, BL_U8 },       { 3, BL_I8 },       { 4, BL_U16 },
    { 5, BL_I16 },          { 6, BL_U32 },      { 7, BL_I32 },      { 8, BL_U64 },
    { 9, BL_I64 },          { 10, BL_F4 },      { 11, BL_F6_E2M3 }, { 12, BL_F6_E3M2 },
    { 13, BL_F8_E4M3 },     { 14, BL_F8_E5M2 }, { 15, BL_F8_E8M0 }, { 16, BL_F8_E4M3FNUZ },
    { 17, BL_F8_E5M2FNUZ }, { 18, BL_F16 },     { 19, BL_BF16 },    { 20, BL_F32 },
    { 21, BL_F64 },         { 22, BL_C64 },
};

bool bl_bln_dtype_number(uint16_t *out, bl_dtype dtype)
{
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(*dtypes); i++) {
        if (dtypes[i].dtype == dtype) {
            *out = dtypes[i].number;
            return true;
        }
    }
    return false;
}

bool bl_bln_dtype_from_number(bl_dtype *out, uint16_t number)
{
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(*dtypes); i++) {
        if (dtypes[i].number == number) {
            *out = dtypes[i].dtype;
            return true;
        }
    }
    return false;
}
