/* gguf_cursor.c - see the header. */
#include "formats/gguf/gguf_cursor.h"

#include "base/alloc.h"
#include "base/size.h"
#include "formats/dtype/float_bits.h"

#include <inttypes.h>

enum { FIRST_WINDOW = 1 << 16 };

uint64_t bl_gguf_remaining(const bl_gguf_cursor *cursor)
{
    return cursor->source->size - cursor->at;
}

/* Enlarge the window to hold at least `end` bytes, end <= size of the source. */
static bl_status grow(bl_gguf_cursor *cursor, uint64_t end, struct bl_err *err)
{
    bl_source *source = cursor->source;
    uint64_t wanted = bl_max_u64(bl_max_u64(end, FIRST_WINDOW), 2 * (uint64_t)cursor->n_bytes);
    unsigned char *larger;
    size_t n;
    bl_status rc;

    if (end > BL_GGUF_MAX_HEADER)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: its metadata takes more than %d MiB",
                       source->name, BL_GGUF_MAX_HEADER >> 20);
    n = (size_t)bl_min_u64(wanted, source->size);
    larger = bl_realloc(cursor->bytes, n, 1);
    if (!larger)
        return bl_fail_nomem(err, source->name);
    cursor->bytes = larger;
    rc =
        bl_source_read(source, cursor->n_bytes, larger + cursor->n_bytes, n - cursor->n_bytes, err);
    if (rc == BL_OK)
        cursor->n_bytes = n;
    return rc;
}

bl_status bl_gguf_take(size_t *at_out, bl_gguf_cursor *cursor, uint64_t n, struct bl_err *err)
{
    const char *name = cursor->name;

    if (n > bl_gguf_remaining(cursor))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: ends inside %s%s%s%s: %" PRIu64 " bytes wanted at byte %zu of %" PRIu64,
                       cursor->source->name, cursor->part, name ? " '" : "", name ? name : "",
                       name ? "'" : "", n, cursor->at, cursor->source->size);
    if (n > cursor->n_bytes - cursor->at) {
        bl_status rc = grow(cursor, cursor->at + n, err);

        if (rc != BL_OK)
            return rc;
    }
    if (at_out)
        *at_out = cursor->at;
    cursor->at += (size_t)n;
    return BL_OK;
}

bl_status bl_gguf_take_u32(uint32_t *out, bl_gguf_cursor *cursor, struct bl_err *err)
{
    size_t at = 0;
    bl_status rc = bl_gguf_take(&at, cursor, sizeof(*out), err);

    if (rc == BL_OK)
        *out = bl_load_u32(cursor->bytes + at);
    return rc;
}

bl_status bl_gguf_take_u64(uint64_t *out, bl_gguf_cursor *cursor, struct bl_err *err)
{
    size_t at = 0;
    bl_status rc = bl_gguf_take(&at, cursor, sizeof(*out), err);

    if (rc == BL_OK)
        *out = bl_load_u64(cursor->bytes + at);
    return rc;
}

bl_status bl_gguf_take_string(size_t *at_out, size_t *n_out, bl_gguf_cursor *cursor,
                              struct bl_err *err)
{
    uint64_t n = 0;
    bl_status rc = bl_gguf_take_u64(&n, cursor, err);

    if (rc == BL_OK)
        rc = bl_gguf_take(at_out, cursor, n, err);
    if (rc == BL_OK)
        *n_out = (size_t)n; /* it fitted into the window */
    return rc;
}

void bl_gguf_cursor_release(bl_gguf_cursor *cursor)
{
    bl_free(cursor->bytes);
    *cursor = (bl_gguf_cursor){ 0 };
}
