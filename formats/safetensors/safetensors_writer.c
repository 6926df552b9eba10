/* safetensors_writer.c - the header from the plan, and a count of the bytes still owed. */
#include "formats/safetensors/safetensors_writer.h"

#include "base/alloc.h"
#include "base/map.h"
#include "base/size.h"
#include "formats/dtype/dtype.h"
#include "formats/json/json_writer.h"
#include "formats/safetensors/safetensors_reader.h"

#include <inttypes.h>
#include <string.h>

enum { LENGTH_BYTES = 8, ALIGN = 8 };

struct bl_safetensors_writer {
    bl_sink *sink;
    char *file;
    uint64_t n_left;
};

static bl_status check_tensor(const char *file, const bl_stored *t, struct bl_err *err)
{
    const char *fault = bl_safetensors_name_fault(t->name);
    uint64_t n_bytes;

    if (strcmp(t->name, "__metadata__") == 0)
        fault = "is reserved";
    if (fault)
        return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': its name %s", file, t->name, fault);
    if (!bl_dtype_traits_of(t->dtype)->in_safetensors)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: tensor '%s': safetensors cannot hold %s", file,
                       t->name, bl_dtype_name(t->dtype));
    if (t->ndim > BL_MAX_DIMS || !bl_dtype_bytes(&n_bytes, t->dtype, t->ndim, t->dim))
        return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': its shape has no size in bytes", file,
                       t->name);
    return BL_OK;
}

bl_status bl_safetensors_check_plan(const char *file, const bl_stored *plan, size_t n,
                                    struct bl_err *err)
{
    bl_map names = { 0 };
    bl_status rc = BL_OK;

    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        bool twice = false;

        rc = check_tensor(file, &plan[i], err);
        if (rc == BL_OK)
            rc = bl_map_put(&names, plan[i].name, strlen(plan[i].name), 0, &twice, err);
        if (rc == BL_OK && twice)
            rc = bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': planned twice", file, plan[i].name);
    }
    bl_map_release(&names);
    return rc;
}

static void put_entry(bl_json_writer *w, const bl_stored *t, uint64_t begin, uint64_t end)
{
    bl_json_put_key(w, t->name);
    bl_json_begin_object(w);
    bl_json_pair_string(w, "dtype", bl_dtype_name(t->dtype));
    bl_json_put_key(w, "shape");
    bl_json_begin_array(w);
    for (uint32_t d = 0; d < t->ndim; d++)
        bl_json_put_u64(w, t->dim[d]);
    bl_json_end_array(w);
    bl_json_put_key(w, "data_offsets");
    bl_json_begin_array(w);
    bl_json_put_u64(w, begin);
    bl_json_put_u64(w, end);
    bl_json_end_array(w);
    bl_json_end_object(w);
}

/* transformers wants it. */
static const bl_safetensors_pair usual_metadata[] = { { "format", "pt" } };

/* What a header is made of. */
struct contents {
    const bl_stored *plan;
    size_t n;
    const bl_safetensors_pair *metadata;
    size_t n_metadata;
};

static bl_status put_header(bl_text *out, uint64_t *n_data, const char *file,
                            const struct contents *c, struct bl_err *err)
{
    const bl_stored *plan = c->plan;
    const size_t n = c->n;
    bl_json_writer w = { .text = out, .compact = true };
    const size_t start = out->n;
    uint64_t end = 0, n_header;
    bl_status rc;

    bl_text_add(out, "\0\0\0\0\0\0\0\0", LENGTH_BYTES);
    bl_json_begin_object(&w);
    bl_json_put_key(&w, "__metadata__");
    bl_json_begin_object(&w);
    for (size_t i = 0; i < c->n_metadata; i++)
        bl_json_pair_string(&w, c->metadata[i].key, c->metadata[i].value);
    bl_json_end_object(&w);
    for (size_t i = 0; i < n; i++) {
        uint64_t begin = end, n_bytes;

        if (!bl_dtype_bytes(&n_bytes, plan[i].dtype, plan[i].ndim, plan[i].dim) ||
            !bl_add_u64(&end, begin, n_bytes))
            return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': the file passes 2^64 bytes", file,
                           plan[i].name);
        put_entry(&w, &plan[i], begin, end);
    }
    bl_json_end_object(&w);
    while (!out->failed && (out->n - start) % ALIGN != 0)
        bl_text_puts(out, " ");
    rc = bl_text_check(out, err);
    if (rc != BL_OK)
        return rc;
    n_header = out->n - start - LENGTH_BYTES;
    if (n_header > BL_SAFETENSORS_MAX_HEADER)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: %zu tensors need a header of %" PRIu64 " bytes, safetensors allows %d: "
                       "use smaller shards",
                       file, n, n_header, BL_SAFETENSORS_MAX_HEADER);
    for (int i = 0; i < LENGTH_BYTES; i++)
        out->bytes[start + (size_t)i] = (char)(n_header >> (8 * i));
    *n_data = end;
    return BL_OK;
}

bl_status bl_safetensors_plan_header(bl_text *out, uint64_t *n_data, const char *file,
                                     const bl_stored *plan, size_t n, struct bl_err *err)
{
    const struct contents c = { plan, n, usual_metadata, 1 };

    return put_header(out, n_data, file, &c, err);
}

bl_status bl_safetensors_writer_begin(bl_safetensors_writer **out, bl_sink *sink, const char *file,
                                      const bl_stored *plan, size_t n, struct bl_err *err)
{
    return bl_safetensors_writer_begin_with(out, sink, file, plan, n, usual_metadata, 1, err);
}

bl_status bl_safetensors_writer_begin_with(bl_safetensors_writer **out, bl_sink *sink,
                                           const char *file, const bl_stored *plan, size_t n,
                                           const bl_safetensors_pair *metadata, size_t n_metadata,
                                           struct bl_err *err)
{
    const struct contents c = { plan, n, metadata, n_metadata };
    bl_safetensors_writer *w = NULL;
    bl_text header = { 0 };
    bl_status rc = bl_safetensors_check_plan(file, plan, n, err);

    if (rc != BL_OK)
        return rc;
    w = bl_calloc(1, sizeof(*w));
    if (w)
        w->file = bl_strdup(file);
    if (!w || !w->file) {
        rc = bl_fail_nomem(err, file);
        goto fail;
    }
    rc = put_header(&header, &w->n_left, file, &c, err);
    if (rc == BL_OK)
        rc = bl_sink_write(sink, header.bytes, header.n, err);
    if (rc != BL_OK)
        goto fail;
    bl_text_release(&header);
    w->sink = sink;
    *out = w;
    return BL_OK;
fail:
    bl_text_release(&header);
    bl_safetensors_writer_abort(&w);
    return rc;
}

bl_status bl_safetensors_writer_write(bl_safetensors_writer *w, const void *bytes, size_t n,
                                      struct bl_err *err)
{
    bl_status rc;

    if (n > w->n_left)
        return bl_fail(err, BL_E_MISMATCH,
                       "%s: %zu bytes of data are written, the plan has room for %" PRIu64, w->file,
                       n, w->n_left);
    rc = bl_sink_write(w->sink, bytes, n, err);
    if (rc == BL_OK)
        w->n_left -= n;
    return rc;
}

bl_status bl_safetensors_writer_skip(bl_safetensors_writer *w, uint64_t n, struct bl_err *err)
{
    if (n > w->n_left || bl_sink_verified(w->sink) - bl_sink_offset(w->sink) < n)
        return bl_fail(err, BL_E_MISMATCH, "%s: less is kept of it than its journal says", w->file);
    bl_sink_skip(w->sink, n);
    w->n_left -= n;
    return BL_OK;
}

bl_status bl_safetensors_writer_checkpoint(bl_safetensors_writer *w, const void *state, size_t n,
                                           struct bl_err *err)
{
    return bl_sink_checkpoint(w->sink, state, n, err);
}

uint64_t bl_safetensors_writer_left(const bl_safetensors_writer *w)
{
    return w->n_left;
}

bl_status bl_safetensors_writer_commit(bl_safetensors_writer **handle, struct bl_err *err)
{
    bl_safetensors_writer *w = *handle;
    bl_status rc;

    if (w->n_left > 0)
        rc = bl_fail(err, BL_E_MISMATCH, "%s: %" PRIu64 " bytes of the planned data are missing",
                     w->file, w->n_left);
    else
        rc = bl_sink_commit(&w->sink, err);
    bl_safetensors_writer_abort(handle);
    return rc;
}

void bl_safetensors_writer_abort(bl_safetensors_writer **handle)
{
    bl_safetensors_writer *w = *handle;

    if (!w)
        return;
    bl_sink_abort(&w->sink);
    bl_free(w->file);
    bl_free(w);
    *handle = NULL;
}
