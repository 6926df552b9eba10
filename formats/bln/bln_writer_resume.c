/* bln_writer_resume.c - what of a .bln is on the disk, noted now and then, and found again. */
#include "formats/bln/bln_writer_internal.h"

#include "base/le.h"

#include <string.h>

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
