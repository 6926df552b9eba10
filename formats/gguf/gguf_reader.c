/*
 * gguf_reader.c - the container over a GGUF file: preamble, tensor table, layout.
 *
 *     "GGUF" | u32 version | u64 tensors | u64 pairs | pairs | tensor infos | padding | data
 *     tensor info: string name | u32 n_dims | u64 ne[n_dims] | u32 type | u64 offset in data
 *
 * ne[0] is the fastest dimension, the last of a row-major shape.
 */
#include "formats/gguf/gguf_reader.h"

#include "base/alloc.h"
#include "base/size.h"
#include "formats/gguf/gguf_meta.h"
#include "formats/gguf/gguf_split.h"

#include <inttypes.h>
#include <string.h>

enum {
    MAX_TENSOR_NAME = 63,
    MAX_GGUF_DIMS = 4,
    MIN_INFO_BYTES = 8 + 1 + 4 + 8 + 4 + 8, /* the least a tensor info takes */
    DEFAULT_ALIGNMENT = 32,
    MIN_ALIGNMENT = 8,
    MAX_ALIGNMENT = 1 << 20
};

struct gguf {
    bl_container base;
    bl_source *source;
    bl_gguf_cursor cursor; /* its window is the header */
    bl_gguf_meta meta;
    bl_stored *stored;
    size_t n_stored, stored_room;
    bl_map names; /* of tensors, while parsing */
    bl_arena arena;
    uint64_t alignment;
    uint64_t data_end;     /* padded end of the tensors so far, relative to the start of the data */
    const char *file_name; /* the plain name in the path */
    bool may_be_part;      /* of a split model */
    uint16_t n_parts;      /* that it says there are; 0 or 1: it is whole */
};

static bl_status parse_preamble(struct gguf *g, uint64_t *n_tensors, uint64_t *n_kv,
                                struct bl_err *err)
{
    const char *file = g->source->name;
    uint32_t magic = 0, version = 0;
    bl_status rc;

    g->cursor.part = "the preamble";
    rc = bl_gguf_take_u32(&magic, &g->cursor, err);
    if (rc == BL_OK && magic != 0x46554747)
        return bl_fail(err, BL_E_FORMAT, "%s: not a GGUF file", file);
    if (rc == BL_OK)
        rc = bl_gguf_take_u32(&version, &g->cursor, err);
    if (rc == BL_OK && version != 0 && (version & 0xffff) == 0)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: a big-endian GGUF file; convert it to little-endian first", file);
    if (rc == BL_OK && version != 2 && version != 3)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: GGUF version %" PRIu32 "; only versions 2 and 3 are read", file,
                       version);
    if (rc == BL_OK)
        rc = bl_gguf_take_u64(n_tensors, &g->cursor, err);
    if (rc == BL_OK)
        rc = bl_gguf_take_u64(n_kv, &g->cursor, err);
    return rc;
}

/* What the metadata says about the file itself. */
static bl_status read_file_keys(struct gguf *g, struct bl_err *err)
{
    const bl_gguf_kv *alignment = bl_gguf_find(&g->meta, "general.alignment");
    const bl_gguf_kv *split = bl_gguf_find(&g->meta, "split.count");
    uint32_t unit = DEFAULT_ALIGNMENT;
    uint16_t n_shards = 0;
    bl_status rc = alignment ? bl_gguf_kv_u32(&unit, alignment, err) : BL_OK;

    if (rc == BL_OK && (unit < MIN_ALIGNMENT || unit > MAX_ALIGNMENT || (unit & (unit - 1)) != 0))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: an alignment of %" PRIu32 ", not a power of two from %d to %d",
                       g->source->name, unit, MIN_ALIGNMENT, MAX_ALIGNMENT);
    g->alignment = unit;
    if (rc == BL_OK && split)
        rc = bl_gguf_kv_u16(&n_shards, split, err);
    if (rc == BL_OK && n_shards > 1 && !g->may_be_part)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: one of %d parts, without the others",
                       g->source->name, n_shards);
    g->n_parts = n_shards;
    return rc;
}

static bl_status take_name(const char **out, struct gguf *g, struct bl_err *err)
{
    size_t at = 0, n = 0;
    bool was_there = false;
    bl_status rc;

    g->cursor.part = "a tensor name";
    g->cursor.name = NULL;
    rc = bl_gguf_take_string(&at, &n, &g->cursor, err);

    if (rc == BL_OK)
        rc = bl_gguf_copy_name(out, &g->arena, &g->cursor, at, n, MAX_TENSOR_NAME, "tensor name",
                               err);
    if (rc == BL_OK)
        rc = bl_map_put(&g->names, *out, n, 0, &was_there, err);
    if (rc == BL_OK && was_there)
        rc = bl_fail(err, BL_E_FORMAT, "%s: tensor '%s' is there twice", g->source->name, *out);
    g->cursor.part = "tensor";
    g->cursor.name = *out;
    return rc;
}

static bl_status take_shape(bl_stored *t, struct gguf *g, struct bl_err *err)
{
    bl_status rc = bl_gguf_take_u32(&t->ndim, &g->cursor, err);

    if (rc != BL_OK)
        return rc;
    if (t->ndim < 1 || t->ndim > MAX_GGUF_DIMS)
        return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': %" PRIu32 " dimensions, not 1 to %d",
                       g->source->name, t->name, t->ndim, MAX_GGUF_DIMS);
    for (uint32_t i = t->ndim; i-- > 0;) { /* the file has the innermost first */
        rc = bl_gguf_take_u64(&t->dim[i], &g->cursor, err);
        if (rc != BL_OK)
            return rc;
        if (t->dim[i] == 0)
            return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': a dimension of 0", g->source->name,
                           t->name);
    }
    return BL_OK;
}

/* What a type was called that GGUF no longer has; "" for a number that nobody gave. */
static const char *removed_type_name(uint32_t type)
{
    static const char *const names[] = {
        [4] = " (Q4_2)",        [5] = " (Q4_3)",        [31] = " (Q4_0_4_4)",
        [32] = " (Q4_0_4_8)",   [33] = " (Q4_0_8_8)",   [36] = " (IQ4_NL_4_4)",
        [37] = " (IQ4_NL_4_8)", [38] = " (IQ4_NL_8_8)",
    };

    return type < sizeof(names) / sizeof(*names) && names[type] ? names[type] : "";
}

/* Number of bytes from type and shape. */
static bl_status size_tensor(bl_stored *t, const struct gguf *g, uint32_t type, struct bl_err *err)
{
    const char *file = g->source->name;
    uint64_t n_row = t->dim[t->ndim - 1];
    uint32_t block;

    if (!bl_dtype_from_ggml(&t->dtype, type))
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: tensor '%s': tensors of GGUF type number %" PRIu32
                       "%s are not supported",
                       file, t->name, type, removed_type_name(type));
    block = bl_dtype_traits_of(t->dtype)->block_len;
    if (n_row % block != 0)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tensor '%s': rows of %" PRIu64
                       " values do not divide into %s blocks of %" PRIu32,
                       file, t->name, n_row, bl_dtype_name(t->dtype), block);
    if (!bl_dtype_bytes(&t->n_bytes, t->dtype, t->ndim, t->dim))
        return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': its shape overflows 64 bits", file,
                       t->name);
    return BL_OK;
}

/* Tensors lie one behind the other: the file's offset must be the one that follows. */
static bl_status place_tensor(bl_stored *t, struct gguf *g, struct bl_err *err)
{
    uint64_t end;

    if (t->offset != g->data_end)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tensor '%s': lies at byte %" PRIu64
                       " of the data, but the tensors before it end at %" PRIu64,
                       g->source->name, t->name, t->offset, g->data_end);
    if (!bl_add_u64(&end, t->offset, t->n_bytes) || end > g->source->size ||
        !bl_round_up_u64(&g->data_end, end, g->alignment))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tensor '%s': its %" PRIu64 " bytes lie past the end of the file",
                       g->source->name, t->name, t->n_bytes);
    return BL_OK;
}

static bl_status reserve_tensor(struct gguf *g, struct bl_err *err)
{
    size_t room = g->stored_room ? 2 * g->stored_room : 64;
    bl_stored *larger;

    if (g->n_stored < g->stored_room)
        return BL_OK;
    larger = bl_realloc(g->stored, room, sizeof(*larger));
    if (!larger)
        return bl_fail_nomem(err, g->source->name);
    g->stored = larger;
    g->stored_room = room;
    return BL_OK;
}

static bl_status parse_tensor(struct gguf *g, struct bl_err *err)
{
    bl_stored t = { 0 };
    uint32_t type = 0;
    bl_status rc = reserve_tensor(g, err);

    if (rc == BL_OK)
        rc = take_name(&t.name, g, err);
    if (rc == BL_OK)
        rc = take_shape(&t, g, err);
    if (rc == BL_OK)
        rc = bl_gguf_take_u32(&type, &g->cursor, err);
    if (rc == BL_OK)
        rc = bl_gguf_take_u64(&t.offset, &g->cursor, err);
    if (rc == BL_OK)
        rc = size_tensor(&t, g, type, err);
    if (rc == BL_OK)
        rc = place_tensor(&t, g, err);
    if (rc == BL_OK)
        g->stored[g->n_stored++] = t;
    return rc;
}

static bl_status parse_tensors(struct gguf *g, uint64_t n_tensors, struct bl_err *err)
{
    bl_status rc = BL_OK;

    if (n_tensors > bl_gguf_remaining(&g->cursor) / MIN_INFO_BYTES)
        return bl_fail(err, BL_E_FORMAT, "%s: %" PRIu64 " tensors cannot fit in the file",
                       g->source->name, n_tensors);
    for (uint64_t i = 0; i < n_tensors && rc == BL_OK; i++)
        rc = parse_tensor(g, err);
    return rc;
}

/* From offsets in the data to offsets in the file, and nothing past either end. */
static bl_status locate_data(struct gguf *g, struct bl_err *err)
{
    const char *file = g->source->name;
    uint64_t size = g->source->size, start, end;

    /* The header lies within the file and is at most BL_GGUF_MAX_HEADER: no overflow. */
    if (!bl_round_up_u64(&start, g->cursor.at, g->alignment) ||
        !bl_add_u64(&end, start, g->data_end))
        return bl_fail(err, BL_E_FORMAT, "%s: its sizes overflow 64 bits", file);
    for (size_t i = 0; i < g->n_stored; i++) {
        bl_stored *t = &g->stored[i];

        t->offset += start;
        if (!bl_range_fits(t->offset, t->n_bytes, size))
            return bl_fail(err, BL_E_FORMAT,
                           "%s: tensor '%s': bytes %" PRIu64 " to %" PRIu64
                           " lie past the end of the file (%" PRIu64 " bytes)",
                           file, t->name, t->offset, t->offset + t->n_bytes, size);
    }
    if (size > end)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: %" PRIu64 " bytes follow the last tensor and belong to none", file,
                       size - end);
    return BL_OK;
}

static bl_status parse(struct gguf *g, bool with_tensors, struct bl_err *err)
{
    uint64_t n_tensors = 0, n_kv = 0;
    bl_status rc = parse_preamble(g, &n_tensors, &n_kv, err);

    if (rc == BL_OK)
        rc = bl_gguf_meta_parse(&g->meta, &g->cursor, n_kv, err);
    g->meta.bytes = g->cursor.bytes;
    if (!with_tensors)
        return rc;
    if (rc == BL_OK)
        rc = read_file_keys(g, err);
    if (rc == BL_OK)
        rc = parse_tensors(g, n_tensors, err);
    if (rc == BL_OK)
        rc = locate_data(g, err);
    return rc;
}

/* Give back what only parsing needed. */
static void settle(struct gguf *g)
{
    unsigned char *smaller = bl_realloc(g->cursor.bytes, g->cursor.at, 1);

    if (smaller)
        g->cursor.bytes = smaller;
    g->meta.bytes = g->cursor.bytes;
    bl_map_release(&g->names);
}

static bl_status read_tensor(const bl_container *container, size_t i, uint64_t offset, void *out,
                             size_t n, struct bl_err *err)
{
    const struct gguf *g = (const struct gguf *)container;
    const bl_stored *t = &g->stored[i];
    bl_status rc = bl_source_read(g->source, t->offset + offset, out, n, err);

    if (rc != BL_OK)
        bl_err_prefix(err, "tensor '%s'", t->name);
    return rc;
}

static void prefetch_tensor(const bl_container *container, size_t i, uint64_t offset, uint64_t n)
{
    const struct gguf *g = (const struct gguf *)container;

    bl_source_prefetch(g->source, g->stored[i].offset + offset, n);
}

static bl_status no_side_file(const bl_container *container, const char *name, char **out,
                              size_t *n_bytes, struct bl_err *err)
{
    (void)container, (void)name, (void)err;
    *out = NULL;
    if (n_bytes)
        *n_bytes = 0;
    return BL_OK;
}

static void close_gguf(bl_container *container)
{
    struct gguf *g = (struct gguf *)container;

    bl_gguf_meta_release(&g->meta);
    bl_gguf_cursor_release(&g->cursor);
    bl_map_release(&g->names);
    bl_arena_release(&g->arena);
    bl_free(g->stored);
    bl_source_close(g->source);
    bl_free(g);
}

static const struct bl_container_ops ops = {
    .read = read_tensor, .side_file = no_side_file, .close = close_gguf, .prefetch = prefetch_tensor
};

static bl_status open_source(bl_container **out, bl_source *source, bool with_tensors,
                             bool may_be_part, struct bl_err *err)
{
    struct gguf *g = bl_calloc(1, sizeof(*g));
    const char *slash = strrchr(source->name, '/');
    bl_status rc;

    if (!g) {
        rc = bl_fail_nomem(err, source->name);
        bl_source_close(source);
        return rc;
    }
    g->source = g->cursor.source = source;
    g->may_be_part = may_be_part;
    rc = parse(g, with_tensors, err);
    if (rc != BL_OK) {
        close_gguf(&g->base);
        return rc;
    }
    settle(g);
    g->file_name = slash ? slash + 1 : source->name;
    g->base = (bl_container){
        .ops = &ops,
        .kind = "gguf",
        .path = source->name,
        .n_stored = g->n_stored,
        .stored = g->stored,
        .n_shards = 1,
        .shard_name = &g->file_name,
        .n_file_bytes = source->size,
    };
    *out = &g->base;
    return BL_OK;
}

bl_status bl_gguf_open_source(bl_container **out, bl_source *source, struct bl_err *err)
{
    return open_source(out, source, true, false, err);
}

bl_status bl_gguf_open_part(bl_container **out, const char *path, struct bl_err *err)
{
    bl_source *source = NULL;
    bl_status rc = bl_source_open(&source, path, err);

    return rc == BL_OK ? open_source(out, source, true, true, err) : rc;
}

bl_status bl_gguf_open(bl_container **out, const char *path, struct bl_err *err)
{
    bl_container *file = NULL;
    bl_status rc = bl_gguf_open_part(&file, path, err);

    if (rc != BL_OK)
        return rc;
    if (((const struct gguf *)file)->n_parts > 1)
        return bl_gguf_open_split(out, file, ((const struct gguf *)file)->n_parts, err);
    *out = file;
    return BL_OK;
}

bl_status bl_gguf_open_metadata(bl_container **out, const char *path, struct bl_err *err)
{
    bl_source *source = NULL;
    bl_status rc = bl_source_open(&source, path, err);

    return rc == BL_OK ? open_source(out, source, false, true, err) : rc;
}

const bl_gguf_meta *bl_gguf_meta_of(const bl_container *container)
{
    return container->ops == &ops ? &((const struct gguf *)container)->meta
                                  : bl_gguf_split_meta(container);
}
