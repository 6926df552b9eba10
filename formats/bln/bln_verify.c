/* bln_verify.c - every chunk and every entry of a .bln against the checksums of its index. */
#include "base/alloc.h"
#include "base/hash.h"
#include "base/par.h"
#include "base/size.h"
#include "formats/bln/bln_file.h"
#include "formats/bln/bln_reader.h"

#include <inttypes.h>

struct worker {
    bl_bln_scratch scratch;
    bl_hasher *hasher;
    unsigned char *bytes; /* one chunk */
};

struct check {
    const bl_bln_file *file;
    struct worker *worker; /* one a thread */
    unsigned char *is_bad; /* one an entry */
    bl_progress *progress;
};

/* All bytes of an entry, in order; BL_E_MISMATCH when a chunk or the whole is not what it was. */
static bl_status check_entry(const bl_bln_file *file, struct worker *w, const bl_bln_entry *entry,
                             bl_progress *progress, struct bl_err *err)
{
    bl_hash128 hash;
    bl_status rc = BL_OK;

    bl_hasher_reset(w->hasher);
    for (uint64_t at = 0; at < entry->n_bytes && rc == BL_OK;) {
        uint32_t unit = bl_bln_index_chunk(&file->index, entry->first_chunk).n_decoded;
        size_t n = (size_t)bl_min_u64(unit, entry->n_bytes - at);

        rc = bl_bln_read_entry(file, &w->scratch, entry, at, w->bytes, n, err);
        if (rc == BL_OK)
            bl_hasher_add(w->hasher, w->bytes, n);
        at += n;
        bl_progress_add(progress, n);
    }
    if (rc != BL_OK)
        return rc;
    hash = bl_hasher_digest(w->hasher);
    if (bl_hash128_equal(hash, entry->hash))
        return BL_OK;
    return bl_fail(err, BL_E_MISMATCH, "%s: %s '%s': it does not have the checksum of the index",
                   file->base.path, bl_bln_kind_name(entry),
                   bl_bln_index_name(&file->index, entry));
}

/* Damage is noted, so that the rest is looked at too; any other failure ends the loop. */
static bl_status check_one(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct check *c = context;
    bl_bln_entry entry = bl_bln_index_entry(&c->file->index, (uint32_t)i);
    bl_status rc;

    rc = check_entry(c->file, &c->worker[i_thread], &entry, c->progress, err);
    c->is_bad[i] = rc == BL_E_MISMATCH;
    return rc == BL_E_MISMATCH ? BL_OK : rc;
}

/* Sentences are made again, one after the other, for the few entries that are damaged. */
static bl_status report(const struct check *c, bl_bln_bad_fn bad, void *context, struct bl_err *err)
{
    struct bl_err first = { 0 };
    uint32_t n_bad = 0;

    for (uint32_t i = 0; i < c->file->index.entries.n; i++) {
        bl_bln_entry entry = bl_bln_index_entry(&c->file->index, i);
        struct bl_err here = { 0 };

        if (!c->is_bad[i])
            continue;
        n_bad++;
        if (check_entry(c->file, &c->worker[0], &entry, NULL, &here) == BL_OK)
            (void)bl_fail(&here, BL_E_MISMATCH, "%s: it was damaged a moment ago",
                          bl_bln_index_name(&c->file->index, &entry));
        if (n_bad == 1)
            first = here;
        if (bad)
            bad(context, here.text);
    }
    if (n_bad == 0)
        return BL_OK;
    return bl_fail(err, BL_E_MISMATCH, "%s (%u of %u entries are damaged)", first.text, n_bad,
                   c->file->index.entries.n);
}

static bl_status make_workers(struct check *c, int n_threads, struct bl_err *err)
{
    bl_status rc = BL_OK;

    c->worker = bl_calloc((size_t)n_threads, sizeof(*c->worker));
    if (!c->worker)
        return bl_fail_nomem(err, c->file->base.path);
    for (int t = 0; t < n_threads && rc == BL_OK; t++) {
        c->worker[t].bytes = bl_alloc(BL_BLN_CHUNK_BYTES, 1);
        rc = c->worker[t].bytes ? bl_hasher_new(&c->worker[t].hasher, err)
                                : bl_fail_nomem(err, c->file->base.path);
    }
    return rc;
}

static void free_workers(struct check *c, int n_threads)
{
    for (int t = 0; c->worker && t < n_threads; t++) {
        bl_bln_scratch_release(&c->worker[t].scratch);
        bl_hasher_free(c->worker[t].hasher);
        bl_free(c->worker[t].bytes);
    }
    bl_free(c->worker);
}

bl_status bl_bln_verify(const bl_container *container, int n_threads, bl_progress *progress,
                        bl_bln_bad_fn bad, void *context, struct bl_err *err)
{
    const bl_bln_file *file = (const bl_bln_file *)container;
    struct check c = { .file = file, .progress = progress };
    bl_status rc = make_workers(&c, n_threads, err);

    c.is_bad = bl_calloc(file->index.entries.n, 1);
    if (rc == BL_OK && !c.is_bad)
        rc = bl_fail_nomem(err, container->path);
    if (rc == BL_OK)
        rc = bl_par_for(file->index.entries.n, n_threads, check_one, &c, err);
    if (rc == BL_OK)
        rc = report(&c, bad, context, err);
    free_workers(&c, n_threads);
    bl_free(c.is_bad);
    return rc;
}
