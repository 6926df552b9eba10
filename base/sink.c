/*
 * sink.c - atomic output files. Every system call that changes the disk passes through
 * bl_publish_attempt(), where tests can make the k-th one fail. Names, and the rename at the end, are
 * publish.c's; what is kept of an unfinished file is keep.c's; folders are outdir.c's.
 */
#include "base/sink.h"

#include "base/sink_internal.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/size.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { START_BYTES = 8 << 20 };

void bl_sink_fail_at(uint64_t k)
{
    bl_publish_fail_at(k);
}

uint64_t bl_sink_call_count(void)
{
    return bl_publish_call_count();
}

bl_status bl_sink_lock(int fd, const char *path, struct bl_err *err)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return BL_OK; /* a file system without locks is no reason to stop */
    return bl_fail(err, BL_E_USAGE, "%s: another run is writing it", path);
}

/* Go on with what an earlier run left: its sound bytes stay, what lies behind them goes. */
static bl_status reopen(bl_sink *sink, struct bl_err *err)
{
    const char *path = sink->publish.partial;
    bl_status rc;

    sink->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (sink->fd < 0)
        return bl_fail_errno(err, errno, "%s: cannot open", path);
    rc = bl_sink_lock(sink->fd, path, err);
    if (rc != BL_OK)
        return rc;
    sink->noted = sink->started = sink->verified;
    if (!bl_publish_attempt(BL_CALL_WRITE, sink->fd) ||
        ftruncate(sink->fd, (off_t)sink->verified) != 0)
        return bl_fail_errno(err, errno, "%s: cannot cut", path);
    return bl_publish_remember(&sink->publish, err);
}

bl_status bl_sink_open_partial(bl_sink *sink, struct bl_err *err)
{
    const char *path = sink->publish.partial;
    bl_status rc = BL_OK;

    if (sink->keep) {
        sink->verified = bl_keep_verified(sink->keep, sink->name);
        rc = bl_hasher_new(&sink->hasher, err);
        if (rc == BL_OK && sink->verified > 0)
            return reopen(sink, err);
        sink->noted = sink->loose;
    }
    if (rc != BL_OK)
        return rc;
    /* What an unfinished run left is not written over but removed: it may be open elsewhere. */
    if (sink->publish.force && (!bl_publish_attempt(BL_CALL_REMOVE, -1) || unlink(path) != 0) &&
        errno != ENOENT)
        return bl_fail_errno(err, errno, "%s: cannot remove", path);
    if (bl_publish_attempt(BL_CALL_CREATE, -1))
        sink->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (sink->fd < 0 && errno == ENOENT)
        return bl_fail(err, BL_E_IO, "%s: cannot create: its folder does not exist", path);
    if (sink->fd < 0)
        return bl_fail_errno(err, errno, "%s: cannot create", path);
    rc = bl_publish_remember(&sink->publish, err);
    return rc == BL_OK ? bl_sink_lock(sink->fd, path, err) : rc;
}

static bl_status begin(bl_sink *sink, const char *path, bool force, const bl_keep_options *keep,
                       struct bl_err *err)
{
    bl_status rc =
        bl_publish_begin(&sink->publish, path, S_IFREG, force, keep && keep->resume, err);

    if (rc == BL_OK && keep) {
        sink->loose = keep->loose;
        rc = bl_keep_begin(&sink->keep, sink->publish.partial, false, keep, err);
        /* what lies there and cannot be gone on with makes room */
        sink->publish.force = sink->publish.force || keep->resume;
    }
    if (rc == BL_OK)
        rc = bl_sink_open_partial(sink, err);
    sink->publish.force = force;
    return rc;
}

bl_status bl_sink_begin_kept(bl_sink **out, const char *path, bool force,
                             const bl_keep_options *keep, struct bl_err *err)
{
    bl_sink *sink = bl_calloc(1, sizeof(*sink));
    bl_status rc;

    if (!sink)
        return bl_fail_nomem(err, path);
    sink->fd = -1;
    sink->name = "";
    rc = begin(sink, path, force, keep, err);
    if (rc != BL_OK) {
        bl_sink_abort(&sink);
        return rc;
    }
    *out = sink;
    return BL_OK;
}

bl_status bl_sink_begin(bl_sink **out, const char *path, bool force, struct bl_err *err)
{
    return bl_sink_begin_kept(out, path, force, NULL, err);
}

const bl_keep *bl_sink_kept(const bl_sink *sink)
{
    return sink->keep;
}

/* Keep the first failure, so that later calls repeat it. */
static bl_status remember(bl_sink *sink, bl_status rc, const struct bl_err *err)
{
    if (rc != BL_OK && sink->failure.status == BL_OK)
        sink->failure = *err;
    return rc;
}

static bl_status repeat_failure(const bl_sink *sink, struct bl_err *err)
{
    return bl_fail(err, sink->failure.status, "%s", sink->failure.text);
}

/* Write n bytes at offset, however few of them the kernel takes at a time. */
static bl_status write_at(bl_sink *sink, uint64_t offset, const unsigned char *bytes, size_t n,
                          struct bl_err *err)
{
    while (n > 0) {
        ssize_t put = -1;

        if (bl_publish_attempt(BL_CALL_WRITE, sink->fd))
            put = pwrite(sink->fd, bytes, n < INT_MAX ? n : INT_MAX, (off_t)offset);
        if (put < 0 && errno == EINTR) {
            bl_status rc = bl_cancel_check(err);

            if (rc != BL_OK)
                return rc;
            continue;
        }
        if (put == 0) /* no reason given: do not ask for ever */
            errno = EIO;
        if (put <= 0)
            return bl_fail_errno(err, errno, "%s: cannot write at byte %" PRIu64,
                                 sink->publish.partial, offset);
        bytes += put;
        n -= (size_t)put;
        offset += (uint64_t)put;
    }
    return BL_OK;
}

/*
 * Checkpoints wait until all is on the disk. It is asked to begin long before, so that they find most
 * of it done, while others go on computing.
 */
static void start_writing(bl_sink *sink)
{
    if (sink->flushed - sink->started < START_BYTES)
        return;
    (void)sync_file_range(sink->fd, (off_t)sink->started, (off_t)(sink->flushed - sink->started),
                          SYNC_FILE_RANGE_WRITE);
    sink->started = sink->flushed;
}

/* Append to what the kernel has. */
static bl_status write_out(bl_sink *sink, const unsigned char *bytes, size_t n, struct bl_err *err)
{
    bl_status rc = write_at(sink, sink->flushed, bytes, n, err);

    if (rc == BL_OK && sink->keep) {
        size_t loose =
            sink->flushed < sink->loose ? (size_t)bl_min_u64(sink->loose - sink->flushed, n) : 0;

        bl_hasher_add(sink->hasher, bytes + loose, n - loose);
    }
    if (rc == BL_OK)
        sink->flushed += n;
    if (rc == BL_OK && sink->keep)
        start_writing(sink);
    return rc;
}

/*
 * The next n bytes lie there already, from an earlier run: the same, or it was another's. What is
 * loose is written again.
 */
static bl_status compare(bl_sink *sink, const unsigned char *bytes, size_t n, struct bl_err *err)
{
    unsigned char there[4096];
    bl_status rc = BL_OK;

    while (n > 0 && rc == BL_OK) {
        size_t step = (size_t)bl_min_u64(n, sizeof(there));
        ssize_t got;

        if (sink->flushed < sink->loose) {
            step = (size_t)bl_min_u64(n, sink->loose - sink->flushed);
            rc = write_at(sink, sink->flushed, bytes, step, err);
        } else {
            got = pread(sink->fd, there, step, (off_t)sink->flushed);
            if (got < 0 && errno == EINTR)
                continue;
            if (got <= 0)
                return bl_fail_errno(err, got < 0 ? errno : EIO, "%s: cannot read",
                                     sink->publish.partial);
            step = (size_t)got;
            if (memcmp(there, bytes, step) != 0)
                return bl_fail(err, BL_E_USAGE,
                               "%s: was left by a run with another input; --force starts anew",
                               sink->publish.partial);
        }
        sink->flushed += step;
        bytes += step;
        n -= step;
    }
    return rc;
}

static bl_status flush(bl_sink *sink, struct bl_err *err)
{
    bl_status rc = write_out(sink, sink->buffer, sink->buffered, err);

    sink->buffered = 0;
    return rc;
}

bl_status bl_sink_write(bl_sink *sink, const void *bytes, size_t n, struct bl_err *err)
{
    struct bl_err here = { 0 };
    bl_status rc;

    if (sink->failure.status != BL_OK)
        return repeat_failure(sink, err);
    rc = bl_cancel_check(&here);
    if (rc == BL_OK && sink->flushed < sink->verified) {
        size_t known = (size_t)bl_min_u64(n, sink->verified - sink->flushed);

        rc = compare(sink, bytes, known, &here);
        bytes = (const unsigned char *)bytes + known;
        n -= known;
    }
    if (rc == BL_OK && n > BL_SINK_BUFFER_BYTES - sink->buffered)
        rc = flush(sink, &here);
    if (rc == BL_OK && n >= BL_SINK_BUFFER_BYTES) {
        rc = write_out(sink, bytes, n, &here);
    } else if (rc == BL_OK && n > 0) {
        memcpy(sink->buffer + sink->buffered, bytes, n);
        sink->buffered += n;
    }
    if (rc != BL_OK && err)
        *err = here;
    return remember(sink, rc, &here);
}

bl_status bl_sink_write_zeros(bl_sink *sink, uint64_t n, struct bl_err *err)
{
    static const unsigned char zeros[4096];
    bl_status rc = BL_OK;

    while (n > 0 && rc == BL_OK) {
        size_t step = (size_t)bl_min_u64(n, sizeof(zeros));

        rc = bl_sink_write(sink, zeros, step, err);
        n -= step;
    }
    return rc;
}

bl_status bl_sink_patch(bl_sink *sink, uint64_t offset, const void *bytes, size_t n,
                        struct bl_err *err)
{
    struct bl_err here = { 0 };
    bl_status rc;

    if (sink->failure.status != BL_OK)
        return repeat_failure(sink, err);
    assert(bl_range_fits(offset, n, bl_sink_offset(sink)));
    rc = bl_cancel_check(&here);
    if (rc == BL_OK)
        rc = flush(sink, &here);
    if (rc == BL_OK)
        rc = write_at(sink, offset, bytes, n, &here);
    if (rc != BL_OK && err)
        *err = here;
    return remember(sink, rc, &here);
}

void bl_sink_skip(bl_sink *sink, uint64_t n)
{
    assert(sink->buffered == 0 && n <= sink->verified - sink->flushed);
    sink->flushed += n;
}

uint64_t bl_sink_verified(const bl_sink *sink)
{
    return sink->verified;
}

/* Everything handed over on the disk. */
static bl_status sync_file(bl_sink *sink, struct bl_err *err)
{
    bl_status rc = flush(sink, err);
    int answer;

    if (rc != BL_OK)
        return rc;
    do
        answer = bl_publish_attempt(BL_CALL_SYNC, sink->fd) ? fsync(sink->fd) : -1;
    while (answer != 0 && errno == EINTR && bl_cancel_signal() == 0);
    if (answer != 0 && errno == EINTR)
        return bl_cancel_check(err);
    return answer == 0 ? BL_OK
                       : bl_fail_errno(err, errno, "%s: cannot sync", sink->publish.partial);
}

/* Note what has been synced since the last time; with a state, as a checkpoint. */
static bl_status note(bl_sink *sink, const void *state, size_t n, struct bl_err *err)
{
    const bl_keep_segment segment = { .name = sink->name,
                                      .from = sink->noted,
                                      .to = sink->flushed,
                                      .hash = bl_hasher_digest(sink->hasher) };
    bl_status rc = bl_keep_note(sink->keep, &segment, state, n, err);

    if (rc == BL_OK) {
        sink->noted = sink->flushed;
        bl_hasher_reset(sink->hasher);
    }
    return rc;
}

bl_status bl_sink_checkpoint(bl_sink *sink, const void *state, size_t n, struct bl_err *err)
{
    struct bl_err here = { 0 };
    bl_status rc;

    assert(sink->keep && n > 0);
    if (sink->failure.status != BL_OK)
        return repeat_failure(sink, err);
    rc = sync_file(sink, &here);
    if (rc == BL_OK)
        rc = note(sink, state, n, &here);
    if (rc != BL_OK && err)
        *err = here;
    return remember(sink, rc, &here);
}

uint64_t bl_sink_offset(const bl_sink *sink)
{
    return sink->flushed + sink->buffered;
}

/* Everything on the disk and the file closed, still under its partial name. */
static bl_status settle(bl_sink *sink, struct bl_err *err)
{
    bl_status rc;
    int answer;

    if (sink->failure.status != BL_OK)
        return repeat_failure(sink, err);
    rc = bl_cancel_check(err);
    if (rc == BL_OK && sink->flushed + sink->buffered < sink->verified)
        rc = bl_fail(err, BL_E_MISMATCH, "%s: holds more than this run would write",
                     sink->publish.partial);
    if (rc == BL_OK)
        rc = sync_file(sink, err);
    if (rc == BL_OK && sink->keep && sink->outdir && sink->noted < sink->flushed)
        rc = note(sink, NULL, 0, err);
    if (rc != BL_OK)
        return rc;
    answer = close(sink->fd);
    sink->fd = -1;
    if (answer != 0)
        return bl_fail_errno(err, errno, "%s: cannot close", sink->publish.partial);
    return BL_OK;
}

static void free_sink(bl_sink *sink)
{
    if (sink->outdir)
        sink->outdir->n_open--;
    else
        bl_keep_free(sink->keep);
    bl_hasher_free(sink->hasher);
    bl_publish_release(&sink->publish);
    bl_free(sink);
}

bl_status bl_sink_commit(bl_sink **handle, struct bl_err *err)
{
    bl_sink *sink = *handle;
    bool replaced = false;
    bl_status rc = settle(sink, err);

    if (rc == BL_OK && !sink->outdir)
        rc = bl_publish_commit(&replaced, &sink->publish, err);
    if (rc != BL_OK) {
        bl_sink_abort(handle);
        return rc;
    }
    if (replaced)
        unlink(sink->publish.partial);
    if (sink->keep && !sink->outdir)
        bl_keep_remove(sink->keep);
    free_sink(sink);
    *handle = NULL;
    return BL_OK;
}

void bl_sink_abort(bl_sink **handle)
{
    bl_sink *sink = *handle;

    if (!sink)
        return;
    if (sink->fd >= 0)
        close(sink->fd);
    if (!(sink->keep && bl_keep_is_worth_it(sink->keep))) {
        if (sink->publish.created && bl_publish_is_ours(&sink->publish))
            unlink(sink->publish.partial);
        if (sink->keep && !sink->outdir)
            bl_keep_remove(sink->keep);
    }
    free_sink(sink);
    *handle = NULL;
}

bl_status bl_sink_remove(const char *path, struct bl_err *err)
{
    if ((!bl_publish_attempt(BL_CALL_REMOVE, -1) || unlink(path) != 0) && errno != ENOENT)
        return bl_fail_errno(err, errno, "%s: cannot remove", path);
    return BL_OK;
}

bl_status bl_space_free(uint64_t *out, const char *path, struct bl_err *err)
{
    char *folder = bl_publish_parent(path);
    struct statvfs vfs;

    if (!folder)
        return bl_fail_nomem(err, path);
    if (statvfs(folder, &vfs) != 0 || !bl_mul_u64(out, vfs.f_bavail, vfs.f_frsize))
        *out = UINT64_MAX;
    bl_free(folder);
    return BL_OK;
}

bl_status bl_space_check(const char *path, uint64_t n_bytes, struct bl_err *err)
{
    char need[32], have[32];
    uint64_t room = UINT64_MAX;
    bl_status rc = bl_space_free(&room, path, err);

    if (rc != BL_OK || room >= n_bytes)
        return rc;
    return bl_fail(err, BL_E_IO, "%s: needs %s, the disk has %s left", path,
                   bl_text_bytes(need, n_bytes), bl_text_bytes(have, room));
}
