/* bln_writer.c - payload as it comes, then the index, then the superblock that points to it. */
#include "formats/bln/bln_writer.h"

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

struct bl_bln_writer {
    char *path;
    bl_sink *sink;
    bl_hasher *hasher;  /* of the entry that is being written */
    bl_bln_entry entry; /* the same */
    uint64_t n_missing; /* bytes until it is complete */
    uint32_t n_entries, n_chunks;
    bl_text entries, chunks, names; /* packed, as the index wants them */
    size_t noted[3];                /* bytes of these that checkpoints have */
    bl_text index;
};

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

static bl_status pad(bl_bln_writer *w, struct bl_err *err)
{
    uint64_t rest = bl_sink_offset(w->sink) % BL_BLN_ALIGN;

    return rest == 0 ? BL_OK : bl_sink_write_zeros(w->sink, BL_BLN_ALIGN - rest, err);
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
    bl_status rc = pad(writer, err);

    assert(chunk->n_decoded > 0 && chunk->n_decoded <= writer->n_missing);
    placed.offset = bl_sink_offset(writer->sink);
    if (rc == BL_OK && writer->n_chunks == UINT32_MAX)
        rc = bl_fail(err, BL_E_UNSUPPORTED, "%s: more chunks than a .bln can hold", writer->path);
    if (rc == BL_OK)
        rc = bl_sink_write(writer->sink, stored, chunk->n_stored, err);
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

/*
 * State of a checkpoint: u64 offset in the file, u64 bytes that the entry in progress still misses, its
 * record of 128 bytes (zeros for none), then what was added to the three tables since the checkpoint
 * before, each behind its length (u64).
 */
enum { STATE_HEAD_BYTES = 16 + BL_BLN_ENTRY_BYTES };

static void put_u64(bl_text *out, uint64_t value)
{
    unsigned char bytes[8];

    bl_put_u64(bytes, value);
    bl_text_add(out, (const char *)bytes, sizeof(bytes));
}

bl_status bl_bln_checkpoint(bl_bln_writer *writer, struct bl_err *err)
{
    const bl_text *table[] = { &writer->entries, &writer->chunks, &writer->names };
    unsigned char record[BL_BLN_ENTRY_BYTES] = { 0 };
    bl_text state = { 0 };
    bl_status rc;

    if (writer->n_missing > 0)
        bl_bln_pack_entry(record, &writer->entry);
    put_u64(&state, bl_sink_offset(writer->sink));
    put_u64(&state, writer->n_missing);
    bl_text_add(&state, (const char *)record, sizeof(record));
    for (int i = 0; i < 3; i++) {
        put_u64(&state, table[i]->n - writer->noted[i]);
        if (table[i]->n > writer->noted[i])
            bl_text_add(&state, table[i]->bytes + writer->noted[i], table[i]->n - writer->noted[i]);
    }
    rc = bl_text_check(&state, err);
    if (rc == BL_OK)
        rc = bl_sink_checkpoint(writer->sink, state.bytes, state.n, err);
    for (int i = 0; i < 3 && rc == BL_OK; i++)
        writer->noted[i] = table[i]->n;
    bl_text_release(&state);
    return rc;
}

/* Take one state; false when it makes no sense. */
static bool take_state(bl_bln_writer *w, uint64_t *offset, const unsigned char *bytes, size_t n)
{
    bl_text *table[] = { &w->entries, &w->chunks, &w->names };
    size_t at = STATE_HEAD_BYTES;

    if (n < at)
        return false;
    *offset = bl_get_u64(bytes);
    w->n_missing = bl_get_u64(bytes + 8);
    bl_bln_unpack_entry(&w->entry, bytes + 16);
    for (int i = 0; i < 3; i++) {
        uint64_t size;

        if (n - at < 8)
            return false;
        size = bl_get_u64(bytes + at);
        at += 8;
        if (size > n - at)
            return false;
        if (size > 0)
            bl_text_add(table[i], (const char *)bytes + at, (size_t)size);
        at += (size_t)size;
        w->noted[i] = table[i]->n;
    }
    return at == n && w->entries.n % BL_BLN_ENTRY_BYTES == 0 &&
           w->chunks.n % BL_BLN_CHUNK_RECORD_BYTES == 0 && w->n_missing <= w->entry.n_bytes &&
           w->entries.n / BL_BLN_ENTRY_BYTES < UINT32_MAX - 1 &&
           w->chunks.n / BL_BLN_CHUNK_RECORD_BYTES <= UINT32_MAX;
}

bl_status bl_bln_resume(uint32_t *n_entries, uint64_t *n_done, bl_bln_writer *writer,
                        struct bl_err *err)
{
    const bl_keep *keep = bl_sink_kept(writer->sink);
    uint64_t offset = BL_BLN_ANCHOR_BYTES, verified = bl_sink_verified(writer->sink);
    bl_status rc;

    for (size_t i = 0; keep && i < bl_keep_n_states(keep); i++) {
        size_t n;
        const void *state = bl_keep_state(&n, keep, i);

        if (!take_state(writer, &offset, state, n) || offset < bl_sink_offset(writer->sink) ||
            offset > verified)
            return bl_fail(err, BL_E_MISMATCH,
                           "%s: its journal does not fit this run; --force starts anew",
                           writer->path);
    }
    rc = bl_text_check(&writer->entries, err);
    if (rc == BL_OK)
        rc = bl_text_check(&writer->chunks, err);
    if (rc == BL_OK)
        rc = bl_text_check(&writer->names, err);
    if (rc != BL_OK)
        return rc;
    if (offset > bl_sink_offset(writer->sink))
        bl_sink_skip(writer->sink, offset - bl_sink_offset(writer->sink));
    *n_entries = (uint32_t)(writer->entries.n / BL_BLN_ENTRY_BYTES);
    *n_done = writer->n_missing > 0 ? writer->entry.n_bytes - writer->n_missing : 0;
    writer->n_entries = *n_entries + (writer->n_missing > 0);
    writer->n_chunks = (uint32_t)(writer->chunks.n / BL_BLN_CHUNK_RECORD_BYTES);
    bl_hasher_reset(writer->hasher);
    return BL_OK;
}

void bl_bln_remember(bl_bln_writer *writer, const unsigned char *decoded, size_t n)
{
    bl_hasher_add(writer->hasher, decoded, n);
}

/* What the section of further information says: who wrote the file. */
static void add_info(bl_text *info)
{
    static const char tool[] = "baleen " BL_VERSION;
    unsigned char header[BL_BLN_INFO_HEADER_BYTES];
    size_t n = sizeof(tool) - 1;

    bl_put_u32(header, BL_BLN_INFO_TOOL);
    bl_put_u32(header + 4, (uint32_t)n);
    bl_text_add(info, (const char *)header, sizeof(header));
    bl_text_add(info, tool, n);
    bl_text_add(info, "\0\0\0\0\0\0\0", (8 - n % 8) % 8);
}

/* Header, table of sections, sections: each starts at a multiple of eight. */
static bl_status build_index(bl_bln_writer *w, struct bl_err *err)
{
    bl_text info = { 0 };
    const struct {
        uint32_t kind, record_bytes;
        const bl_text *text;
    } part[] = {
        { BL_BLN_SECTION_ENTRIES, BL_BLN_ENTRY_BYTES, &w->entries },
        { BL_BLN_SECTION_CHUNKS, BL_BLN_CHUNK_RECORD_BYTES, &w->chunks },
        { BL_BLN_SECTION_NAMES, 1, &w->names },
        { BL_BLN_SECTION_INFO, 1, &info },
    };
    enum { N_PARTS = sizeof(part) / sizeof(*part) };
    uint64_t offset = BL_BLN_INDEX_HEADER_BYTES + N_PARTS * BL_BLN_SECTION_BYTES;
    unsigned char header[BL_BLN_INDEX_HEADER_BYTES] = { 0 };
    bl_status rc;

    add_info(&info);
    bl_put_u32(header, N_PARTS);
    bl_put_u32(header + 4, BL_BLN_ALIGN);
    bl_text_add(&w->index, (const char *)header, sizeof(header));
    for (size_t i = 0; i < N_PARTS; i++) {
        unsigned char record[BL_BLN_SECTION_BYTES];
        uint64_t n_bytes = part[i].text->n;

        bl_bln_pack_section(record, &(bl_bln_section){ .kind = part[i].kind,
                                                       .record_bytes = part[i].record_bytes,
                                                       .n_records = n_bytes / part[i].record_bytes,
                                                       .offset = offset });
        bl_text_add(&w->index, (const char *)record, sizeof(record));
        offset += n_bytes + (8 - n_bytes % 8) % 8;
    }
    for (size_t i = 0; i < N_PARTS; i++) {
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
    bl_status rc = pad(w, err);

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

static bl_status finish(bl_bln_writer *w, struct bl_err *err)
{
    bl_bln_anchor anchor = {
        .major = BL_BLN_MAJOR, .minor = BL_BLN_MINOR, .state = BL_BLN_COMPLETE, .n_parts = 1
    };
    unsigned char trailer[BL_BLN_ANCHOR_BYTES];
    bl_status rc = build_index(w, err);

    assert(w->n_missing == 0);
    if (rc == BL_OK)
        rc = write_index(w, &anchor, err);
    if (rc == BL_OK)
        rc = pad(w, err);
    if (rc != BL_OK)
        return rc;
    anchor.index_hash = bl_hash64(w->index.bytes, w->index.n);
    bl_hasher_reset(w->hasher);
    bl_hasher_add(w->hasher, w->index.bytes, w->index.n);
    anchor.id = bl_hasher_digest(w->hasher);
    anchor.file_bytes = bl_sink_offset(w->sink) + BL_BLN_ANCHOR_BYTES;
    bl_bln_pack_anchor(trailer, &anchor, BL_BLN_TRAILER);
    rc = bl_sink_write(w->sink, trailer, sizeof(trailer), err);
    return rc == BL_OK ? write_superblock(w, &anchor, err) : rc;
}

bl_status bl_bln_commit(bl_bln_writer **writer, struct bl_err *err)
{
    bl_status rc = finish(*writer, err);

    if (rc == BL_OK)
        rc = bl_sink_commit(&(*writer)->sink, err);
    bl_bln_abort(writer); /* the sink is gone when it was committed: this only frees */
    return rc;
}

void bl_bln_abort(bl_bln_writer **writer)
{
    bl_bln_writer *w = *writer;

    if (!w)
        return;
    bl_sink_abort(&w->sink);
    bl_hasher_free(w->hasher);
    bl_text_release(&w->entries);
    bl_text_release(&w->chunks);
    bl_text_release(&w->names);
    bl_text_release(&w->index);
    bl_free(w->path);
    bl_free(w);
    *writer = NULL;
}
