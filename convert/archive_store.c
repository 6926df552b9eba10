/*
 * archive_store.c - directory to .bln. Entries flow (base/flow.h) in the order of the file, tensors
 * chunk by chunk: read, checked and coded side by side, written in order.
 */
#include "convert/archive.h"

#include "base/alloc.h"
#include "base/flow.h"
#include "base/sink.h"
#include "base/size.h"
#include "convert/archive_provenance.h"
#include "convert/archive_twin.h"
#include "convert/checkpoint.h"
#include "formats/bln/bln_codec.h"
#include "formats/bln/bln_writer.h"
#include "formats/dtype/finite.h"
#include "formats/hf/hf_dir.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/* What becomes an entry, in the order of the file. */
struct source {
    int kind;     /* as in the index */
    size_t index; /* of the shard, of the stored tensor, of the side file */
};

/* A chunk of a tensor; a tensor that is another's twin; or a whole header or side file. */
struct slot {
    struct source source;
    uint64_t offset; /* in the tensor */
    size_t n;        /* 0 for a tensor without bytes */
    bool is_twin;
    size_t twin_of; /* the stored tensor that came first */
    char *text;     /* a header or side file: owned */
    unsigned char *decoded, *stored;
    bl_bln_chunk chunk;
    const unsigned char *coded; /* what to write: in decoded or stored */
};

struct store {
    const bl_container *hf;
    const bl_archive_options *options;
    bl_bln_writer *writer;
    bl_twins *twins;
    bl_bln_encoder **encoder; /* one for each thread, and one for texts behind them */
    struct source *source;
    size_t n_sources, next_source;
    uint64_t next_offset; /* of the tensor that is being cut */
    struct slot *slot;
    size_t n_slots;
    uint32_t *entry;         /* number in the archive of each tensor written so far */
    uint64_t written, noted; /* decoded bytes of tensors; those that the last checkpoint has */
    uint64_t interval;       /* between checkpoints; 0: none are made */
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

static bl_status check_finite(const bl_container *hf, const struct slot *slot, bl_sanity *sanity,
                              struct bl_err *err)
{
    const bl_stored *t = &hf->stored[slot->source.index];
    const bl_dtype_traits *traits = bl_dtype_traits_of(t->dtype);
    size_t index = 0;

    if (bl_dtype_check_finite(t->dtype, slot->decoded, slot->n, &index))
        return BL_OK;
    if (sanity) {
        bl_sanity_not_finite(sanity, slot->source.index);
        return BL_OK;
    }
    return bl_container_fail(
        err, BL_E_FORMAT, hf, slot->source.index, "value %" PRIu64 " is not a finite %s number",
        slot->offset / traits->block_bytes * traits->block_len + index, traits->name);
}

/* Where entries come from: for each shard its header and its tensors, then side files. */
static bl_status list_sources(struct store *s, struct bl_err *err)
{
    const bl_container *hf = s->hf;
    size_t tensor = 0, n = 0;

    s->source = bl_calloc(hf->n_shards + hf->n_stored + hf->n_side_files, sizeof(*s->source));
    if (!s->source)
        return bl_fail_nomem(err, hf->path);
    for (size_t i = 0; i < hf->n_shards; i++) {
        s->source[n++] = (struct source){ BL_BLN_SHARD_HEADER, i };
        for (; tensor < hf->n_stored && hf->stored[tensor].shard == i; tensor++)
            s->source[n++] = (struct source){ BL_BLN_TENSOR, tensor };
    }
    for (size_t i = 0; i < hf->n_side_files; i++)
        s->source[n++] = (struct source){ BL_BLN_SIDE_FILE, i };
    s->n_sources = n;
    return BL_OK;
}

/* Load a header or a side file, whole. */
static bl_status load_text(struct store *s, struct slot *slot, struct bl_err *err)
{
    size_t i = slot->source.index;
    bl_status rc;

    if (slot->source.kind == BL_BLN_SHARD_HEADER)
        return bl_container_shard_header(s->hf, i, &slot->text, &slot->n, err);
    rc = bl_container_side_file(s->hf, s->hf->side_file_name[i], &slot->text, &slot->n, err);
    if (rc == BL_OK && !slot->text)
        rc = bl_fail(err, BL_E_IO, "%s/%s: was there a moment ago", s->hf->path,
                     s->hf->side_file_name[i]);
    return rc;
}

/* Cut the next chunk of a tensor, or find that all of it is there already. */
static bl_status cut_tensor(struct store *s, struct slot *slot, struct bl_err *err)
{
    size_t i = slot->source.index;
    const bl_bln_item item = item_of(&s->hf->stored[i]);
    bl_status rc = BL_OK;

    slot->is_twin = false;
    if (s->next_offset == 0)
        rc = bl_twins_find(&slot->is_twin, &slot->twin_of, s->twins, i, err);
    slot->offset = s->next_offset;
    slot->n = slot->is_twin
                  ? 0
                  : (size_t)bl_min_u64(bl_bln_chunk_bytes(&item), item.n_bytes - slot->offset);
    if (slot->n > 0)
        bl_container_prefetch(s->hf, i, slot->offset, slot->n);
    s->next_offset += slot->n;
    if (slot->is_twin || s->next_offset == item.n_bytes) {
        s->next_offset = 0;
        s->next_source++;
    }
    return rc;
}

static bl_status cut_next(void *context, size_t i, bool *end, struct bl_err *err)
{
    struct store *s = context;
    struct slot *slot = &s->slot[i];

    if (s->next_source == s->n_sources) {
        *end = true;
        return BL_OK;
    }
    slot->source = s->source[s->next_source];
    if (slot->source.kind == BL_BLN_TENSOR)
        return cut_tensor(s, slot, err);
    s->next_source++;
    return load_text(s, slot, err);
}

static bool is_floating(bl_dtype dtype)
{
    return dtype == BL_F8_E4M3 || dtype == BL_BF16 || dtype == BL_F16 || dtype == BL_F32;
}

/* Tell of a coded chunk: one value repeated says by itself whether that is zero. */
static void look_at(const struct store *s, const struct slot *slot)
{
    static const char scales[] = "_scale_inv"; /* of FP8 blocks (formats/hfquant) */
    const bl_stored *t = &s->hf->stored[slot->source.index];
    size_t n_name = strlen(t->name);
    bool zero = slot->chunk.codec == BL_BLN_CONST;

    if (t->dtype == BL_F32 && n_name > sizeof(scales) &&
        strcmp(t->name + n_name - (sizeof(scales) - 1), scales) == 0) {
        bl_sanity_scales_f32(s->options->sanity, slot->source.index, slot->decoded,
                             slot->n / sizeof(float));
        return;
    }
    for (uint32_t i = 0; zero && i < slot->chunk.n_stored; i++)
        zero = slot->coded[i] == 0;
    if (t->ndim >= 2 && is_floating(t->dtype) && n_name > 7 &&
        strcmp(t->name + n_name - 7, ".weight") == 0)
        bl_sanity_values(s->options->sanity, slot->source.index, !zero);
}

static bl_status read_slot(const struct store *s, struct slot *slot, struct bl_err *err)
{
    return bl_container_read(s->hf, slot->source.index, slot->offset, slot->decoded, slot->n, err);
}

static bl_status code(const struct store *s, struct slot *slot, int i_thread, struct bl_err *err)
{
    return bl_bln_encode(&slot->chunk, &slot->coded, s->encoder[i_thread], slot->stored,
                         slot->decoded, slot->n, BL_BLN_TENSOR,
                         s->hf->stored[slot->source.index].dtype, err);
}

/* Read, check and code one chunk. */
static bl_status code_slot(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct store *s = context;
    struct slot *slot = &s->slot[i];
    bl_status rc;

    if (slot->source.kind != BL_BLN_TENSOR || slot->n == 0)
        return BL_OK;
    rc = read_slot(s, slot, err);
    if (rc == BL_OK)
        rc = check_finite(s->hf, slot, s->options->sanity, err);
    if (rc == BL_OK)
        rc = code(s, slot, i_thread, err);
    if (rc == BL_OK && s->options->sanity)
        look_at(s, slot);
    return rc;
}

static bl_status write_tensor(struct store *s, const struct slot *slot, struct bl_err *err)
{
    size_t i = slot->source.index;
    const bl_bln_item item = item_of(&s->hf->stored[i]);
    bl_status rc = BL_OK;

    if (slot->is_twin)
        rc = bl_bln_put_same(s->writer, &item, s->entry[slot->twin_of], err);
    else if (slot->offset == 0)
        rc = bl_bln_begin_entry(s->writer, &s->entry[i], &item, err);
    if (rc == BL_OK && slot->n > 0)
        rc = bl_bln_put_chunk(s->writer, &slot->chunk, slot->coded, slot->decoded, err);
    s->written += slot->is_twin ? item.n_bytes : slot->n;
    bl_progress_add(s->options->progress, slot->is_twin ? item.n_bytes : slot->n);
    return rc;
}

/* A header or a side file: an entry of its own, coded here because they are few and small. */
static bl_status write_text(struct store *s, const struct slot *slot, struct bl_err *err)
{
    int kind = slot->source.kind;
    const bl_bln_item item = { .kind = kind,
                               .name = kind == BL_BLN_SHARD_HEADER
                                           ? s->hf->shard_name[slot->source.index]
                                           : s->hf->side_file_name[slot->source.index],
                               .n_bytes = slot->n };
    uint32_t entry;
    bl_status rc = bl_bln_begin_entry(s->writer, &entry, &item, err);

    for (size_t at = 0; at < slot->n && rc == BL_OK;) {
        const unsigned char *from = (const unsigned char *)slot->text + at, *coded = NULL;
        size_t step = (size_t)bl_min_u64(bl_bln_chunk_bytes(&item), slot->n - at);
        bl_bln_chunk chunk;

        rc = bl_bln_encode(&chunk, &coded, s->encoder[s->options->n_threads], slot->stored, from,
                           step, kind, BL_U8, err);
        if (rc == BL_OK)
            rc = bl_bln_put_chunk(s->writer, &chunk, coded, from, err);
        at += step;
    }
    return rc;
}

static bl_status write_slot(void *context, size_t i, struct bl_err *err)
{
    struct store *s = context;
    struct slot *slot = &s->slot[i];
    bl_status rc;

    if (slot->source.kind == BL_BLN_TENSOR) {
        rc = write_tensor(s, slot, err);
    } else {
        rc = write_text(s, slot, err);
        bl_free(slot->text);
        slot->text = NULL;
    }
    if (rc != BL_OK || s->interval == 0 || s->written - s->noted < s->interval)
        return rc;
    s->noted = s->written;
    return bl_bln_checkpoint(s->writer, err);
}

/* Give the writer what the checkpoint has of the tensor that it ended in. */
static bl_status remember(struct store *s, size_t tensor, uint64_t n_done, struct bl_err *err)
{
    unsigned char *bytes = s->slot[0].decoded;
    bl_status rc = BL_OK;

    for (uint64_t at = 0; at < n_done && rc == BL_OK;) {
        size_t n = (size_t)bl_min_u64(BL_BLN_CHUNK_BYTES, n_done - at);

        rc = bl_container_read(s->hf, tensor, at, bytes, n, err);
        if (rc == BL_OK)
            bl_bln_remember(s->writer, bytes, n);
        at += n;
    }
    return rc;
}

/* Go to where an earlier run's last checkpoint is: every source before it is an entry. */
static bl_status go_on(struct store *s, struct bl_err *err)
{
    uint32_t n_entries = 0;
    uint64_t n_done = 0;
    bl_status rc = bl_bln_resume(&n_entries, &n_done, s->writer, err);

    if (rc == BL_OK &&
        (n_entries > s->n_sources ||
         (n_done > 0 && (n_entries == s->n_sources || s->source[n_entries].kind != BL_BLN_TENSOR))))
        rc = bl_fail(err, BL_E_MISMATCH, "%s: what is kept has entries that it has not",
                     s->hf->path);
    for (uint32_t i = 0; rc == BL_OK && i < n_entries + (n_done > 0); i++) {
        size_t tensor = s->source[i].index;

        if (s->source[i].kind != BL_BLN_TENSOR)
            continue;
        rc = bl_twins_note(s->twins, tensor, err);
        s->entry[tensor] = i;
        s->written += i < n_entries ? s->hf->stored[tensor].n_bytes : n_done;
    }
    if (rc == BL_OK && n_done > 0)
        rc = remember(s, s->source[n_entries].index, n_done, err);
    s->next_source = n_entries;
    s->next_offset = n_done;
    s->noted = s->written;
    bl_progress_add(s->options->progress, s->written);
    return rc;
}

static bl_status store_all(struct store *s, struct bl_err *err)
{
    const bl_flow flow = { .next = cut_next,
                           .make = code_slot,
                           .take = write_slot,
                           .context = s,
                           .n_slots = s->n_slots,
                           .n_threads = s->options->n_threads };

    return bl_flow_run(&flow, err);
}

static bl_status make_slots(struct store *s, struct bl_err *err)
{
    int n_threads = s->options->n_threads;
    bl_status rc = list_sources(s, err);

    if (rc == BL_OK)
        rc = bl_twins_new(&s->twins, s->hf, n_threads, err);
    if (rc != BL_OK)
        return rc;
    s->n_slots = (size_t)n_threads * BL_ARCHIVE_SLOTS;
    s->slot = bl_calloc(s->n_slots, sizeof(*s->slot));
    s->encoder = bl_calloc((size_t)n_threads + 1, sizeof(*s->encoder));
    s->entry = bl_calloc(s->hf->n_stored, sizeof(*s->entry));
    if (!s->slot || !s->encoder || !s->entry)
        return bl_fail_nomem(err, s->hf->path);
    for (size_t i = 0; i < s->n_slots; i++) {
        s->slot[i].decoded = bl_alloc(BL_BLN_CHUNK_BYTES, 1);
        s->slot[i].stored = bl_alloc(bl_bln_encode_bound(BL_BLN_CHUNK_BYTES), 1);
        if (!s->slot[i].decoded || !s->slot[i].stored)
            return bl_fail_nomem(err, s->hf->path);
    }
    for (int t = 0; t <= n_threads && rc == BL_OK; t++)
        rc = bl_bln_encoder_new(&s->encoder[t], s->options->style, err);
    return rc;
}

static void free_slots(struct store *s)
{
    for (size_t i = 0; s->slot && i < s->n_slots; i++) {
        bl_free(s->slot[i].decoded);
        bl_free(s->slot[i].stored);
        bl_free(s->slot[i].text);
    }
    for (int t = 0; s->encoder && t <= s->options->n_threads; t++)
        bl_bln_encoder_free(s->encoder[t]);
    bl_free(s->source);
    bl_free(s->slot);
    bl_free(s->encoder);
    bl_free(s->entry);
    bl_twins_free(s->twins);
}

static bl_status check_space(struct store *s, const char *path, struct bl_err *err)
{
    uint64_t n_bytes;
    double seconds;
    bl_status rc = bl_archive_estimate(&n_bytes, &seconds, s->hf, s->options, err);

    return rc == BL_OK ? bl_checkpoint_space(path, n_bytes, bl_bln_kept(s->writer), err) : rc;
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

static bl_status begin(struct store *s, const char *path, struct bl_err *err)
{
    const bl_archive_options *o = s->options;
    uint64_t total = bl_archive_bytes(s->hf);
    bl_keep_options keep = { .resume = o->resume };
    bl_status rc = BL_OK;

    if (o->split_size > 0) {
        if (o->resume)
            return bl_fail(err, BL_E_USAGE, "--resume is not for --split: parts begin anew");
        rc = bl_bln_begin_split(&s->writer, path, o->force, o->split_size, err);
        return rc == BL_OK ? bl_archive_put_provenance(s->writer, s->hf, o, err) : rc;
    }
    s->interval = bl_checkpoint_interval(total);
    if (total <= s->interval && !o->resume)
        s->interval = 0;
    if (s->interval > 0) {
        char *more = bl_format("%s%s", o->style == BL_BLN_PORTABLE ? "bln zlib" : "bln",
                               o->more ? o->more : "");

        rc = more ? bl_checkpoint_key(&keep.key, s->hf, NULL, more, err) : bl_fail_nomem(err, path);
        bl_free(more);
    }
    if (rc == BL_OK)
        rc = bl_bln_begin_kept(&s->writer, path, o->force, s->interval > 0 ? &keep : NULL, err);
    if (rc == BL_OK)
        rc = bl_archive_put_provenance(s->writer, s->hf, o, err);
    return rc == BL_OK ? go_on(s, err) : rc;
}

bl_status bl_archive_store(const bl_container *hf, const char *path,
                           const bl_archive_options *options, struct bl_err *err)
{
    struct store s = { .hf = hf, .options = options };
    uint64_t total = bl_archive_bytes(hf);
    bl_status rc = check_not_input(hf, path, err);

    if (rc == BL_OK)
        rc = make_slots(&s, err);
    if (rc == BL_OK)
        rc = begin(&s, path, err);
    if (options->resumed)
        *options->resumed = total ? (double)s.written / (double)total : 0;
    if (rc == BL_OK && !options->skip_space_check)
        rc = check_space(&s, path, err);
    if (rc == BL_OK)
        rc = store_all(&s, err);
    if (rc != BL_OK && s.writer && s.interval > 0)
        bl_checkpoint_say_kept(err, bl_keep_is_worth_it(bl_bln_kept(s.writer)), path,
                               total ? (double)s.noted / (double)total : 0);
    if (rc == BL_OK && options->strict)
        rc = bl_sanity_refuse(options->sanity, err);
    if (rc == BL_OK)
        rc = bl_bln_commit(&s.writer, err);
    bl_bln_abort(&s.writer);
    free_slots(&s);
    return rc;
}
