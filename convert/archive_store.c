/*
 * archive_store.c - directory to .bln. Slots hold the next chunks in the order of the file; when
 * they are full, all are read, checked and coded in parallel, then written one after the other.
 */
#include "convert/archive.h"

#include "base/alloc.h"
#include "base/par.h"
#include "base/sink.h"
#include "base/size.h"
#include "convert/archive_twin.h"
#include "formats/bln/bln_codec.h"
#include "formats/bln/bln_writer.h"
#include "formats/dtype/finite.h"
#include "formats/hf/hf_dir.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

enum { N_SAMPLES = 64, SAMPLE_BYTES = 64 << 10 };

struct slot {
    size_t tensor;
    uint64_t offset; /* in the tensor */
    size_t n;        /* 0 for a tensor without bytes */
    unsigned char *decoded, *stored;
    bl_bln_chunk chunk;
    const unsigned char *coded; /* what to write: in decoded or stored */
};

struct store {
    const bl_container *hf;
    const bl_archive_options *options;
    bl_bln_writer *writer;
    bl_twins *twins;
    bl_bln_encoder **encoder; /* one for each thread */
    struct slot *slot;
    size_t n_slots, n_used;
    uint32_t *entry; /* number in the archive of each tensor written so far */
};

uint64_t bl_archive_bytes(const bl_container *container)
{
    uint64_t n = 0;

    for (size_t i = 0; i < container->n_stored; i++)
        n += container->stored[i].n_bytes; /* they lie in files: no overflow */
    return n;
}

static bl_bln_item item_of(const bl_stored *t)
{
    bl_bln_item item = { .kind = BL_BLN_TENSOR,
                         .name = t->name,
                         .dtype = t->dtype,
                         .ndim = t->ndim,
                         .n_bytes = t->n_bytes };

    memcpy(item.dim, t->dim, sizeof(item.dim));
    return item;
}

static bl_status check_finite(const bl_container *hf, const struct slot *slot, struct bl_err *err)
{
    const bl_stored *t = &hf->stored[slot->tensor];
    const bl_dtype_traits *traits = bl_dtype_traits_of(t->dtype);
    size_t index = 0;

    if (bl_dtype_check_finite(t->dtype, slot->decoded, slot->n, &index))
        return BL_OK;
    return bl_container_fail(
        err, BL_E_FORMAT, hf, slot->tensor, "value %" PRIu64 " is not a finite %s number",
        slot->offset / traits->block_bytes * traits->block_len + index, traits->name);
}

/* Read, check and code one chunk. */
static bl_status code_slot(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct store *s = context;
    struct slot *slot = &s->slot[i];
    bl_status rc;

    if (slot->n == 0)
        return BL_OK;
    rc = bl_container_read(s->hf, slot->tensor, slot->offset, slot->decoded, slot->n, err);
    if (rc == BL_OK)
        rc = check_finite(s->hf, slot, err);
    if (rc == BL_OK)
        rc = bl_bln_encode(&slot->chunk, &slot->coded, s->encoder[i_thread], slot->stored,
                           slot->decoded, slot->n, BL_BLN_TENSOR, s->hf->stored[slot->tensor].dtype,
                           err);
    return rc;
}

static bl_status write_slot(struct store *s, const struct slot *slot, struct bl_err *err)
{
    bl_status rc = BL_OK;

    if (slot->offset == 0) {
        const bl_bln_item item = item_of(&s->hf->stored[slot->tensor]);

        rc = bl_bln_begin_entry(s->writer, &s->entry[slot->tensor], &item, err);
    }
    if (rc == BL_OK && slot->n > 0)
        rc = bl_bln_put_chunk(s->writer, &slot->chunk, slot->coded, slot->decoded, err);
    bl_progress_add(s->options->progress, slot->n);
    return rc;
}

/* Empty the slots: code all in parallel, write in order. */
static bl_status flush(struct store *s, struct bl_err *err)
{
    bl_status rc = bl_par_for(s->n_used, s->options->n_threads, code_slot, s, err);

    for (size_t i = 0; i < s->n_used && rc == BL_OK; i++)
        rc = write_slot(s, &s->slot[i], err);
    s->n_used = 0;
    return rc;
}

/* Put a whole tensor into slots, chunk by chunk. */
static bl_status queue_tensor(struct store *s, size_t i, struct bl_err *err)
{
    const bl_bln_item item = item_of(&s->hf->stored[i]);
    uint32_t step = bl_bln_chunk_bytes(&item);
    uint64_t at = 0;
    bl_status rc = BL_OK;

    do {
        struct slot *slot;

        if (s->n_used == s->n_slots)
            rc = flush(s, err);
        if (rc != BL_OK)
            return rc;
        slot = &s->slot[s->n_used++];
        slot->tensor = i;
        slot->offset = at;
        slot->n = (size_t)bl_min_u64(step, item.n_bytes - at);
        at += slot->n;
    } while (at < item.n_bytes);
    return BL_OK;
}

static bl_status store_tensor(struct store *s, size_t i, struct bl_err *err)
{
    const bl_bln_item item = item_of(&s->hf->stored[i]);
    bool is_twin = false;
    size_t first = 0;
    bl_status rc = bl_twins_find(&is_twin, &first, s->twins, i, err);

    if (rc != BL_OK)
        return rc;
    if (!is_twin)
        return queue_tensor(s, i, err);
    rc = flush(s, err); /* the first may still be waiting */
    if (rc == BL_OK)
        rc = bl_bln_put_same(s->writer, &item, s->entry[first], err);
    bl_progress_add(s->options->progress, item.n_bytes);
    return rc;
}

/* A header or a side file, which is in memory, as an entry of its own. */
static bl_status store_bytes(struct store *s, int kind, const char *name, const char *bytes,
                             size_t n, struct bl_err *err)
{
    const bl_bln_item item = { .kind = kind, .name = name, .n_bytes = n };
    uint32_t entry;
    bl_status rc = bl_bln_begin_entry(s->writer, &entry, &item, err);

    for (size_t at = 0; at < n && rc == BL_OK;) {
        const unsigned char *from = (const unsigned char *)bytes + at, *coded = NULL;
        size_t step = (size_t)bl_min_u64(bl_bln_chunk_bytes(&item), n - at);
        bl_bln_chunk chunk;

        rc = bl_bln_encode(&chunk, &coded, s->encoder[0], s->slot[0].stored, from, step, kind,
                           BL_U8, err);
        if (rc == BL_OK)
            rc = bl_bln_put_chunk(s->writer, &chunk, coded, from, err);
        at += step;
    }
    return rc;
}

static bl_status store_shard(struct store *s, size_t shard, size_t *next, struct bl_err *err)
{
    char *header = NULL;
    size_t n = 0;
    bl_status rc = bl_hf_shard_header(s->hf, shard, &header, &n, err);

    if (rc == BL_OK)
        rc = store_bytes(s, BL_BLN_SHARD_HEADER, s->hf->shard_name[shard], header, n, err);
    bl_free(header);
    for (; rc == BL_OK && *next < s->hf->n_stored && s->hf->stored[*next].shard == shard; ++*next)
        rc = store_tensor(s, *next, err);
    return rc == BL_OK ? flush(s, err) : rc;
}

static bl_status store_side_file(struct store *s, const char *name, struct bl_err *err)
{
    char *bytes = NULL;
    size_t n = 0;
    bl_status rc = bl_container_side_file(s->hf, name, &bytes, &n, err);

    if (rc == BL_OK && !bytes)
        rc = bl_fail(err, BL_E_IO, "%s/%s: was there a moment ago", s->hf->path, name);
    if (rc == BL_OK)
        rc = store_bytes(s, BL_BLN_SIDE_FILE, name, bytes, n, err);
    bl_free(bytes);
    return rc;
}

static bl_status store_all(struct store *s, struct bl_err *err)
{
    size_t next = 0;
    bl_status rc = BL_OK;

    for (size_t i = 0; i < s->hf->n_shards && rc == BL_OK; i++)
        rc = store_shard(s, i, &next, err);
    for (size_t i = 0; i < s->hf->n_side_files && rc == BL_OK; i++)
        rc = store_side_file(s, s->hf->side_file_name[i], err);
    return rc;
}

static bl_status make_slots(struct store *s, struct bl_err *err)
{
    int n_threads = s->options->n_threads;
    bl_status rc = bl_twins_new(&s->twins, s->hf, n_threads, err);

    if (rc != BL_OK)
        return rc;
    s->n_slots = (size_t)n_threads * BL_ARCHIVE_SLOTS;
    s->slot = bl_calloc(s->n_slots, sizeof(*s->slot));
    s->encoder = bl_calloc((size_t)n_threads, sizeof(*s->encoder));
    s->entry = bl_calloc(s->hf->n_stored, sizeof(*s->entry));
    if (!s->slot || !s->encoder || !s->entry)
        return bl_fail_nomem(err, s->hf->path);
    for (size_t i = 0; i < s->n_slots; i++) {
        s->slot[i].decoded = bl_alloc(BL_BLN_CHUNK_BYTES, 1);
        s->slot[i].stored = bl_alloc(bl_bln_encode_bound(BL_BLN_CHUNK_BYTES), 1);
        if (!s->slot[i].decoded || !s->slot[i].stored)
            return bl_fail_nomem(err, s->hf->path);
    }
    for (int t = 0; t < n_threads && rc == BL_OK; t++)
        rc = bl_bln_encoder_new(&s->encoder[t], s->options->style, err);
    return rc;
}

static void free_slots(struct store *s)
{
    for (size_t i = 0; s->slot && i < s->n_slots; i++) {
        bl_free(s->slot[i].decoded);
        bl_free(s->slot[i].stored);
    }
    for (int t = 0; s->encoder && t < s->options->n_threads; t++)
        bl_bln_encoder_free(s->encoder[t]);
    bl_free(s->slot);
    bl_free(s->encoder);
    bl_free(s->entry);
    bl_twins_free(s->twins);
}

/*
 * Room on the disk, from samples taken at even distances through all data. Weights of one type
 * compress alike everywhere, so a few percent on top cover the error.
 */
static bl_status check_space(struct store *s, const char *path, struct bl_err *err)
{
    uint64_t total = bl_archive_bytes(s->hf), n_read = 0, n_stored = 0, start = 0;
    size_t tensor = 0;
    bl_status rc = BL_OK;

    if (total == 0)
        return BL_OK;
    for (uint64_t k = 0; k < N_SAMPLES && rc == BL_OK; k++) {
        uint64_t at = total / N_SAMPLES * k;
        struct slot *slot = &s->slot[0];

        while (at - start >= s->hf->stored[tensor].n_bytes)
            start += s->hf->stored[tensor++].n_bytes;
        slot->tensor = tensor;
        slot->offset = (at - start) / 8 * 8;
        slot->n = (size_t)bl_min_u64(SAMPLE_BYTES, s->hf->stored[tensor].n_bytes - slot->offset);
        rc = code_slot(s, 0, 0, err);
        n_read += slot->n;
        n_stored += slot->chunk.n_stored;
    }
    if (rc != BL_OK)
        return rc;
    return bl_space_check(path,
                          (uint64_t)((double)total * 1.03 * (double)n_stored / (double)n_read) +
                              UINT64_C(2) * BL_BLN_ANCHOR_BYTES + UINT64_C(512) * s->hf->n_stored,
                          err);
}

/* With force, a file of the input could be replaced: an archive inside its own folder is one. */
static bl_status check_not_input(const bl_container *hf, const char *path, struct bl_err *err)
{
    struct stat there, in;

    if (stat(path, &there) != 0)
        return BL_OK;
    if (stat(hf->path, &in) == 0 && in.st_dev == there.st_dev && in.st_ino == there.st_ino)
        return bl_fail(err, BL_E_USAGE, "%s: is the input; write elsewhere", path);
    for (size_t i = 0; i < hf->n_side_files + hf->n_shards; i++) {
        const char *name =
            i < hf->n_shards ? hf->shard_name[i] : hf->side_file_name[i - hf->n_shards];
        char *file = bl_format("%s/%s", hf->path, name);
        bool same =
            file && stat(file, &in) == 0 && in.st_dev == there.st_dev && in.st_ino == there.st_ino;

        if (!file)
            return bl_fail_nomem(err, path);
        bl_free(file);
        if (same)
            return bl_fail(err, BL_E_USAGE, "%s: is a file of the input; write elsewhere", path);
    }
    return BL_OK;
}

bl_status bl_archive_store(const bl_container *hf, const char *path,
                           const bl_archive_options *options, struct bl_err *err)
{
    struct store s = { .hf = hf, .options = options };
    bl_status rc = check_not_input(hf, path, err);

    if (rc == BL_OK)
        rc = make_slots(&s, err);
    if (rc == BL_OK)
        rc = bl_bln_begin(&s.writer, path, options->force, err);
    if (rc == BL_OK && !options->skip_space_check)
        rc = check_space(&s, path, err);
    if (rc == BL_OK)
        rc = store_all(&s, err);
    if (rc == BL_OK)
        rc = bl_bln_commit(&s.writer, err);
    bl_bln_abort(&s.writer);
    free_slots(&s);
    return rc;
}
