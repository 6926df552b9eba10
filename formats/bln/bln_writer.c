/* bln_writer.c - payload as it comes, then the index, then the superblock that points to it. */
#include "formats/bln/bln_writer_internal.h"

#include "base/alloc.h"
#include "base/le.h"
#include "base/size.h"
#include "base/sink.h"
#include "base/text.h"
#include "formats/bln/bln_name.h"
#include "formats/stream/stream.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

uint32_t bl_bln_chunk_bytes(const bl_bln_item *item)
{
    uint64_t n_rows = 1, row_bytes, n_fit;

    for (uint32_t d = 0; d + 1 < item->ndim; d++)
        if (!bl_mul_u64(&n_rows, n_rows, item->dim[d]))
            return BL_BLN_CHUNK_BYTES;
    if (n_rows == 0 || item->n_bytes == 0 || item->n_bytes % n_rows != 0)
        return BL_BLN_CHUNK_BYTES;
    row_bytes = item->n_bytes / n_rows;
    if (item->kind != BL_BLN_TENSOR || n_rows == 1 || row_bytes > BL_BLN_CHUNK_BYTES)
        return BL_BLN_CHUNK_BYTES;
    n_fit = BL_BLN_CHUNK_BYTES / row_bytes;
    if (n_fit >= 128)
        n_fit -= n_fit % 128;
    return (uint32_t)(n_fit * row_bytes);
}

static bl_status write_superblock(bl_bln_writer *w, const bl_bln_anchor *anchor, struct bl_err *err)
{
    unsigned char bytes[BL_BLN_ANCHOR_BYTES];

    bl_bln_pack_anchor(bytes, anchor, BL_BLN_SUPERBLOCK);
    if (anchor->state == BL_BLN_OPEN)
        return bl_sink_write(w->sink, bytes, sizeof(bytes), err);
    return bl_sink_patch(w->sink, 0, bytes, sizeof(bytes), err);
}

bl_status bl_bln_begin_kept(bl_bln_writer **out, const char *path, bool force,
                            const bl_keep_options *keep, struct bl_err *err)
{
    bl_keep_options options = keep ? *keep : (bl_keep_options){ 0 };
    const bl_bln_anchor anchor = { .major = BL_BLN_MAJOR, .minor = BL_BLN_MINOR, .n_parts = 1 };
    bl_bln_writer *w = bl_calloc(1, sizeof(*w));
    bl_status rc;

    if (w)
        w->path = bl_strdup(path);
    if (!w || !w->path) {
        bl_free(w);
        return bl_fail_nomem(err, path);
    }
    rc = bl_hasher_new(&w->hasher, err);
    options.loose = BL_BLN_ANCHOR_BYTES; /* the superblock, which is written last */
    if (rc == BL_OK)
        rc = bl_sink_begin_kept(&w->sink, path, force, keep ? &options : NULL, err);
    if (rc == BL_OK)
        rc = write_superblock(w, &anchor, err);
    if (rc != BL_OK) {
        bl_bln_abort(&w);
        return rc;
    }
    *out = w;
    return BL_OK;
}

bl_status bl_bln_begin(bl_bln_writer **out, const char *path, bool force, struct bl_err *err)
{
    return bl_bln_begin_kept(out, path, force, NULL, err);
}

const bl_keep *bl_bln_kept(const bl_bln_writer *writer)
{
    return bl_sink_kept(writer->sink);
}

uint64_t bl_bln_offset(const bl_bln_writer *writer)
{
    return bl_sink_offset(writer->sink);
}

static bl_status pad(bl_sink *sink, struct bl_err *err)
{
    uint64_t rest = bl_sink_offset(sink) % BL_BLN_ALIGN;

    return rest == 0 ? BL_OK : bl_sink_write_zeros(sink, BL_BLN_ALIGN - rest, err);
}

bl_status bl_bln_begin_split(bl_bln_writer **out, const char *path, bool force, uint64_t part_bytes,
                             struct bl_err *err)
{
    bl_status rc = bl_bln_begin(out, path, force, err);

    if (rc == BL_OK) {
        (*out)->part_bytes = part_bytes;
        (*out)->force = force;
    }
    return rc;
}

/* Open the next file for payload. */
static bl_status begin_part(bl_bln_writer *w, struct bl_err *err)
{
    const bl_bln_anchor open = { .major = BL_BLN_MAJOR, .minor = BL_BLN_MINOR, .n_parts = 1 };
    unsigned char bytes[BL_BLN_ANCHOR_BYTES];
    bl_sink **larger;
    char *path;
    bl_status rc;

    if (w->n_parts + 2 > BL_BLN_MAX_PARTS)
        return bl_fail(err, BL_E_USAGE, "%s: more than %d parts; make them larger", w->path,
                       BL_BLN_MAX_PARTS - 1);
    larger = bl_realloc(w->part, w->n_parts + 1, sizeof(bl_sink *));
    if (!larger)
        return bl_fail_nomem(err, w->path);
    w->part = larger;
    larger[w->n_parts] = NULL;
    path = bl_bln_part_name(w->path, w->n_parts + 1);
    rc = path ? bl_sink_begin(&larger[w->n_parts], path, w->force, err)
              : bl_fail_nomem(err, w->path);
    bl_free(path);
    if (rc != BL_OK)
        return rc;
    w->n_parts++;
    bl_bln_pack_anchor(bytes, &open, BL_BLN_SUPERBLOCK);
    return bl_sink_write(larger[w->n_parts - 1], bytes, sizeof(bytes), err);
}

/* Where a chunk of n bytes goes, padded to its place. */
static bl_status find_place(bl_sink **sink, bl_bln_writer *w, uint32_t n, struct bl_err *err)
{
    bl_status rc = BL_OK;

    *sink = w->sink;
    if (w->part_bytes > 0) {
        uint64_t at = w->n_parts > 0 ? bl_sink_offset(w->part[w->n_parts - 1]) : 0;

        if (at == 0 || (at > BL_BLN_ANCHOR_BYTES && at + BL_BLN_ALIGN + n > w->part_bytes))
            rc = begin_part(w, err);
        if (rc != BL_OK)
            return rc;
        *sink = w->part[w->n_parts - 1];
    }
    return pad(*sink, err);
}

/* The entry is complete: pack its record. */
static bl_status seal_entry(bl_bln_writer *w, struct bl_err *err)
{
    unsigned char record[BL_BLN_ENTRY_BYTES];

    bl_bln_pack_entry(record, &w->entry);
    bl_text_add(&w->entries, (const char *)record, sizeof(record));
    return bl_text_check(&w->entries, err);
}

/* Start w->entry from an item; its name goes to the section of names. */
static bl_status take_item(bl_bln_writer *w, const bl_bln_item *item, struct bl_err *err)
{
    bool tensor = item->kind == BL_BLN_TENSOR;
    size_t n_name = strlen(item->name);
    const char *fault = tensor ? bl_bln_tensor_name_fault(item->name, n_name)
                               : bl_bln_file_name_fault(item->name, n_name);

    assert(w->n_missing == 0);
    if (fault)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: the name '%s' %s", w->path, item->name, fault);
    if (w->names.n > UINT32_MAX - n_name - 1 || w->n_entries == UINT32_MAX - 1)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: more tensors than a .bln can name", w->path);
    w->entry = (bl_bln_entry){ .name_offset = (uint32_t)w->names.n,
                               .n_name = (uint32_t)n_name,
                               .kind = (uint8_t)item->kind,
                               .ndim = tensor ? (uint8_t)item->ndim : 0,
                               .n_bytes = item->n_bytes };
    if (tensor && !bl_bln_dtype_number(&w->entry.dtype, item->dtype))
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: tensor '%s': a .bln cannot hold %s", w->path,
                       item->name, bl_dtype_name(item->dtype));
    for (uint32_t d = 0; tensor && d < item->ndim; d++)
        w->entry.dim[d] = item->dim[d];
    bl_text_add(&w->names, item->name, n_name + 1);
    w->n_entries++;
    return bl_text_check(&w->names, err);
}

/* Which source shard an entry belongs to: the one whose header came last. */
static uint32_t shard_of(const bl_bln_writer *w, int kind)
{
    bl_bln_entry entry;

    if (kind == BL_BLN_SIDE_FILE || w->entries.n == 0)
        return 0;
    bl_bln_unpack_entry(&entry, (const unsigned char *)w->entries.bytes + w->entries.n -
                                    BL_BLN_ENTRY_BYTES);
    return entry.shard + (kind == BL_BLN_SHARD_HEADER);
}

bl_status bl_bln_begin_entry(bl_bln_writer *writer, uint32_t *index, const bl_bln_item *item,
                             struct bl_err *err)
{
    bl_status rc = take_item(writer, item, err);

    if (rc != BL_OK)
        return rc;
    *index = writer->n_entries - 1;
    writer->entry.shard = shard_of(writer, item->kind);
    writer->entry.first_chunk = writer->n_chunks;
    writer->n_missing = item->n_bytes;
    bl_hasher_reset(writer->hasher);
    if (item->n_bytes > 0)
        return BL_OK;
    writer->entry.hash = bl_hasher_digest(writer->hasher);
    return seal_entry(writer, err);
}

bl_status bl_bln_put_chunk(bl_bln_writer *writer, const bl_bln_chunk *chunk,
                           const unsigned char *stored, const unsigned char *decoded,
                           struct bl_err *err)
{
    unsigned char record[BL_BLN_CHUNK_RECORD_BYTES];
    bl_bln_chunk placed = *chunk;
    bl_sink *sink = NULL;
    bl_status rc = find_place(&sink, writer, chunk->n_stored, err);

    assert(chunk->n_decoded > 0 && chunk->n_decoded <= writer->n_missing);
    if (rc != BL_OK)
        return rc;
    placed.offset = bl_sink_offset(sink);
    placed.part = (uint16_t)writer->n_parts;
    if (rc == BL_OK && writer->n_chunks == UINT32_MAX)
        rc = bl_fail(err, BL_E_UNSUPPORTED, "%s: more chunks than a .bln can hold", writer->path);
    if (rc == BL_OK)
        rc = bl_sink_write(sink, stored, chunk->n_stored, err);
    if (rc != BL_OK)
        return rc;
    bl_bln_pack_chunk(record, &placed);
    bl_text_add(&writer->chunks, (const char *)record, sizeof(record));
    rc = bl_text_check(&writer->chunks, err);
    if (rc != BL_OK)
        return rc;
    bl_hasher_add(writer->hasher, decoded, chunk->n_decoded);
    writer->n_chunks++;
    writer->entry.n_chunks++;
    writer->n_missing -= chunk->n_decoded;
    if (writer->n_missing > 0)
        return BL_OK;
    writer->entry.hash = bl_hasher_digest(writer->hasher);
    return seal_entry(writer, err);
}

bl_status bl_bln_put_same(bl_bln_writer *writer, const bl_bln_item *item, uint32_t same,
                          struct bl_err *err)
{
    bl_bln_entry first;
    bl_status rc = take_item(writer, item, err);

    if (rc != BL_OK)
        return rc;
    assert(same < writer->n_entries - 1);
    bl_bln_unpack_entry(&first, (const unsigned char *)writer->entries.bytes +
                                    (size_t)same * BL_BLN_ENTRY_BYTES);
    assert(first.same_as == 0 && first.n_bytes == item->n_bytes);
    writer->entry.shard = shard_of(writer, item->kind);
    writer->entry.first_chunk = first.first_chunk;
    writer->entry.n_chunks = first.n_chunks;
    writer->entry.hash = first.hash;
    writer->entry.same_as = same + 1;
    return seal_entry(writer, err);
}

/* An item, padded to a multiple of eight. */
static void add_info(bl_text *info, uint32_t key, const void *value, size_t n)
{
    unsigned char header[BL_BLN_INFO_HEADER_BYTES];

    bl_put_u32(header, key);
    bl_put_u32(header + 4, (uint32_t)n);
    bl_text_add(info, (const char *)header, sizeof(header));
    bl_text_add(info, value, n);
    bl_text_add(info, "\0\0\0\0\0\0\0", (8 - n % 8) % 8);
}

bl_status bl_bln_put_info(bl_bln_writer *writer, uint32_t key, const void *value, size_t n,
                          struct bl_err *err)
{
    add_info(&writer->info, key, value, n);
    return bl_text_check(&writer->info, err);
}

/* Header, table of sections, sections: each starts at a multiple of eight. */
static bl_status build_index(bl_bln_writer *w, struct bl_err *err)
{
    static const char tool[] = "baleen " BL_VERSION;
    bl_text info = { 0 };
    const struct {
        uint32_t kind, record_bytes;
        const bl_text *text;
    } part[] = {
        { BL_BLN_SECTION_ENTRIES, BL_BLN_ENTRY_BYTES, &w->entries },
        { BL_BLN_SECTION_CHUNKS, BL_BLN_CHUNK_RECORD_BYTES, &w->chunks },
        { BL_BLN_SECTION_NAMES, 1, &w->names },
        { BL_BLN_SECTION_INFO, 1, &info },
        { BL_BLN_SECTION_PARTS, 8, &w->part_sizes },
    };
    const size_t n_sections = sizeof(part) / sizeof(*part) - (w->n_parts == 0);
    uint64_t offset = BL_BLN_INDEX_HEADER_BYTES + n_sections * BL_BLN_SECTION_BYTES;
    unsigned char header[BL_BLN_INDEX_HEADER_BYTES] = { 0 };
    bl_status rc;

    add_info(&info, BL_BLN_INFO_TOOL, tool, sizeof(tool) - 1);
    if (w->info.n > 0)
        bl_text_add(&info, w->info.bytes, w->info.n);
    bl_put_u32(header, (uint32_t)n_sections);
    bl_put_u32(header + 4, BL_BLN_ALIGN);
    bl_text_add(&w->index, (const char *)header, sizeof(header));
    for (size_t i = 0; i < n_sections; i++) {
        unsigned char record[BL_BLN_SECTION_BYTES];
        uint64_t n_bytes = part[i].text->n;

        bl_bln_pack_section(record, &(bl_bln_section){ .kind = part[i].kind,
                                                       .record_bytes = part[i].record_bytes,
                                                       .n_records = n_bytes / part[i].record_bytes,
                                                       .offset = offset });
        bl_text_add(&w->index, (const char *)record, sizeof(record));
        offset += n_bytes + (8 - n_bytes % 8) % 8;
    }
    for (size_t i = 0; i < n_sections; i++) {
        if (part[i].text->n > 0)
            bl_text_add(&w->index, part[i].text->bytes, part[i].text->n);
        bl_text_add(&w->index, "\0\0\0\0\0\0\0", (8 - part[i].text->n % 8) % 8);
    }
    rc = info.failed ? bl_text_check(&info, err) : bl_text_check(&w->index, err);
    bl_text_release(&info);
    return rc;
}

/* Compress the index when that pays, write it, and say in the anchor where it is. */
static bl_status write_index(bl_bln_writer *w, bl_bln_anchor *anchor, struct bl_err *err)
{
    bl_compressor *zstd = NULL;
    unsigned char *stored = NULL;
    const void *bytes = w->index.bytes;
    size_t n = w->index.n, size, n_stored = 0;
    bl_status rc = pad(w->sink, err);

    if (rc != BL_OK)
        return rc;
    if (n > BL_BLN_INDEX_MAX_BYTES)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: an index of %zu bytes is too large", w->path, n);
    size = bl_stream_bound(BL_STREAM_ZSTD, n);
    stored = bl_alloc(size, 1);
    rc = stored ? bl_compressor_new(&zstd, BL_STREAM_ZSTD, err) : bl_fail_nomem(err, w->path);
    if (rc == BL_OK)
        rc = bl_stream_compress(stored, size, &n_stored, zstd, bytes, n, BL_STREAM_TEXT, err);
    if (rc != BL_OK)
        goto done;
    anchor->index_offset = bl_sink_offset(w->sink);
    anchor->index_decoded = n;
    anchor->index_codec = BL_BLN_RAW;
    anchor->index_stored = n;
    /* A reader allocates by what the file justifies, so an index may not be too well compressed. */
    if (n_stored < n && n / n_stored < BL_BLN_MAX_RATIO) {
        anchor->index_codec = BL_BLN_ZSTD;
        anchor->index_stored = n_stored;
        bytes = stored;
    }
    rc = bl_sink_write(w->sink, bytes, (size_t)anchor->index_stored, err);
done:
    bl_compressor_free(zstd);
    bl_free(stored);
    return rc;
}

static void put_u64(bl_text *out, uint64_t value)
{
    unsigned char bytes[8];

    bl_put_u64(bytes, value);
    bl_text_add(out, (const char *)bytes, sizeof(bytes));
}

/* How large the files of the payload have become. */
static bl_status measure_parts(bl_bln_writer *w, struct bl_err *err)
{
    for (uint32_t k = 0; k < w->n_parts; k++)
        put_u64(&w->part_sizes, bl_sink_offset(w->part[k]));
    return bl_text_check(&w->part_sizes, err);
}

/* The parts' superblocks, which say of which archive they are; then their names. */
static bl_status commit_parts(bl_bln_writer *w, const bl_bln_anchor *of, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (uint32_t k = 0; k < w->n_parts && rc == BL_OK; k++) {
        bl_bln_anchor anchor = { .major = of->major,
                                 .minor = of->minor,
                                 .state = of->state,
                                 .incompat = of->incompat,
                                 .file_bytes = bl_sink_offset(w->part[k]),
                                 .part = k + 1,
                                 .n_parts = of->n_parts,
                                 .id = of->id };
        unsigned char bytes[BL_BLN_ANCHOR_BYTES];

        bl_bln_pack_anchor(bytes, &anchor, BL_BLN_SUPERBLOCK);
        rc = bl_sink_patch(w->part[k], 0, bytes, sizeof(bytes), err);
    }
    for (uint32_t k = 0; k < w->n_parts && rc == BL_OK; k++) {
        rc = bl_sink_commit(&w->part[k], err);
        w->n_published += rc == BL_OK;
    }
    return rc;
}

/* What has its name already goes when the archive does not become whole. */
static void remove_published(bl_bln_writer *w)
{
    for (uint32_t k = 0; k < w->n_published; k++) {
        char *path = bl_bln_part_name(w->path, k + 1);
        struct bl_err unused;

        if (path && bl_sink_remove(path, &unused) != BL_OK)
            w->n_published = 0; /* the disk fails: the sentence says so already */
        bl_free(path);
    }
}

static bl_status finish(bl_bln_writer *w, struct bl_err *err)
{
    bl_bln_anchor anchor = { .major = BL_BLN_MAJOR,
                             .minor = BL_BLN_MINOR,
                             .state = BL_BLN_COMPLETE,
                             .incompat = w->n_parts > 0 ? BL_BLN_SPLIT : 0,
                             .n_parts = w->n_parts + 1 };
    unsigned char trailer[BL_BLN_ANCHOR_BYTES];
    bl_status rc = measure_parts(w, err);

    if (rc == BL_OK)
        rc = build_index(w, err);

    assert(w->n_missing == 0);
    if (rc == BL_OK)
        rc = write_index(w, &anchor, err);
    if (rc == BL_OK)
        rc = pad(w->sink, err);
    if (rc != BL_OK)
        return rc;
    anchor.index_hash = bl_hash64(w->index.bytes, w->index.n);
    bl_hasher_reset(w->hasher);
    bl_hasher_add(w->hasher, w->index.bytes, w->index.n);
    anchor.id = bl_hasher_digest(w->hasher);
    anchor.file_bytes = bl_sink_offset(w->sink) + BL_BLN_ANCHOR_BYTES;
    bl_bln_pack_anchor(trailer, &anchor, BL_BLN_TRAILER);
    rc = bl_sink_write(w->sink, trailer, sizeof(trailer), err);
    if (rc == BL_OK)
        rc = write_superblock(w, &anchor, err);
    return rc == BL_OK ? commit_parts(w, &anchor, err) : rc;
}

bl_status bl_bln_commit(bl_bln_writer **writer, struct bl_err *err)
{
    bl_status rc = finish(*writer, err);

    if (rc == BL_OK)
        rc = bl_sink_commit(&(*writer)->sink, err);
    if (rc != BL_OK)
        remove_published(*writer);
    bl_bln_abort(writer); /* the sink is gone when it was committed: this only frees */
    return rc;
}

void bl_bln_abort(bl_bln_writer **writer)
{
    bl_bln_writer *w = *writer;

    if (!w)
        return;
    bl_sink_abort(&w->sink);
    for (uint32_t k = 0; k < w->n_parts; k++)
        bl_sink_abort(&w->part[k]);
    bl_free(w->part);
    bl_text_release(&w->part_sizes);
    bl_hasher_free(w->hasher);
    bl_text_release(&w->entries);
    bl_text_release(&w->chunks);
    bl_text_release(&w->names);
    bl_text_release(&w->info);
    bl_text_release(&w->index);
    bl_free(w->path);
    bl_free(w);
    *writer = NULL;
}
