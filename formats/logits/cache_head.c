/* cache_head.c - see cache_head.h and cache_writer.h. */
#include "formats/logits/cache_head.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/le.h"
#include "base/size.h"
#include "formats/dtype/finite.h"
#include "formats/dtype/float_bits.h"
#include "formats/logits/cache_folder.h"
#include "formats/logits/cache_writer.h"
#include "formats/safetensors/safetensors_writer.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { STEP_BYTES = 1 << 20 };

static const char name[] = "lm_head.weight";

static size_t size_of(bl_dtype dtype)
{
    return dtype == BL_F32 ? 4 : 2;
}

static bl_status take_tensor(bl_cache_head *head, const bl_safetensors *file,
                             const bl_cache_info *info, struct bl_err *err)
{
    const bl_stored *t = file->stored;

    if (file->n_stored != 1 || strcmp(t->name, name) != 0 || t->ndim != 2 ||
        (t->dtype != BL_BF16 && t->dtype != BL_F32) || t->dim[0] != info->vocab_size ||
        t->dim[1] != info->hidden_size)
        return bl_fail(err, BL_E_MISMATCH,
                       "%s: does not hold one tensor '%s' of [%u, %u], the head that belongs to "
                       "the shards",
                       head->path, name, info->vocab_size, info->hidden_size);
    head->dtype = t->dtype;
    head->offset = t->offset;
    head->n_rows = t->dim[0];
    head->n_cols = t->dim[1];
    return BL_OK;
}

bl_status bl_cache_head_open(bl_cache_head *out, const char *folder, const bl_cache_info *info,
                             struct bl_err *err)
{
    bl_cache_head head = { .path = bl_cache_head_path(folder) };
    bl_safetensors file = { 0 };
    bl_source *source = NULL;
    bl_status rc =
        head.path ? bl_cache_open_if_there(&source, head.path, err) : bl_fail_nomem(err, folder);

    if (rc == BL_OK && !source)
        rc = bl_fail(err, BL_E_MISMATCH, "%s: is missing; hidden states need the output head",
                     head.path);
    if (rc == BL_OK)
        rc = bl_safetensors_read(&file, source, err);
    if (rc == BL_OK) {
        head.file_bytes = source->size;
        rc = take_tensor(&head, &file, info, err);
        bl_safetensors_release(&file);
    }
    bl_source_close(source);
    if (rc == BL_OK)
        *out = head;
    else
        bl_cache_head_release(&head);
    return rc;
}

void bl_cache_head_release(bl_cache_head *head)
{
    bl_free(head->path);
    *head = (bl_cache_head){ 0 };
}

static void decode(float *out, const unsigned char *bytes, size_t n, bl_dtype dtype)
{
    for (size_t i = 0; i < n; i++)
        out[i] = dtype == BL_F32 ? bl_f32_from_bits(bl_get_u32(bytes + 4 * i))
                                 : bl_f32_from_bf16(bl_get_u16(bytes + 2 * i));
}

static void encode(unsigned char *bytes, const float *x, size_t n, bl_dtype dtype)
{
    for (size_t i = 0; i < n; i++)
        if (dtype == BL_F32)
            bl_put_u32(bytes + 4 * i, bl_bits_from_f32(x[i]));
        else
            bl_put_u16(bytes + 2 * i, bl_bf16_from_f32(x[i]));
}

bl_status bl_cache_head_read(float *out, const bl_cache_head *head, uint64_t row, uint64_t n,
                             struct bl_err *err)
{
    const size_t size = size_of(head->dtype), n_values = (size_t)(n * head->n_cols);
    unsigned char *bytes = bl_alloc(n_values, size);
    bl_source *source = NULL;
    bl_status rc = bytes ? BL_OK : bl_fail_nomem(err, head->path);

    assert(bl_range_fits(row, n, head->n_rows));
    if (rc == BL_OK)
        rc = bl_source_open(&source, head->path, err);
    if (rc == BL_OK) {
        rc = bl_source_read(source, head->offset + row * head->n_cols * size, bytes,
                            n_values * size, err);
        bl_source_close(source);
    }
    if (rc == BL_OK && !bl_dtype_check_finite(head->dtype, bytes, n_values * size, NULL))
        rc = bl_fail(err, BL_E_FORMAT,
                     "%s: '%s' has a value that is not finite in rows %" PRIu64 " to %" PRIu64,
                     head->path, name, row, row + n - 1);
    if (rc == BL_OK)
        decode(out, bytes, n_values, head->dtype);
    bl_free(bytes);
    return rc;
}

static bl_status put_rows(bl_safetensors_writer *w, const bl_stored *plan, bl_cache_rows_fn rows,
                          void *context, struct bl_err *err)
{
    const size_t row_bytes = (size_t)plan->dim[1] * size_of(plan->dtype);
    const size_t step = STEP_BYTES / row_bytes + 1;
    float *x = bl_alloc(step, (size_t)plan->dim[1] * sizeof(*x));
    unsigned char *bytes = bl_alloc(step, row_bytes);
    bl_status rc = x && bytes ? BL_OK : bl_fail_nomem(err, name);

    for (uint64_t row = 0; row < plan->dim[0] && rc == BL_OK; row += step) {
        const size_t n = (size_t)bl_min_u64(step, plan->dim[0] - row);

        rc = rows(context, x, row, n, err);
        if (rc != BL_OK)
            break;
        encode(bytes, x, n * (size_t)plan->dim[1], plan->dtype);
        rc = bl_safetensors_writer_write(w, bytes, n * row_bytes, err);
        if (rc == BL_OK)
            rc = bl_cancel_check(err);
    }
    bl_free(x);
    bl_free(bytes);
    return rc;
}

static bl_status write_file(const char *path, const bl_stored *plan, bool force,
                            bl_cache_rows_fn rows, void *context, struct bl_err *err)
{
    bl_safetensors_writer *w = NULL;
    bl_sink *sink = NULL;
    bl_status rc = bl_sink_begin(&sink, path, force, err);

    if (rc == BL_OK)
        rc = bl_safetensors_writer_begin(&w, sink, path, plan, 1, err);
    if (rc == BL_OK)
        sink = NULL; /* the writer's now */
    if (rc == BL_OK)
        rc = put_rows(w, plan, rows, context, err);
    if (rc == BL_OK)
        rc = bl_safetensors_writer_commit(&w, err);
    bl_safetensors_writer_abort(&w);
    bl_sink_abort(&sink);
    return rc;
}

bl_status bl_cache_write_head(const char *folder, const bl_cache_info *info, bool bf16, bool force,
                              bl_cache_rows_fn rows, void *context, struct bl_err *err)
{
    const bl_stored plan = { .name = name,
                             .dtype = bf16 ? BL_BF16 : BL_F32,
                             .ndim = 2,
                             .dim = { info->vocab_size, info->hidden_size } };
    char *path = bl_cache_head_path(folder);
    bl_cache_head head = { 0 };
    bl_status rc = path ? bl_cache_folder_make(folder, err) : bl_fail_nomem(err, folder);

    if (rc == BL_OK && !force && bl_source_exists(path))
        rc = bl_cache_head_open(&head, folder, info, err);
    else if (rc == BL_OK)
        rc = write_file(path, &plan, force, rows, context, err);
    bl_cache_head_release(&head);
    bl_free(path);
    return rc;
}
