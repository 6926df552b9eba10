/* calibrate_keep.c - see calibrate_keep.h. */
#include "quantize/calibrate_keep.h"

#include "base/alloc.h"
#include "base/le.h"
#include "base/sink.h"
#include "base/source.h"

#include <inttypes.h>
#include <string.h>

static const char magic[8] = "BLSUMS1";

enum { HEADER = 40, END = 16 };

static char *name_of(const bl_kept_layers *kept, uint32_t layer)
{
    return bl_format("%s/baleen-%016" PRIx64 "%016" PRIx64 ".layer-%" PRIu32, kept->folder,
                     kept->run.low, kept->run.high, layer);
}

static void put_header(unsigned char header[HEADER], const bl_kept_layers *kept, uint32_t layer,
                       uint64_t n_bytes)
{
    memcpy(header, magic, sizeof(magic));
    bl_put_u64(header + 8, kept->run.low);
    bl_put_u64(header + 16, kept->run.high);
    bl_put_u32(header + 24, layer);
    bl_put_u32(header + 28, 0);
    bl_put_u64(header + 32, n_bytes);
}

static bl_status put_end(unsigned char end[END], const unsigned char header[HEADER],
                         const char *bytes, size_t n, struct bl_err *err)
{
    bl_hasher *hasher = NULL;
    bl_status rc = bl_hasher_new(&hasher, err);
    bl_hash128 hash;

    if (rc != BL_OK)
        return rc;
    bl_hasher_add(hasher, header, HEADER);
    bl_hasher_add(hasher, bytes, n);
    hash = bl_hasher_digest(hasher);
    bl_hasher_free(hasher);
    bl_put_u64(end, hash.low);
    bl_put_u64(end + 8, hash.high);
    return BL_OK;
}

bl_status bl_kept_layer_write(const bl_kept_layers *kept, uint32_t layer, const bl_text *bytes,
                              struct bl_err *err)
{
    unsigned char header[HEADER], end[END];
    char *name = name_of(kept, layer);
    bl_sink *sink = NULL;
    bl_status rc = name ? BL_OK : bl_fail_nomem(err, "the name of a kept layer");

    put_header(header, kept, layer, bytes->n);
    if (rc == BL_OK)
        rc = put_end(end, header, bytes->bytes, bytes->n, err);
    if (rc == BL_OK)
        rc = bl_sink_begin(&sink, name, true, err);
    if (rc == BL_OK)
        rc = bl_sink_write(sink, header, sizeof(header), err);
    if (rc == BL_OK)
        rc = bl_sink_write(sink, bytes->bytes, bytes->n, err);
    if (rc == BL_OK)
        rc = bl_sink_write(sink, end, sizeof(end), err);
    if (rc == BL_OK)
        rc = bl_sink_commit(&sink, err);
    bl_sink_abort(&sink);
    bl_free(name);
    return rc;
}

/* A file of exactly this layer, whole and undamaged. */
static bl_status check(const char *name, const char *file, size_t n_file,
                       const bl_kept_layers *kept, uint32_t layer, uint64_t n_bytes,
                       struct bl_err *err)
{
    unsigned char header[HEADER], end[END];
    bl_status rc;

    put_header(header, kept, layer, n_bytes);
    if (n_file != HEADER + n_bytes + END || memcmp(file, header, HEADER) != 0)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: not what was kept of this layer; --force begins again", name);
    rc = put_end(end, header, file + HEADER, (size_t)n_bytes, err);
    if (rc == BL_OK && memcmp(end, file + HEADER + n_bytes, END) != 0)
        rc = bl_fail(err, BL_E_FORMAT, "%s: damaged; --force begins again", name);
    return rc;
}

bl_status bl_kept_layer_read(bl_text *out, const bl_kept_layers *kept, uint32_t layer,
                             uint64_t n_bytes, struct bl_err *err)
{
    char *name = name_of(kept, layer), *file = NULL;
    size_t n = 0;
    bl_status rc = name ? BL_OK : bl_fail_nomem(err, "the name of a kept layer");

    if (rc == BL_OK)
        rc = bl_source_read_file(&file, &n, name, HEADER + n_bytes + END, err);
    if (rc == BL_OK)
        rc = check(name, file, n, kept, layer, n_bytes, err);
    if (rc == BL_OK) {
        bl_text_add(out, file + HEADER, (size_t)n_bytes);
        rc = bl_text_check(out, err);
    }
    bl_free(file);
    bl_free(name);
    return rc;
}

bl_status bl_kept_layers_remove(const bl_kept_layers *kept, uint32_t n_layers, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (uint32_t layer = 0; layer < n_layers && rc == BL_OK; layer++) {
        char *name = name_of(kept, layer);

        rc = name ? bl_sink_remove(name, err) : bl_fail_nomem(err, "the name of a kept layer");
        bl_free(name);
    }
    return rc;
}
