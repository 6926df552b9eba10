/* bln_index.c - from the superblock to the tables of the index; bln_check.c looks into them. */
#include "formats/bln/bln_index.h"

#include "base/alloc.h"
#include "base/le.h"
#include "base/size.h"
#include "formats/stream/stream.h"

#include <inttypes.h>
#include <string.h>

bl_bln_entry bl_bln_index_entry(const bl_bln_index *index, uint32_t i)
{
    bl_bln_entry entry;

    bl_bln_unpack_entry(&entry, index->entries.record + i * index->entries.record_bytes);
    return entry;
}

bl_bln_chunk bl_bln_index_chunk(const bl_bln_index *index, uint32_t i)
{
    bl_bln_chunk chunk;

    bl_bln_unpack_chunk(&chunk, index->chunks.record + i * index->chunks.record_bytes);
    return chunk;
}

const char *bl_bln_index_name(const bl_bln_index *index, const bl_bln_entry *entry)
{
    return index->names + entry->name_offset;
}

const char *bl_bln_kind_name(const bl_bln_entry *entry)
{
    static const char *const name[] = {
        [BL_BLN_TENSOR] = "tensor",
        [BL_BLN_SHARD_HEADER] = "header of",
        [BL_BLN_SIDE_FILE] = "file",
    };

    return name[entry->kind];
}

/* What the superblock promises about versions and features, before anything else is believed. */
static bl_status check_promises(const bl_bln_anchor *a, uint32_t want_part, const char *path,
                                struct bl_err *err)
{
    if (a->major != BL_BLN_MAJOR)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: .bln version %u.%u, this program reads %d.x",
                       path, a->major, a->minor, BL_BLN_MAJOR);
    if ((a->incompat & ~(uint64_t)BL_BLN_SPLIT) != 0)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: needs features that this program does not have (bits 0x%" PRIx64 ")",
                       path, a->incompat);
    if (a->state == BL_BLN_OPEN)
        return bl_fail(err, BL_E_FORMAT, "%s: incomplete: the run that wrote it did not finish",
                       path);
    if (a->state != BL_BLN_COMPLETE)
        return bl_fail(err, BL_E_FORMAT, "%s: state %u is neither open nor complete", path,
                       a->state);
    if (a->n_parts == 0 || a->n_parts > BL_BLN_MAX_PARTS ||
        ((a->incompat & BL_BLN_SPLIT) != 0) != (a->n_parts > 1) || a->part >= a->n_parts)
        return bl_fail(err, BL_E_FORMAT, "%s: part %u of %u is none that can be", path, a->part,
                       a->n_parts);
    if (a->part != want_part)
        return bl_fail(err, BL_E_FORMAT,
                       want_part == 0 ? "%s: part %u of an archive; open the one without a number"
                                      : "%s: is part %u of an archive, not what its name says",
                       path, a->part);
    return BL_OK;
}

static bl_status check_extents(const bl_bln_anchor *a, const bl_source *source, struct bl_err *err)
{
    uint64_t end;

    if (a->file_bytes != source->size)
        return bl_fail(err, BL_E_FORMAT, "%s: %s: has %" PRIu64 " bytes, should have %" PRIu64,
                       source->name, source->size < a->file_bytes ? "truncated" : "too long",
                       source->size, a->file_bytes);
    if (a->index_offset % BL_BLN_ALIGN != 0 || a->index_offset < BL_BLN_ANCHOR_BYTES ||
        a->index_stored == 0 || !bl_add_u64(&end, a->index_offset, a->index_stored) ||
        !bl_round_up_u64(&end, end, BL_BLN_ALIGN) || end != source->size - BL_BLN_ANCHOR_BYTES)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: the index (%" PRIu64 " bytes at %" PRIu64
                       ") does not end where the trailer begins",
                       source->name, a->index_stored, a->index_offset);
    if (a->index_decoded > BL_BLN_INDEX_MAX_BYTES ||
        a->index_decoded / BL_BLN_MAX_RATIO > a->index_stored)
        return bl_fail(err, BL_E_FORMAT, "%s: an index of %" PRIu64 " bytes, stored in %" PRIu64,
                       source->name, a->index_decoded, a->index_stored);
    return BL_OK;
}

/* Read superblock and trailer; they must say the same. */
static bl_status read_anchor(bl_bln_anchor *out, bl_source *source, struct bl_err *err)
{
    unsigned char head[BL_BLN_ANCHOR_BYTES], tail[BL_BLN_ANCHOR_BYTES];
    bl_status rc = BL_OK;

    memset(head, 0, sizeof(head));
    rc = bl_source_read(source, 0, head, (size_t)bl_min_u64(source->size, sizeof(head)), err);
    if (rc != BL_OK)
        return rc;
    if (!bl_bln_has_magic(head, BL_BLN_SUPERBLOCK))
        return bl_fail(err, BL_E_FORMAT, "%s: not a .bln file", source->name);
    if (source->size < UINT64_C(2) * BL_BLN_ANCHOR_BYTES)
        return bl_fail(err, BL_E_FORMAT, "%s: truncated after %" PRIu64 " bytes", source->name,
                       source->size);
    if (!bl_bln_anchor_is_sound(head))
        return bl_fail(err, BL_E_FORMAT, "%s: the superblock is damaged", source->name);
    bl_bln_unpack_anchor(out, head);
    rc = check_promises(out, 0, source->name, err);
    if (rc == BL_OK)
        rc = check_extents(out, source, err);
    if (rc == BL_OK)
        rc = bl_source_read(source, source->size - sizeof(tail), tail, sizeof(tail), err);
    if (rc != BL_OK)
        return rc;
    if (!bl_bln_has_magic(tail, BL_BLN_TRAILER) || !bl_bln_anchor_is_sound(tail))
        return bl_fail(err, BL_E_FORMAT, "%s: the trailer is damaged", source->name);
    if (memcmp(head + 8, tail + 8, sizeof(head) - 16) != 0)
        return bl_fail(err, BL_E_FORMAT, "%s: superblock and trailer disagree", source->name);
    return BL_OK;
}

static bl_status decode_index(unsigned char *out, const bl_bln_anchor *a, unsigned char *stored,
                              const char *path, struct bl_err *err)
{
    bl_decompressor *zstd = NULL;
    bl_status rc;

    if (a->index_codec == BL_BLN_RAW && a->index_stored == a->index_decoded) {
        memcpy(out, stored, (size_t)a->index_decoded);
        return BL_OK;
    }
    if (a->index_codec != BL_BLN_ZSTD)
        return bl_fail(err, a->index_codec == BL_BLN_RAW ? BL_E_FORMAT : BL_E_UNSUPPORTED,
                       "%s: the index is coded with %u in a way this program does not know", path,
                       a->index_codec);
    rc = bl_decompressor_new(&zstd, BL_STREAM_ZSTD, err);
    if (rc == BL_OK)
        rc = bl_stream_decompress(out, (size_t)a->index_decoded, zstd, stored,
                                  (size_t)a->index_stored, err);
    if (rc == BL_E_FORMAT)
        bl_err_prefix(err, "%s: the index is damaged", path);
    bl_decompressor_free(zstd);
    return rc;
}

static bl_status read_index(unsigned char **out, const bl_bln_anchor *a, bl_source *source,
                            struct bl_err *err)
{
    unsigned char *stored = bl_alloc((size_t)a->index_stored, 1);
    unsigned char *bytes = bl_alloc((size_t)a->index_decoded, 1);
    bl_status rc;

    if (!stored || !bytes)
        rc = bl_fail_nomem(err, source->name);
    else
        rc = bl_source_read(source, a->index_offset, stored, (size_t)a->index_stored, err);
    if (rc == BL_OK)
        rc = decode_index(bytes, a, stored, source->name, err);
    if (rc == BL_OK && bl_hash64(bytes, (size_t)a->index_decoded) != a->index_hash)
        rc = bl_fail(err, BL_E_FORMAT, "%s: the index is damaged: wrong checksum", source->name);
    bl_free(stored);
    if (rc != BL_OK) {
        bl_free(bytes);
        return rc;
    }
    *out = bytes;
    return BL_OK;
}

/* The item at byte *at of the information: *at goes behind it. NULL when there is none, or not whole. */
static const unsigned char *next_item(const bl_bln_index *index, size_t *at, uint32_t *key,
                                      uint32_t *n)
{
    const unsigned char *item = index->info + *at;
    uint64_t padded;

    if (index->n_info - *at < BL_BLN_INFO_HEADER_BYTES)
        return NULL;
    *key = bl_get_u32(item);
    *n = bl_get_u32(item + 4);
    padded = ((uint64_t)*n + 7) / 8 * 8;
    if (padded > index->n_info - *at - BL_BLN_INFO_HEADER_BYTES)
        return NULL;
    *at += BL_BLN_INFO_HEADER_BYTES + (size_t)padded;
    return item + BL_BLN_INFO_HEADER_BYTES;
}

static bool info_is_sound(const bl_bln_index *index)
{
    size_t at = 0;
    uint32_t key, n;

    while (at < index->n_info)
        if (!next_item(index, &at, &key, &n))
            return false;
    return true;
}

const unsigned char *bl_bln_index_info(const bl_bln_index *index, uint32_t key, size_t nth,
                                       uint32_t *n)
{
    const unsigned char *value;
    size_t at = 0;
    uint32_t its;

    while ((value = next_item(index, &at, &its, n)))
        if (its == key && nth-- == 0)
            return value;
    return NULL;
}

/* Find where a section's records are; they fill the index from *end without a hole. */
static bl_status take_section(bl_bln_index *index, const bl_bln_section *s, uint64_t *end,
                              uint64_t n_index, const char *path, struct bl_err *err)
{
    static const uint32_t at_least[] = { [BL_BLN_SECTION_ENTRIES] = BL_BLN_ENTRY_BYTES,
                                         [BL_BLN_SECTION_CHUNKS] = BL_BLN_CHUNK_RECORD_BYTES,
                                         [BL_BLN_SECTION_NAMES] = 1,
                                         [BL_BLN_SECTION_INFO] = 1 };
    const unsigned char *record;
    uint64_t n_bytes;

    if (s->record_bytes == 0 || s->offset != *end || s->n_records > UINT32_MAX ||
        !bl_mul_u64(&n_bytes, s->n_records, s->record_bytes) ||
        !bl_range_fits(s->offset, n_bytes, n_index) ||
        (s->kind <= BL_BLN_SECTION_INFO && s->record_bytes < at_least[s->kind]))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: section %u of the index is not where or what it should be", path,
                       s->kind);
    record = index->bytes + s->offset;
    if (s->kind == BL_BLN_SECTION_ENTRIES)
        index->entries = (bl_bln_table){ record, s->record_bytes, (uint32_t)s->n_records };
    else if (s->kind == BL_BLN_SECTION_CHUNKS)
        index->chunks = (bl_bln_table){ record, s->record_bytes, (uint32_t)s->n_records };
    else if (s->kind == BL_BLN_SECTION_NAMES && s->record_bytes == 1) {
        index->names = (const char *)record;
        index->n_names = (size_t)n_bytes;
    }
    if (s->kind == BL_BLN_SECTION_INFO && s->record_bytes == 1) {
        index->info = record;
        index->n_info = (size_t)n_bytes;
        if (!info_is_sound(index))
            return bl_fail(err, BL_E_FORMAT, "%s: the further information does not fit its items",
                           path);
    }
    if (s->kind == BL_BLN_SECTION_PARTS && s->record_bytes == 8 &&
        s->n_records + 1 == index->n_parts)
        index->part_bytes = record;
    return bl_round_up_u64(end, *end + n_bytes, 8)
               ? BL_OK
               : bl_fail(err, BL_E_FORMAT, "%s: the index overflows", path);
}

/* The table of sections: kinds ascend, the first three must be there, unknown ones are skipped. */
static bl_status find_sections(bl_bln_index *index, uint64_t n_index, const char *path,
                               struct bl_err *err)
{
    uint32_t n_sections, before = 0;
    uint64_t end;
    bl_status rc = BL_OK;

    if (n_index < BL_BLN_INDEX_HEADER_BYTES)
        return bl_fail(err, BL_E_FORMAT, "%s: the index has only %" PRIu64 " bytes", path, n_index);
    n_sections = bl_get_u32(index->bytes);
    index->align = bl_get_u32(index->bytes + 4);
    end = BL_BLN_INDEX_HEADER_BYTES + (uint64_t)n_sections * BL_BLN_SECTION_BYTES;
    if (end > n_index)
        return bl_fail(err, BL_E_FORMAT, "%s: %u sections do not fit into the index", path,
                       n_sections);
    if (index->align < BL_BLN_ALIGN || index->align > BL_BLN_MAX_ALIGN ||
        (index->align & (index->align - 1)) != 0)
        return bl_fail(err, BL_E_FORMAT, "%s: %u is no alignment", path, index->align);
    for (uint32_t i = 0; i < n_sections && rc == BL_OK; i++) {
        bl_bln_section s;

        bl_bln_unpack_section(&s, index->bytes + BL_BLN_INDEX_HEADER_BYTES +
                                      (size_t)i * BL_BLN_SECTION_BYTES);
        if (s.kind <= before)
            return bl_fail(err, BL_E_FORMAT, "%s: sections of the index are out of order", path);
        before = s.kind;
        rc = take_section(index, &s, &end, n_index, path, err);
    }
    if (rc == BL_OK && (!index->entries.record || !index->chunks.record || !index->names))
        rc = bl_fail(err, BL_E_FORMAT, "%s: the index lacks a section", path);
    if (rc == BL_OK && (index->n_parts > 1) != (index->part_bytes != NULL))
        rc = bl_fail(err, BL_E_FORMAT, "%s: the index does not know its parts", path);
    if (rc == BL_OK && end != n_index)
        rc = bl_fail(err, BL_E_FORMAT, "%s: the index does not end with its last section", path);
    return rc;
}

bl_status bl_bln_index_load(bl_bln_index *out, bl_source *source, struct bl_err *err)
{
    bl_bln_index index = { 0 };
    bl_bln_anchor anchor;
    bl_status rc = read_anchor(&anchor, source, err);

    if (rc == BL_OK)
        rc = read_index(&index.bytes, &anchor, source, err);
    if (rc != BL_OK)
        return rc;
    index.end = anchor.index_offset;
    index.n_parts = anchor.n_parts;
    index.id = anchor.id;
    rc = find_sections(&index, anchor.index_decoded, source->name, err);
    if (rc == BL_OK)
        rc = bl_bln_index_check(&index, source->name, err);
    if (rc != BL_OK) {
        bl_bln_index_release(&index);
        return rc;
    }
    *out = index;
    return BL_OK;
}

uint64_t bl_bln_index_part_bytes(const bl_bln_index *index, uint32_t k)
{
    return bl_get_u64(index->part_bytes + (size_t)(k - 1) * 8);
}

bl_status bl_bln_check_part(bl_source *part, const bl_bln_index *index, uint32_t k,
                            struct bl_err *err)
{
    unsigned char head[BL_BLN_ANCHOR_BYTES];
    bl_bln_anchor a;
    bl_status rc;

    memset(head, 0, sizeof(head));
    rc = bl_source_read(part, 0, head, (size_t)bl_min_u64(part->size, sizeof(head)), err);
    if (rc != BL_OK)
        return rc;
    if (!bl_bln_has_magic(head, BL_BLN_SUPERBLOCK) || !bl_bln_anchor_is_sound(head))
        return bl_fail(err, BL_E_FORMAT, "%s: no part of a .bln, or its superblock is damaged",
                       part->name);
    bl_bln_unpack_anchor(&a, head);
    rc = check_promises(&a, k, part->name, err);
    if (rc != BL_OK)
        return rc;
    if (a.n_parts != index->n_parts || !bl_hash128_equal(a.id, index->id))
        return bl_fail(err, BL_E_FORMAT, "%s: a part of another archive", part->name);
    if (a.file_bytes != part->size || part->size != bl_bln_index_part_bytes(index, k))
        return bl_fail(err, BL_E_FORMAT, "%s: has %" PRIu64 " bytes, should have %" PRIu64,
                       part->name, part->size, bl_bln_index_part_bytes(index, k));
    return BL_OK;
}

void bl_bln_index_release(bl_bln_index *index)
{
    bl_free(index->bytes);
    *index = (bl_bln_index){ 0 };
}
