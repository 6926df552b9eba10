/* bln_file.c - the bytes of an entry, through the chunks that a range touches. */
#include "formats/bln/bln_file.h"

#include "base/alloc.h"
#include "base/size.h"

#include <assert.h>
#include <string.h>

void bl_bln_scratch_release(bl_bln_scratch *scratch)
{
    bl_bln_decoder_free(scratch->decoder);
    bl_free(scratch->stored);
    bl_free(scratch->decoded);
    *scratch = (bl_bln_scratch){ 0 };
}

/* Room for a chunk that decodes to n bytes; stored it is never larger. */
static bl_status make_room(bl_bln_scratch *s, size_t n, struct bl_err *err)
{
    bl_status rc = BL_OK;

    if (!s->decoder)
        rc = bl_bln_decoder_new(&s->decoder, err);
    if (rc != BL_OK || n <= s->size)
        return rc;
    bl_free(s->stored);
    bl_free(s->decoded);
    s->size = 0;
    s->stored = bl_alloc(n, 1);
    s->decoded = bl_alloc(n, 1);
    if (!s->stored || !s->decoded)
        return bl_fail_nomem(err, "a chunk");
    s->size = n;
    return BL_OK;
}

/* Decode one whole chunk into out. */
static bl_status read_chunk(const bl_bln_file *file, bl_bln_scratch *s, const bl_bln_entry *entry,
                            const bl_bln_chunk *chunk, unsigned char *out, struct bl_err *err)
{
    unsigned char *stored = chunk->codec == BL_BLN_RAW ? out : s->stored;
    bl_source *source = file->part ? file->part[chunk->part] : file->source;
    bl_status rc = bl_source_read(source, chunk->offset, stored, chunk->n_stored, err);

    if (rc != BL_OK)
        return rc; /* the source has named the file */
    rc = bl_bln_decode(out, s->decoder, chunk, stored, err);
    if (rc != BL_OK)
        bl_err_prefix(err, "%s: %s '%s': damaged", file->base.path, bl_bln_kind_name(entry),
                      bl_bln_index_name(&file->index, entry));
    return rc;
}

bl_status bl_bln_read_entry(const bl_bln_file *file, bl_bln_scratch *scratch,
                            const bl_bln_entry *entry, uint64_t offset, unsigned char *out,
                            size_t n, struct bl_err *err)
{
    uint32_t unit;
    bl_status rc;

    assert(bl_range_fits(offset, n, entry->n_bytes));
    if (n == 0)
        return BL_OK;
    unit = bl_bln_index_chunk(&file->index, entry->first_chunk).n_decoded;
    rc = make_room(scratch, unit, err);
    while (n > 0 && rc == BL_OK) {
        bl_bln_chunk chunk =
            bl_bln_index_chunk(&file->index, entry->first_chunk + (uint32_t)(offset / unit));
        size_t skip = (size_t)(offset % unit);
        size_t step = (size_t)bl_min_u64(n, chunk.n_decoded - skip);
        bool whole = step == chunk.n_decoded;

        rc = read_chunk(file, scratch, entry, &chunk, whole ? out : scratch->decoded, err);
        if (rc == BL_OK && !whole)
            memcpy(out, scratch->decoded + skip, step);
        out += step;
        offset += step;
        n -= step;
    }
    return rc;
}
