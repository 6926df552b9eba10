/*
 * slice_gguf.c - the view of a GGUF file: a header with the new metadata and table in memory, and behind it
 * the tensors' bytes where the source has them, as one source of bytes that the reader of GGUF files opens.
 */
#include "formats/slice/slice_table.h"

#include "base/alloc.h"
#include "base/size.h"
#include "base/source.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/gguf/gguf_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { KEY_BYTES = 128, ALIGNMENT = 32 };

/* The file that the slice would be. */
struct virtual_file {
    bl_source base;
    bl_slice_table table;
    bl_text header;
    uint64_t *start; /* [n] where each tensor's data begins; ascending */
};

/* The last tensor that begins at or before the byte; the header ends before the first. */
static size_t tensor_at(const struct virtual_file *f, uint64_t offset)
{
    size_t low = 0, high = f->table.n;

    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;

        if (f->start[middle] <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static bl_status read_bytes(bl_source *source, uint64_t offset, void *out, size_t n,
                            struct bl_err *err)
{
    const struct virtual_file *f = (const struct virtual_file *)source;
    unsigned char *to = out;
    bl_status rc = BL_OK;

    while (n > 0 && rc == BL_OK) {
        size_t step = n;

        if (offset < f->header.n) {
            step = (size_t)bl_min_u64(n, f->header.n - offset);
            memcpy(to, f->header.bytes + offset, step);
        } else {
            const size_t i = tensor_at(f, offset);
            const uint64_t within = offset - f->start[i], size = f->table.stored[i].n_bytes;

            if (within < size) {
                step = (size_t)bl_min_u64(n, size - within);
                rc = bl_slice_read(&f->table, i, within, to, step, err);
            } else { /* padding */
                step = (size_t)bl_min_u64(n, (i + 1 < f->table.n ? f->start[i + 1] : f->base.size) -
                                                 offset);
                memset(to, 0, step);
            }
        }
        to += step;
        offset += step;
        n -= step;
    }
    return rc;
}

static void prefetch_bytes(bl_source *source, uint64_t offset, uint64_t n)
{
    const struct virtual_file *f = (const struct virtual_file *)source;
    const size_t i = tensor_at(f, offset);

    if (f->table.n > 0 && offset >= f->start[i] &&
        offset - f->start[i] < f->table.stored[i].n_bytes)
        bl_slice_prefetch(&f->table, i, offset - f->start[i],
                          bl_min_u64(n, f->table.stored[i].n_bytes - (offset - f->start[i])));
}

static void close_file(bl_source *source)
{
    struct virtual_file *f = (struct virtual_file *)source;

    bl_slice_table_release(&f->table);
    bl_text_release(&f->header);
    bl_free(f->start);
}

static const struct bl_source_ops ops = { read_bytes, close_file, prefetch_bytes };

/* The metadata while they are copied. */
struct metadata {
    bl_gguf_writer *w;
    const bl_slice *slice;
    const bl_slice_table *table;
    const char *arch;
    uint32_t n_blocks; /* of the source */
    bl_slice_numbers number;
    bool ungrouped;
};

/* A number of the network that the slice changes; false when the key is another. */
static bool put_number(const struct metadata *m, const bl_gguf_kv *kv, const char *suffix)
{
    const bl_slice_numbers *n = &m->number;
    const struct {
        const char *suffix;
        uint32_t value;
    } numbers[] = { { "block_count", n->n_layers + n->n_mtp_layers },
                    { "nextn_predict_layers", n->n_mtp_layers },
                    { "leading_dense_block_count", n->first_k_dense },
                    { "expert_count", n->n_experts },
                    { "expert_used_count", n->n_experts_used } };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (strcmp(suffix, numbers[i].suffix) == 0 && kv->type == BL_GGUF_U32) {
            bl_gguf_put_u32(m->w, kv->key, numbers[i].value);
            return true;
        }
    return false;
}

/* One value for each layer: of those that stay. */
static bl_status put_by_layer(const struct metadata *m, const bl_gguf_kv *kv, struct bl_err *err)
{
    uint64_t *kept = bl_alloc(m->n_blocks, sizeof(*kept));
    uint64_t n = 0;

    if (!kept)
        return bl_fail_nomem(err, "a slice");
    for (uint32_t l = 0; l < m->n_blocks; l++)
        if (m->table->layer_to[l] != UINT32_MAX)
            kept[n++] = l;
    bl_gguf_put_kv_items(m->w, kv, kept, n);
    bl_free(kept);
    return BL_OK;
}

static bl_status put_pair(const struct metadata *m, const bl_gguf_kv *kv, struct bl_err *err)
{
    const size_t n_arch = strlen(m->arch);
    const char *suffix = strncmp(kv->key, m->arch, n_arch) == 0 && kv->key[n_arch] == '.'
                             ? kv->key + n_arch + 1
                             : "";

    if (strcmp(kv->key, "general.alignment") == 0 || strncmp(kv->key, "split.", 6) == 0 ||
        strcmp(kv->key, BL_PRUNING_KEY) == 0)
        return BL_OK;
    if (m->ungrouped && (strcmp(suffix, "expert_group_count") == 0 ||
                         strcmp(suffix, "expert_group_used_count") == 0))
        return BL_OK;
    if (*suffix && put_number(m, kv, suffix))
        return BL_OK;
    if (*suffix && kv->type == BL_GGUF_ARRAY && kv->n == m->n_blocks)
        return put_by_layer(m, kv, err);
    bl_gguf_put_kv(m->w, kv);
    return BL_OK;
}

static bl_status put_record(bl_gguf_writer *w, const bl_ckpt *source, const bl_slice *slice,
                            struct bl_err *err)
{
    bl_text text = { 0 };
    bl_status rc = bl_slice_record(&text, source, slice, err);

    if (rc == BL_OK)
        bl_gguf_put_string(w, BL_PRUNING_KEY, text.bytes, text.n);
    bl_text_release(&text);
    return rc;
}

static bl_status put_metadata(bl_gguf_writer *w, const bl_ckpt *source, const bl_slice *slice,
                              const bl_slice_table *table, struct bl_err *err)
{
    const bl_gguf_meta *meta = bl_gguf_meta_of(bl_ckpt_container(source));
    const bl_config *c = bl_ckpt_config(source);
    const struct metadata m = { .w = w,
                                .slice = slice,
                                .table = table,
                                .arch = c->arch->gguf_name,
                                .n_blocks = c->n_layers + c->n_mtp_layers,
                                .number = bl_slice_numbers_of(c, slice),
                                .ungrouped = slice->ungroup };
    bl_status rc = BL_OK;

    for (size_t i = 0; i < bl_gguf_n_kv(meta) && rc == BL_OK; i++)
        rc = put_pair(&m, bl_gguf_kv_at(meta, i), err);
    return rc == BL_OK ? put_record(w, source, slice, err) : rc;
}

static bl_status make_header(struct virtual_file *f, const bl_ckpt *source, const bl_slice *slice,
                             struct bl_err *err)
{
    bl_gguf_writer *w = NULL;
    bl_status rc = bl_gguf_writer_new(&w, err);
    uint64_t at;

    if (rc == BL_OK)
        rc = put_metadata(w, source, slice, &f->table, err);
    for (size_t i = 0; i < f->table.n && rc == BL_OK; i++)
        bl_gguf_plan_tensor(w, f->table.stored[i].name, f->table.stored[i].dtype,
                            f->table.stored[i].ndim, f->table.stored[i].dim);
    if (rc == BL_OK)
        rc = bl_gguf_writer_header(&f->header, w, err);
    if (rc == BL_OK)
        rc = bl_gguf_writer_file_bytes(&f->base.size, w, err);
    bl_gguf_writer_abort(&w);
    if (rc != BL_OK)
        return rc;
    f->start = bl_alloc(f->table.n + 1, sizeof(*f->start));
    if (!f->start)
        return bl_fail_nomem(err, "a slice");
    at = f->header.n;
    for (size_t i = 0; i < f->table.n; i++) {
        f->start[i] = at;
        at += (f->table.stored[i].n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    return BL_OK;
}

bl_status bl_slice_gguf(bl_container **out, const bl_ckpt *source, const bl_slice *slice,
                        bl_slice_table *table, struct bl_err *err)
{
    struct virtual_file *f = bl_calloc(1, sizeof(*f));
    bl_status rc;

    if (!f) {
        bl_slice_table_release(table);
        return bl_fail_nomem(err, "a slice");
    }
    f->table = *table;
    *table = (bl_slice_table){ 0 };
    f->base = (bl_source){ .ops = &ops, .name = bl_strdup(bl_ckpt_path(source)) };
    rc = f->base.name ? make_header(f, source, slice, err) : bl_fail_nomem(err, "a slice");
    if (rc != BL_OK) {
        bl_source_close(&f->base);
        return rc;
    }
    return bl_gguf_open_source(out, &f->base, err);
}
