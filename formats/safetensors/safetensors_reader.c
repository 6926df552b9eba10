/*
 * safetensors_reader.c - one strict pass over the header, one sort, one walk over the extents.
 *
 * Every number is compared before it is used: a JSON integer is below 2^53, a range lies inside
 * the data, a shape may not overflow in any order of its dimensions.
 */
#include "formats/safetensors/safetensors_reader.h"

#include "base/alloc.h"
#include "base/size.h"
#include "formats/dtype/dtype.h"
#include "formats/dtype/float_bits.h"
#include "formats/json/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The shortest entry, with eight dimensions of one digit, still has 4.7 bytes to each JSON value. */
enum { MIN_BYTES_PER_VALUE = 4 };

/* One file being read: what every check needs for its sentence. */
struct reading {
    const char *file;
    uint64_t n_data; /* bytes behind the header */
};

const char *bl_safetensors_name_fault(const char *name)
{
    if (*name == '\0')
        return "is empty";
    for (const unsigned char *p = (const unsigned char *)name; *p; p++)
        if (*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)) /* U+0080.. */
            return "contains a control character";
    return NULL;
}

/* The header's JSON as a NUL-terminated block that the caller frees. */
static bl_status load_header(char **out, size_t *n_out, bl_source *source, struct bl_err *err)
{
    unsigned char length[8];
    uint64_t n;
    char *text;
    bl_status rc;

    if (source->size < sizeof(length))
        return bl_fail(err, BL_E_FORMAT, "%s: %" PRIu64 " bytes are too few for a safetensors file",
                       source->name, source->size);
    rc = bl_source_read(source, 0, length, sizeof(length), err);
    if (rc != BL_OK)
        return rc;
    n = bl_load_u64(length);
    if (n > BL_SAFETENSORS_MAX_HEADER)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: a header of %" PRIu64
                       " bytes, more than the %d that safetensors allows",
                       source->name, n, BL_SAFETENSORS_MAX_HEADER);
    if (n > source->size - sizeof(length))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: a header of %" PRIu64 " bytes ends past the file of %" PRIu64 " bytes",
                       source->name, n, source->size);
    text = bl_alloc((size_t)n + 1, 1);
    if (!text)
        return bl_fail_nomem(err, source->name);
    rc = bl_source_read(source, sizeof(length), text, (size_t)n, err);
    if (rc == BL_OK && (n == 0 || text[0] != '{'))
        rc = bl_fail(err, BL_E_FORMAT,
                     "%s: the header does not begin with '{': no safetensors file", source->name);
    if (rc != BL_OK) {
        bl_free(text);
        return rc;
    }
    text[n] = '\0';
    *out = text;
    *n_out = (size_t)n;
    return BL_OK;
}

/*
 * A JSON tree takes many times the memory of its text, most for lists of one-digit numbers. No
 * table of tensors comes near the density refused here, so what is parsed stays in proportion.
 */
static bl_status check_density(const char *file, const char *text, size_t n, struct bl_err *err)
{
    size_t n_values = 1;
    bool in_string = false;

    for (size_t i = 0; i < n; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && (text[i] == ',' || text[i] == '[' || text[i] == '{'))
            n_values++;
    }
    if (n_values > n / MIN_BYTES_PER_VALUE + 64)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: %zu JSON values in a header of %zu bytes are no table of tensors", file,
                       n_values, n);
    return BL_OK;
}

/* __metadata__ maps strings to strings; nothing in it changes what the tensors are. */
static bl_status read_metadata(bl_safetensors *st, const char *file, const bl_json_value *metadata,
                               struct bl_err *err)
{
    if (bl_json_type_of(metadata) != BL_JSON_OBJECT)
        return bl_fail(err, BL_E_FORMAT, "%s: __metadata__ is not an object", file);
    st->metadata = bl_arena_alloc(&st->arena, bl_json_size(metadata), sizeof(*st->metadata));
    if (!st->metadata)
        return bl_fail_nomem(err, file);
    for (const bl_json_value *m = bl_json_first(metadata); m; m = bl_json_next(m)) {
        bl_safetensors_pair *pair = &st->metadata[st->n_metadata++];

        if (!bl_json_string(m))
            return bl_fail(err, BL_E_FORMAT, "%s: __metadata__: '%s' is not a string", file,
                           bl_json_key(m));
        pair->key = bl_arena_strdup(&st->arena, bl_json_key(m));
        pair->value = bl_arena_strdup(&st->arena, bl_json_string(m));
        if (!pair->key || !pair->value)
            return bl_fail_nomem(err, file);
    }
    return BL_OK;
}

/* A list of at most max non-negative integers; *n may exceed max, then out holds the first. */
static bool read_numbers(uint64_t *out, size_t *n, size_t max, const bl_json_value *list)
{
    size_t count = 0;

    if (!list || bl_json_type_of(list) != BL_JSON_ARRAY)
        return false;
    for (const bl_json_value *v = bl_json_first(list); v; v = bl_json_next(v), count++) {
        uint64_t number;

        if (!bl_json_u64(&number, v))
            return false;
        if (count < max)
            out[count] = number;
    }
    *n = count;
    return true;
}

static bl_status read_shape(bl_stored *t, const struct reading *r, const bl_json_value *shape,
                            struct bl_err *err)
{
    size_t ndim;
    uint64_t n_elements;

    if (!read_numbers(t->dim, &ndim, BL_MAX_DIMS, shape))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tensor '%s': shape is not a list of non-negative integers", r->file,
                       t->name);
    if (ndim > BL_MAX_DIMS)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: tensor '%s': %zu dimensions, at most %d are supported", r->file,
                       t->name, ndim, BL_MAX_DIMS);
    t->ndim = (uint32_t)ndim;
    if (!bl_dim_product(&n_elements, t->ndim, t->dim))
        return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': its shape overflows 64 bits", r->file,
                       t->name);
    return BL_OK;
}

/* Reads t->offset (from the start of the data) and t->n_bytes. */
static bl_status read_extent(bl_stored *t, const struct reading *r, const bl_json_value *offsets,
                             struct bl_err *err)
{
    uint64_t range[2], want;
    size_t n;

    if (!read_numbers(range, &n, 2, offsets) || n != 2)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tensor '%s': data_offsets is not a pair of non-negative integers",
                       r->file, t->name);
    if (range[0] > range[1])
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tensor '%s': data_offsets run backwards, from %" PRIu64 " to %" PRIu64,
                       r->file, t->name, range[0], range[1]);
    if (range[1] > r->n_data)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tensor '%s': data ends at byte %" PRIu64 ", the file has only %" PRIu64
                       " bytes of data: truncated?",
                       r->file, t->name, range[1], r->n_data);
    t->offset = range[0];
    t->n_bytes = range[1] - range[0];
    if (!bl_dtype_bytes(&want, t->dtype, t->ndim, t->dim))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tensor '%s': its bytes overflow 64 bits or are not whole", r->file,
                       t->name);
    if (want != t->n_bytes)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tensor '%s': shape and dtype need %" PRIu64
                       " bytes, data_offsets give it %" PRIu64,
                       r->file, t->name, want, t->n_bytes);
    return BL_OK;
}

/* t->name is set; everything else is read from the entry. */
static bl_status read_entry(bl_stored *t, const struct reading *r, const bl_json_value *entry,
                            struct bl_err *err)
{
    const bl_json_value *dtype = NULL, *shape = NULL, *offsets = NULL;
    const char *type_name;
    bl_status rc;

    if (bl_json_type_of(entry) != BL_JSON_OBJECT)
        return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': its entry is not an object", r->file,
                       t->name);
    for (const bl_json_value *m = bl_json_first(entry); m; m = bl_json_next(m)) {
        const char *key = bl_json_key(m);

        if (strcmp(key, "dtype") == 0)
            dtype = m;
        else if (strcmp(key, "shape") == 0)
            shape = m;
        else if (strcmp(key, "data_offsets") == 0)
            offsets = m;
        else
            return bl_fail(err, BL_E_UNSUPPORTED, "%s: tensor '%s': unknown field '%s'", r->file,
                           t->name, key);
    }
    if (!dtype || !shape || !offsets)
        return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': no %s", r->file, t->name,
                       !dtype   ? "dtype"
                       : !shape ? "shape"
                                : "data_offsets");
    type_name = bl_json_string(dtype);
    if (!type_name)
        return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': dtype is not a string", r->file,
                       t->name);
    if (!bl_dtype_from_safetensors(&t->dtype, type_name))
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: tensor '%s': dtype '%s' is not supported",
                       r->file, t->name, type_name);
    rc = read_shape(t, r, shape, err);
    return rc == BL_OK ? read_extent(t, r, offsets, err) : rc;
}

/* Fill st->stored in the order of the header; offsets count from the start of the data. */
static bl_status read_entries(bl_safetensors *st, const struct reading *r,
                              const bl_json_value *root, struct bl_err *err)
{
    st->stored = bl_calloc(bl_json_size(root), sizeof(*st->stored));
    if (!st->stored)
        return bl_fail_nomem(err, r->file);
    for (const bl_json_value *m = bl_json_first(root); m; m = bl_json_next(m)) {
        const char *name = bl_json_key(m);
        bl_stored *t = &st->stored[st->n_stored];
        const char *fault;
        bl_status rc;

        if (strcmp(name, "__metadata__") == 0) {
            rc = read_metadata(st, r->file, m, err);
            if (rc != BL_OK)
                return rc;
            continue;
        }
        fault = bl_safetensors_name_fault(name);
        if (fault)
            return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': its name %s", r->file, name, fault);
        t->name = bl_arena_strdup(&st->arena, name);
        if (!t->name)
            return bl_fail_nomem(err, r->file);
        rc = read_entry(t, r, m, err);
        if (rc != BL_OK)
            return rc;
        st->n_stored++;
    }
    return BL_OK;
}

/* By place in the file; tensors of no bytes that share a place go by name. */
static int compare_places(const void *a, const void *b)
{
    const bl_stored *x = a, *y = b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->n_bytes != y->n_bytes)
        return x->n_bytes < y->n_bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Every byte of the data belongs to exactly one tensor. The entries are sorted. */
static bl_status check_coverage(const bl_safetensors *st, const struct reading *r,
                                struct bl_err *err)
{
    uint64_t end = 0;

    for (size_t i = 0; i < st->n_stored; i++) {
        const bl_stored *t = &st->stored[i];

        if (t->offset > end)
            return bl_fail(err, BL_E_FORMAT,
                           "%s: tensor '%s': a hole of %" PRIu64 " bytes lies before its data",
                           r->file, t->name, t->offset - end);
        if (t->offset < end)
            return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': its data overlaps that of '%s'",
                           r->file, t->name, st->stored[i - 1].name);
        end += t->n_bytes;
    }
    if (end != r->n_data)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: the last %" PRIu64 " bytes of the file belong to no tensor", r->file,
                       r->n_data - end);
    return BL_OK;
}

bl_status bl_safetensors_read(bl_safetensors *out, bl_source *source, struct bl_err *err)
{
    bl_safetensors st = { 0 };
    struct reading r = { .file = source->name };
    bl_json *json = NULL;
    char *text = NULL;
    size_t n = 0;
    bl_status rc = load_header(&text, &n, source, err);

    if (rc != BL_OK)
        goto done;
    st.data_offset = sizeof(uint64_t) + n;
    r.n_data = source->size - st.data_offset;
    rc = check_density(source->name, text, n, err);
    if (rc == BL_OK)
        rc = bl_json_parse(&json, source->name, text, n, BL_JSON_INTEGERS_ONLY, err);
    if (rc == BL_OK)
        rc = read_entries(&st, &r, bl_json_root(json), err);
    if (rc != BL_OK)
        goto done;
    qsort(st.stored, st.n_stored, sizeof(*st.stored), compare_places);
    rc = check_coverage(&st, &r, err);
    if (rc != BL_OK)
        goto done;
    for (size_t i = 0; i < st.n_stored; i++)
        st.stored[i].offset += st.data_offset;
    *out = st;
    st = (bl_safetensors){ 0 };
done:
    bl_json_free(json);
    bl_free(text);
    bl_safetensors_release(&st);
    return rc;
}

void bl_safetensors_release(bl_safetensors *st)
{
    bl_free(st->stored);
    bl_arena_release(&st->arena);
    *st = (bl_safetensors){ 0 };
}
