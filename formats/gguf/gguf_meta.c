/*
 * gguf_meta.c - parse the key = value pairs of a GGUF header. Nothing is allocated by a count from
 * the file: tables double as entries are really found.
 */
#include "formats/gguf/gguf_meta.h"

#include "base/alloc.h"
#include "base/size.h"
#include "formats/dtype/float_bits.h"

#include <inttypes.h>

enum {
    MAX_KEY = 65535,             /* the specification's limit */
    MIN_KV_BYTES = 8 + 1 + 4 + 1 /* key length, key, type, value: the least a pair takes */
};

bl_status bl_gguf_copy_name(const char **out, bl_arena *arena, const bl_gguf_cursor *cursor,
                            size_t at, size_t n, size_t max, const char *what, struct bl_err *err)
{
    const char *file = cursor->source->name;
    const unsigned char *bytes = cursor->bytes + at;
    char *copy;

    if (n == 0)
        return bl_fail(err, BL_E_FORMAT, "%s: an empty %s at byte %zu", file, what, at);
    if (n > max)
        return bl_fail(err, BL_E_FORMAT, "%s: a %s of %zu bytes at byte %zu, at most %zu are legal",
                       file, what, n, at, max);
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] < 0x20 || bytes[i] == 0x7f)
            return bl_fail(err, BL_E_FORMAT, "%s: the %s at byte %zu has a control character", file,
                           what, at);
        if (bytes[i] > 0x7f)
            return bl_fail(err, BL_E_UNSUPPORTED, "%s: the %s at byte %zu is not ASCII", file, what,
                           at);
    }
    copy = bl_arena_strndup(arena, (const char *)bytes, n);
    if (!copy)
        return bl_fail_nomem(err, file);
    *out = copy;
    return BL_OK;
}

static bl_status add_string(bl_gguf_meta *meta, bl_gguf_cursor *cursor, struct bl_err *err)
{
    size_t length_at = cursor->at, n;

    if (meta->n_strings == meta->string_room) {
        size_t room = meta->string_room ? 2 * meta->string_room : 64;
        size_t *larger = bl_realloc(meta->string_at, room, sizeof(*larger));

        if (!larger)
            return bl_fail_nomem(err, meta->name);
        meta->string_at = larger;
        meta->string_room = room;
    }
    meta->string_at[meta->n_strings++] = length_at;
    return bl_gguf_take_string(NULL, &n, cursor, err);
}

static bl_status check_bools(const bl_gguf_meta *meta, const bl_gguf_cursor *cursor,
                             const bl_gguf_kv *kv, struct bl_err *err)
{
    for (uint64_t i = 0; i < kv->n; i++) {
        if (cursor->bytes[kv->at + i] > 1)
            return bl_fail(err, BL_E_FORMAT, "%s: key '%s': a bool of value %d", meta->name,
                           kv->key, cursor->bytes[kv->at + i]);
    }
    return BL_OK;
}

/* kv->n values of type kv->elem. */
static bl_status take_values(bl_gguf_meta *meta, bl_gguf_cursor *cursor, bl_gguf_kv *kv,
                             struct bl_err *err)
{
    uint64_t least = kv->elem == BL_GGUF_STRING ? 8 : bl_gguf_type_bytes(kv->elem), n_bytes;
    bl_status rc = BL_OK;

    if (!bl_mul_u64(&n_bytes, kv->n, least) || n_bytes > bl_gguf_remaining(cursor))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: key '%s': %" PRIu64 " values of type %s cannot fit in the file",
                       meta->name, kv->key, kv->n, bl_gguf_type_name(kv->elem));
    if (kv->elem == BL_GGUF_STRING) {
        kv->at = meta->n_strings;
        for (uint64_t i = 0; i < kv->n && rc == BL_OK; i++)
            rc = add_string(meta, cursor, err);
        return rc;
    }
    rc = bl_gguf_take(&kv->at, cursor, n_bytes, err);
    if (rc == BL_OK && kv->elem == BL_GGUF_BOOL)
        rc = check_bools(meta, cursor, kv, err);
    return rc;
}

static bl_status take_type(bl_gguf_type *out, const bl_gguf_meta *meta, bl_gguf_cursor *cursor,
                           const char *key, struct bl_err *err)
{
    uint32_t number = 0;
    bl_status rc = bl_gguf_take_u32(&number, cursor, err);

    if (rc != BL_OK)
        return rc;
    if (number >= BL_GGUF_TYPE_COUNT)
        return bl_fail(err, BL_E_FORMAT, "%s: key '%s': there is no value type %" PRIu32,
                       meta->name, key, number);
    *out = (bl_gguf_type)number;
    return BL_OK;
}

/* Type and value of one pair whose key is known. */
static bl_status take_value(bl_gguf_meta *meta, bl_gguf_cursor *cursor, bl_gguf_kv *kv,
                            struct bl_err *err)
{
    bl_status rc = take_type(&kv->type, meta, cursor, kv->key, err);

    if (rc != BL_OK)
        return rc;
    kv->elem = kv->type;
    kv->n = 1;
    if (kv->type == BL_GGUF_ARRAY) {
        rc = take_type(&kv->elem, meta, cursor, kv->key, err);
        if (rc == BL_OK && kv->elem == BL_GGUF_ARRAY)
            rc = bl_fail(err, BL_E_UNSUPPORTED, "%s: key '%s': an array of arrays", meta->name,
                         kv->key);
        if (rc == BL_OK)
            rc = bl_gguf_take_u64(&kv->n, cursor, err);
    }
    return rc == BL_OK ? take_values(meta, cursor, kv, err) : rc;
}

static bl_status reserve_kv(bl_gguf_meta *meta, struct bl_err *err)
{
    size_t room = meta->kv_room ? 2 * meta->kv_room : 64;
    bl_gguf_kv *larger;

    if (meta->n_kv < meta->kv_room)
        return BL_OK;
    larger = bl_realloc(meta->kv, room, sizeof(*larger));
    if (!larger)
        return bl_fail_nomem(err, meta->name);
    meta->kv = larger;
    meta->kv_room = room;
    return BL_OK;
}

static bl_status parse_kv(bl_gguf_meta *meta, bl_gguf_cursor *cursor, struct bl_err *err)
{
    bl_gguf_kv kv = { .meta = meta };
    size_t key_at = 0, n_key = 0;
    bool was_there = false;
    bl_status rc = reserve_kv(meta, err);

    cursor->part = "a metadata key";
    cursor->name = NULL;
    if (rc == BL_OK)
        rc = bl_gguf_take_string(&key_at, &n_key, cursor, err);
    if (rc == BL_OK)
        rc = bl_gguf_copy_name(&kv.key, &meta->arena, cursor, key_at, n_key, MAX_KEY, "key", err);
    if (rc == BL_OK)
        rc = bl_map_put(&meta->index, kv.key, n_key, (uint32_t)meta->n_kv, &was_there, err);
    if (rc == BL_OK && was_there)
        rc = bl_fail(err, BL_E_FORMAT, "%s: key '%s' is there twice", meta->name, kv.key);
    cursor->part = "key";
    cursor->name = kv.key;
    if (rc == BL_OK)
        rc = take_value(meta, cursor, &kv, err);
    if (rc == BL_OK)
        meta->kv[meta->n_kv++] = kv;
    return rc;
}

bl_status bl_gguf_meta_parse(bl_gguf_meta *meta, bl_gguf_cursor *cursor, uint64_t n_kv,
                             struct bl_err *err)
{
    bl_status rc = BL_OK;

    meta->name = cursor->source->name;
    if (n_kv > bl_gguf_remaining(cursor) / MIN_KV_BYTES)
        return bl_fail(err, BL_E_FORMAT, "%s: %" PRIu64 " metadata keys cannot fit in the file",
                       meta->name, n_kv);
    for (uint64_t i = 0; i < n_kv && rc == BL_OK; i++)
        rc = parse_kv(meta, cursor, err);
    return rc;
}

void bl_gguf_meta_release(bl_gguf_meta *meta)
{
    bl_free(meta->kv);
    bl_free(meta->string_at);
    bl_map_release(&meta->index);
    bl_arena_release(&meta->arena);
    *meta = (bl_gguf_meta){ 0 };
}
