/*
 * bln_check.c - every field of every record of an index, in one walk over the entries.
 *
 * Entries that store anything own consecutive chunks, so the walk meets every chunk once, in the
 * order of the file, at the entry that can be named when the chunk is wrong.
 */
#include "formats/bln/bln_index.h"

#include "base/map.h"
#include "base/size.h"
#include "formats/bln/bln_name.h"

#include <inttypes.h>
#include <string.h>

struct walk {
    bl_bln_index *index;
    const char *path;
    bl_map tensors, files;
    uint64_t next_name;  /* where the next name must start */
    uint32_t next_chunk; /* the first that no entry owns yet */
    uint32_t part;       /* that the last chunk lies in */
    uint64_t end;        /* of the payload that chunks so far fill there */
    const char *last_side_file;
};

/* Start the sentence about an entry: its kind and name. */
static bl_status reject(const struct walk *w, const bl_bln_entry *e, bl_status status,
                        struct bl_err *err, const char *why)
{
    return bl_fail(err, status, "%s: %s '%s': %s", w->path, bl_bln_kind_name(e),
                   bl_bln_index_name(w->index, e), why);
}

/* Names lie in the order of the entries, each followed by a NUL, and nothing else lies there. */
static bl_status check_name(struct walk *w, const bl_bln_entry *e, uint32_t i, struct bl_err *err)
{
    const char *name = w->index->names + e->name_offset;
    bool tensor = e->kind == BL_BLN_TENSOR, was_there = false;
    const char *fault;
    bl_status rc;

    if (e->name_offset != w->next_name ||
        !bl_range_fits(e->name_offset, (uint64_t)e->n_name + 1, w->index->n_names) ||
        name[e->n_name] != '\0')
        return bl_fail(err, BL_E_FORMAT, "%s: the name of entry %u is not where it should be",
                       w->path, i);
    w->next_name += (uint64_t)e->n_name + 1;
    fault = tensor ? bl_bln_tensor_name_fault(name, e->n_name)
                   : bl_bln_file_name_fault(name, e->n_name);
    if (fault)
        return bl_fail(err, BL_E_FORMAT, "%s: the name '%s' %s", w->path, name, fault);
    rc = bl_map_put(tensor ? &w->tensors : &w->files, name, e->n_name, i, &was_there, err);
    if (rc == BL_OK && was_there)
        rc = reject(w, e, BL_E_FORMAT, err, "there are two of that name");
    return rc;
}

/* For each shard its header, then its tensors; side files last, by name. */
static bl_status check_order(struct walk *w, const bl_bln_entry *e, struct bl_err *err)
{
    bl_bln_index *index = w->index;
    const char *name = bl_bln_index_name(index, e);

    if (e->kind == BL_BLN_SIDE_FILE) {
        if (w->last_side_file && strcmp(w->last_side_file, name) >= 0)
            return reject(w, e, BL_E_FORMAT, err, "side files are not sorted by name");
        w->last_side_file = name;
        index->n_side_files++;
        return BL_OK;
    }
    if (index->n_side_files > 0)
        return reject(w, e, BL_E_FORMAT, err, "stands behind the side files");
    if (e->kind == BL_BLN_SHARD_HEADER)
        index->n_shards++;
    else
        index->n_tensors++;
    if (index->n_shards == 0 || e->shard != index->n_shards - 1)
        return reject(w, e, BL_E_FORMAT, err, "does not follow the header of its shard");
    return BL_OK;
}

static bl_status check_shape(const struct walk *w, const bl_bln_entry *e, struct bl_err *err)
{
    bl_dtype dtype;
    uint64_t need;

    if (e->kind != BL_BLN_TENSOR)
        return e->ndim == 0 && e->dtype == 0
                   ? BL_OK
                   : reject(w, e, BL_E_FORMAT, err, "has an element type, but is no tensor");
    if (!bl_bln_dtype_from_number(&dtype, e->dtype))
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: tensor '%s': unknown element type %u", w->path,
                       bl_bln_index_name(w->index, e), e->dtype);
    if (e->ndim > BL_MAX_DIMS)
        return reject(w, e, BL_E_UNSUPPORTED, err, "has more than eight dimensions");
    for (uint32_t d = e->ndim; d < BL_MAX_DIMS; d++)
        if (e->dim[d] != 0)
            return reject(w, e, BL_E_FORMAT, err, "has sizes behind its last dimension");
    if (!bl_dtype_bytes(&need, dtype, e->ndim, e->dim))
        return reject(w, e, BL_E_FORMAT, err, "its shape overflows or splits a block");
    if (need != e->n_bytes)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tensor '%s': its shape needs %" PRIu64
                       " bytes, the index gives it %" PRIu64,
                       w->path, bl_bln_index_name(w->index, e), need, e->n_bytes);
    return BL_OK;
}

static bool const_is_possible(const bl_bln_chunk *c)
{
    return (c->n_stored == 1 || c->n_stored == 2 || c->n_stored == 4 || c->n_stored == 8) &&
           c->n_stored < c->n_decoded && c->n_decoded % c->n_stored == 0;
}

static bool sizes_are_possible(const bl_bln_chunk *c)
{
    if (c->n_decoded == 0 || c->n_decoded > BL_BLN_CHUNK_BYTES || c->n_stored == 0)
        return false;
    switch (c->codec) {
    case BL_BLN_RAW:
        return c->n_stored == c->n_decoded;
    case BL_BLN_CONST:
        return const_is_possible(c);
    case BL_BLN_FP8:
    case BL_BLN_BF16: /* half as it is, and something of the other half */
        return c->n_decoded % 2 == 0 && c->n_stored > c->n_decoded / 2 &&
               c->n_stored < c->n_decoded;
    default:
        return c->n_stored < c->n_decoded;
    }
}

static uint64_t end_of_part(const bl_bln_index *index, uint32_t part)
{
    return part == 0 ? index->end : bl_bln_index_part_bytes(index, part);
}

/* Chunks fill one part after the other, each to its end. False for a part out of turn. */
static bool enter_part(struct walk *w, uint32_t part)
{
    if (part == w->part)
        return true;
    if (part != w->part + 1 || part >= w->index->n_parts ||
        (w->part > 0 && w->end != end_of_part(w->index, w->part)))
        return false;
    w->part = part;
    w->end = BL_BLN_ANCHOR_BYTES;
    return true;
}

/* One chunk by itself, and its place behind the chunk before. */
static bl_status check_chunk(struct walk *w, const bl_bln_entry *e, const bl_bln_chunk *c,
                             struct bl_err *err)
{
    if (c->codec >= BL_BLN_N_CODECS)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: %s '%s': coded with %u, which is unknown here",
                       w->path, bl_bln_kind_name(e), bl_bln_index_name(w->index, e), c->codec);
    if (!sizes_are_possible(c))
        return reject(w, e, BL_E_FORMAT, err, "the sizes of a chunk are impossible");
    if (e->kind != BL_BLN_TENSOR && c->n_decoded > (uint64_t)c->n_stored * BL_BLN_MAX_RATIO)
        return reject(w, e, BL_E_FORMAT, err, "a chunk of a file expands too much");
    if (!enter_part(w, c->part))
        return reject(w, e, BL_E_FORMAT, err, "lies in a part that is not the next one");
    if (c->offset % BL_BLN_ALIGN != 0 || c->offset < w->end ||
        c->offset - w->end >= w->index->align)
        return reject(w, e, BL_E_FORMAT, err, "a chunk does not follow the one before it");
    if (!bl_range_fits(c->offset, c->n_stored, end_of_part(w->index, c->part)))
        return reject(w, e, BL_E_FORMAT, err, "a chunk lies past the end of the data");
    w->end = c->offset + c->n_stored;
    return BL_OK;
}

/* The chunks of an entry: equal sizes but for the last, and in all what the entry needs. */
static bl_status check_chunks(struct walk *w, const bl_bln_entry *e, struct bl_err *err)
{
    uint64_t left = e->n_bytes;
    uint32_t size = 0;

    if (e->first_chunk != w->next_chunk || e->n_chunks > w->index->chunks.n - w->next_chunk)
        return reject(w, e, BL_E_FORMAT, err, "its chunks are not the next ones");
    for (uint32_t k = 0; k < e->n_chunks; k++) {
        bl_bln_chunk c = bl_bln_index_chunk(w->index, e->first_chunk + k);
        bl_status rc = check_chunk(w, e, &c, err);

        if (rc != BL_OK)
            return rc;
        if (k == 0)
            size = c.n_decoded;
        if (c.n_decoded > left || c.n_decoded > size || (c.n_decoded < size && k + 1 < e->n_chunks))
            return reject(w, e, BL_E_FORMAT, err, "its chunks do not divide it evenly");
        left -= c.n_decoded;
    }
    if (left != 0)
        return reject(w, e, BL_E_FORMAT, err, "its chunks hold less than it needs");
    w->next_chunk += e->n_chunks;
    return BL_OK;
}

/* An entry without chunks of its own names an earlier one that has them. */
static bl_status check_same(const struct walk *w, const bl_bln_entry *e, uint32_t i,
                            struct bl_err *err)
{
    bl_bln_entry first;

    if (e->same_as > i)
        return reject(w, e, BL_E_FORMAT, err, "is a copy of an entry that comes later");
    first = bl_bln_index_entry(w->index, e->same_as - 1);
    if (e->kind != first.kind || e->kind != BL_BLN_TENSOR || first.same_as != 0 ||
        first.first_chunk != e->first_chunk || first.n_chunks != e->n_chunks ||
        first.n_bytes != e->n_bytes || !bl_hash128_equal(first.hash, e->hash))
        return reject(w, e, BL_E_FORMAT, err, "is not what it claims to be a copy of");
    return BL_OK;
}

static bl_status check_entry(struct walk *w, uint32_t i, struct bl_err *err)
{
    bl_bln_entry e = bl_bln_index_entry(w->index, i);
    bl_status rc;

    if (e.kind > BL_BLN_SIDE_FILE)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: entry %u is of a kind unknown here (%u)",
                       w->path, i, e.kind);
    rc = check_name(w, &e, i, err);
    if (rc == BL_OK)
        rc = check_order(w, &e, err);
    if (rc == BL_OK)
        rc = check_shape(w, &e, err);
    if (rc != BL_OK)
        return rc;
    return e.same_as > 0 ? check_same(w, &e, i, err) : check_chunks(w, &e, err);
}

bl_status bl_bln_index_check(bl_bln_index *index, const char *path, struct bl_err *err)
{
    struct walk w = { .index = index, .path = path, .end = BL_BLN_ANCHOR_BYTES };
    bl_status rc = BL_OK;

    if (index->n_parts > 1 && index->end != BL_BLN_ANCHOR_BYTES)
        return bl_fail(err, BL_E_FORMAT, "%s: has payload beside its parts", path);

    for (uint32_t i = 0; i < index->entries.n && rc == BL_OK; i++)
        rc = check_entry(&w, i, err);
    if (rc == BL_OK && w.next_name != index->n_names)
        rc = bl_fail(err, BL_E_FORMAT, "%s: the index holds names that no entry uses", path);
    if (rc == BL_OK && w.next_chunk != index->chunks.n)
        rc = bl_fail(err, BL_E_FORMAT, "%s: the index holds chunks that no entry uses", path);
    if (rc == BL_OK && index->n_parts > 1 &&
        (w.part + 1 != index->n_parts || w.end != end_of_part(index, w.part)))
        rc = bl_fail(err, BL_E_FORMAT, "%s: its parts hold more than its chunks", path);
    else if (rc == BL_OK && index->n_parts == 1 && index->end - w.end >= index->align)
        rc = bl_fail(err, BL_E_FORMAT, "%s: unused bytes between the data and the index", path);
    bl_map_release(&w.tensors);
    bl_map_release(&w.files);
    return rc;
}
