/*
 * archive_restore.c - .bln to directory. A shard of the source is its header and then its tensors,
 * end to end: chunks flow (base/flow.h), decoded side by side and written in order.
 */
#include "convert/archive.h"

#include "base/alloc.h"
#include "base/flow.h"
#include "base/le.h"
#include "base/sink.h"
#include "base/size.h"
#include "convert/checkpoint.h"
#include "formats/bln/bln_reader.h"

#include <assert.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK_BYTES = 1 << 20 }; /* a .bln has none that are larger */

enum step { BEGIN_SHARD, CHUNK, END_SHARD, SIDE_FILE };

struct slot {
    enum step step;
    size_t index; /* of the shard, of the stored tensor, of the side file */
    uint64_t offset;
    size_t n;
    unsigned char *bytes;
};

struct restore {
    const bl_container *bln;
    const bl_archive_options *options;
    bl_outdir *folder;
    bl_sink *file;            /* the shard that is being written */
    bl_bln_scratch **scratch; /* one for each thread */
    struct slot *slot;
    size_t n_slots;
    /* what comes next: */
    enum step step;
    size_t shard, tensor, end_of_shard, side_file; /* end_of_shard: first tensor behind it */
    uint64_t offset;
    uint64_t written, noted; /* decoded bytes of tensors; those that the last checkpoint has */
    uint64_t interval;       /* between checkpoints; 0: none are made */
};

/* The next chunk of the shard; false when it has none left. */
static bool next_chunk(struct restore *r, struct slot *slot)
{
    const bl_stored *t = &r->bln->stored[r->tensor];
    uint64_t unit;

    while (r->tensor < r->end_of_shard && r->offset == t->n_bytes) {
        t = &r->bln->stored[++r->tensor];
        r->offset = 0;
    }
    if (r->tensor == r->end_of_shard)
        return false;
    unit = bl_bln_read_unit(r->bln, r->tensor);
    assert(unit <= CHUNK_BYTES);
    slot->index = r->tensor;
    slot->offset = r->offset;
    slot->n = (size_t)bl_min_u64(unit, t->n_bytes - r->offset);
    r->offset += slot->n;
    bl_container_prefetch(r->bln, slot->index, slot->offset, slot->n);
    return true;
}

static bl_status next_step(void *context, size_t i, bool *end, struct bl_err *err)
{
    struct restore *r = context;
    struct slot *slot = &r->slot[i];

    (void)err;
    if (r->step == CHUNK && !next_chunk(r, slot))
        r->step = END_SHARD;
    slot->step = r->step;
    switch (r->step) {
    case BEGIN_SHARD: {
        size_t n;

        if (r->shard == bl_bln_n_shards(r->bln)) {
            r->step = slot->step = SIDE_FILE;
            break;
        }
        bl_bln_shard_tensors(&r->tensor, &n, r->bln, r->shard);
        r->end_of_shard = r->tensor + n;
        r->offset = 0;
        slot->index = r->shard++;
        r->step = CHUNK;
        return BL_OK;
    }
    case CHUNK:
        return BL_OK;
    case END_SHARD:
        r->step = BEGIN_SHARD;
        return BL_OK;
    case SIDE_FILE:
        break;
    }
    *end = r->side_file == r->bln->n_side_files;
    slot->index = r->side_file++;
    return BL_OK;
}

static bl_status decode_slot(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct restore *r = context;
    const struct slot *slot = &r->slot[i];

    return slot->step == CHUNK ? bl_bln_read(r->bln, r->scratch[i_thread], slot->index,
                                             slot->offset, slot->bytes, slot->n, err)
                               : BL_OK;
}

/* Whole bytes in memory as a file of the folder, or as the start of one. */
static bl_status begin_file(struct restore *r, const char *name, const char *bytes, size_t n,
                            struct bl_err *err)
{
    bl_status rc = bl_outdir_file(&r->file, r->folder, name, err);

    return rc == BL_OK ? bl_sink_write(r->file, bytes, n, err) : rc;
}

static bl_status begin_shard(struct restore *r, size_t shard, struct bl_err *err)
{
    char *header = NULL;
    size_t n = 0;
    bl_status rc = bl_bln_shard_header(r->bln, shard, &header, &n, err);

    if (rc == BL_OK)
        rc = begin_file(r, bl_bln_shard_name(r->bln, shard), header, n, err);
    bl_free(header);
    return rc;
}

static bl_status restore_side_file(struct restore *r, const char *name, struct bl_err *err)
{
    char *bytes = NULL;
    size_t n = 0;
    bl_status rc = bl_container_side_file(r->bln, name, &bytes, &n, err);

    if (rc == BL_OK)
        rc = begin_file(r, name, bytes, n, err);
    bl_free(bytes);
    return rc == BL_OK ? bl_sink_commit(&r->file, err) : rc;
}

/* A chunk, and now and then a checkpoint: u64 stored tensor, u64 bytes of it that are written. */
static bl_status write_chunk(struct restore *r, const struct slot *slot, struct bl_err *err)
{
    unsigned char state[16];
    bl_status rc = bl_sink_write(r->file, slot->bytes, slot->n, err);

    bl_progress_add(r->options->progress, slot->n);
    r->written += slot->n;
    if (rc != BL_OK || r->interval == 0 || r->written - r->noted < r->interval)
        return rc;
    bl_put_u64(state, slot->index);
    bl_put_u64(state + 8, slot->offset + slot->n);
    r->noted = r->written;
    return bl_sink_checkpoint(r->file, state, sizeof(state), err);
}

static bl_status write_slot(void *context, size_t i, struct bl_err *err)
{
    struct restore *r = context;
    const struct slot *slot = &r->slot[i];

    switch (slot->step) {
    case BEGIN_SHARD:
        return begin_shard(r, slot->index, err);
    case CHUNK:
        return write_chunk(r, slot, err);
    case END_SHARD:
        return bl_sink_commit(&r->file, err);
    case SIDE_FILE:
        break;
    }
    return restore_side_file(r, r->bln->side_file_name[slot->index], err);
}

/* Pass the shards that an earlier run completed, and what it has of the next. */
static bl_status pass(struct restore *r, size_t tensor, uint64_t n_done, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (;;) {
        size_t first, n, end;

        bl_bln_shard_tensors(&first, &n, r->bln, r->shard);
        rc = begin_shard(r, r->shard, err);
        end = first + n;
        for (size_t i = first; i < end && i <= tensor && rc == BL_OK; i++) {
            uint64_t bytes = i < tensor ? r->bln->stored[i].n_bytes : n_done;

            if (bl_sink_verified(r->file) - bl_sink_offset(r->file) < bytes)
                return bl_fail(err, BL_E_MISMATCH, "%s: less is kept of it than its journal says",
                               bl_bln_shard_name(r->bln, r->shard));
            bl_sink_skip(r->file, bytes);
            r->written += bytes;
        }
        if (rc != BL_OK)
            return rc;
        r->shard++;
        if (tensor < end) {
            r->end_of_shard = end;
            r->tensor = tensor;
            r->offset = n_done;
            r->step = CHUNK;
            return BL_OK;
        }
        rc = bl_sink_commit(&r->file, err);
        if (rc != BL_OK)
            return rc;
    }
}

/* Go to where an earlier run's last checkpoint is. */
static bl_status go_on(struct restore *r, struct bl_err *err)
{
    const bl_keep *keep = bl_outdir_kept(r->folder);
    size_t n_states = keep ? bl_keep_n_states(keep) : 0, n;
    const unsigned char *state;
    bl_status rc;

    if (n_states == 0)
        return BL_OK;
    state = bl_keep_state(&n, keep, n_states - 1);
    if (n != 16 || bl_get_u64(state) >= r->bln->n_stored ||
        bl_get_u64(state + 8) > r->bln->stored[bl_get_u64(state)].n_bytes)
        return bl_fail(err, BL_E_MISMATCH,
                       "%s: its journal does not fit this run; --force starts anew", r->bln->path);
    rc = pass(r, (size_t)bl_get_u64(state), bl_get_u64(state + 8), err);
    r->noted = r->written;
    bl_progress_add(r->options->progress, r->written);
    return rc;
}

static bl_status restore_all(struct restore *r, struct bl_err *err)
{
    const bl_flow flow = { .next = next_step,
                           .make = decode_slot,
                           .take = write_slot,
                           .context = r,
                           .n_slots = r->n_slots,
                           .n_threads = r->options->n_threads };

    return bl_flow_run(&flow, err);
}

static bl_status make_slots(struct restore *r, struct bl_err *err)
{
    int n_threads = r->options->n_threads;
    bl_status rc = BL_OK;

    r->n_slots = (size_t)n_threads * BL_ARCHIVE_SLOTS;
    r->slot = bl_calloc(r->n_slots, sizeof(*r->slot));
    r->scratch = bl_calloc((size_t)n_threads, sizeof(*r->scratch));
    if (!r->slot || !r->scratch)
        return bl_fail_nomem(err, r->bln->path);
    for (size_t i = 0; i < r->n_slots; i++) {
        r->slot[i].bytes = bl_alloc(CHUNK_BYTES, 1);
        if (!r->slot[i].bytes)
            return bl_fail_nomem(err, r->bln->path);
    }
    for (int t = 0; t < n_threads && rc == BL_OK; t++)
        rc = bl_bln_scratch_new(&r->scratch[t], err);
    return rc;
}

static void free_slots(struct restore *r)
{
    for (size_t i = 0; r->slot && i < r->n_slots; i++)
        bl_free(r->slot[i].bytes);
    for (int t = 0; r->scratch && t < r->options->n_threads; t++)
        bl_bln_scratch_free(r->scratch[t]);
    bl_free(r->scratch);
    bl_free(r->slot);
}

uint64_t bl_archive_restored_bytes(const bl_container *bln)
{
    uint64_t n = bl_archive_bytes(bln);

    for (size_t i = 0; i < bl_bln_n_shards(bln); i++)
        n += bl_bln_shard_header_bytes(bln, i);
    for (size_t i = 0; i < bln->n_side_files; i++)
        n += bl_bln_side_file_bytes(bln, bln->side_file_name[i]);
    return n;
}

/* A folder that holds the archive itself must not be replaced by what comes out of it. */
static bl_status check_not_around(const bl_container *bln, const char *folder, struct bl_err *err)
{
    const char *slash = strrchr(bln->path, '/');
    struct stat out, in;
    char *around = slash ? bl_strndup(bln->path, (size_t)(slash - bln->path) + 1) : bl_strdup(".");
    bool same;

    if (!around)
        return bl_fail_nomem(err, folder);
    same = stat(folder, &out) == 0 && stat(around, &in) == 0 && out.st_dev == in.st_dev &&
           out.st_ino == in.st_ino;
    bl_free(around);
    return same ? bl_fail(err, BL_E_USAGE, "%s: holds the input %s; write elsewhere", folder,
                          bln->path)
                : BL_OK;
}

static bl_status begin(struct restore *r, const char *folder, uint64_t total, struct bl_err *err)
{
    const bl_archive_options *o = r->options;
    bl_keep_options keep = { .resume = o->resume };
    bl_status rc = BL_OK;

    r->interval = bl_checkpoint_interval(total);
    if (total <= r->interval && !o->resume)
        r->interval = 0;
    if (r->interval > 0)
        rc = bl_checkpoint_key(&keep.key, r->bln, NULL, "restore", err);
    if (rc == BL_OK)
        rc =
            bl_outdir_begin_kept(&r->folder, folder, o->force, r->interval > 0 ? &keep : NULL, err);
    return rc == BL_OK ? go_on(r, err) : rc;
}

bl_status bl_archive_restore(const bl_container *bln, const char *folder,
                             const bl_archive_options *options, struct bl_err *err)
{
    struct restore r = { .bln = bln, .options = options };
    uint64_t total = bl_archive_bytes(bln);
    bl_status rc = BL_OK;

    assert(strcmp(bln->kind, BL_BLN_KIND) == 0);
    rc = check_not_around(bln, folder, err);
    if (rc == BL_OK)
        rc = make_slots(&r, err);
    if (rc == BL_OK)
        rc = begin(&r, folder, total, err);
    if (options->resumed)
        *options->resumed = total ? (double)r.written / (double)total : 0;
    if (rc == BL_OK && !options->skip_space_check)
        rc = bl_checkpoint_space(folder, bl_archive_restored_bytes(bln), bl_outdir_kept(r.folder),
                                 err);
    if (rc == BL_OK)
        rc = restore_all(&r, err);
    bl_sink_abort(&r.file);
    if (rc != BL_OK && r.folder && r.interval > 0)
        bl_checkpoint_say_kept(err, bl_keep_is_worth_it(bl_outdir_kept(r.folder)), folder,
                               total ? (double)r.noted / (double)total : 0);
    if (rc == BL_OK)
        rc = bl_outdir_commit(&r.folder, err);
    bl_outdir_abort(&r.folder);
    free_slots(&r);
    return rc;
}
