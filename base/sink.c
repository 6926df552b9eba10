/*
 * sink.c - atomic output files and directories. Every system call that changes the disk passes
 * through bl_publish_attempt(), where tests can make the k-th one fail. Names, and the rename at
 * the end, are publish.c's.
 */
#include "base/sink.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/publish.h"
#include "base/size.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 20 };

struct bl_sink {
    bl_publish publish;    /* inside a folder: only the names, and what was created */
    bl_outdir *outdir;     /* the folder whose rename publishes the file, or NULL */
    int fd;                /* -1 once closed */
    struct bl_err failure; /* the first write that failed; status BL_OK = none */
    uint64_t flushed;      /* bytes handed to the kernel */
    size_t buffered;
    unsigned char buffer[BUFFER_BYTES];
};

struct bl_outdir {
    bl_publish publish;
    int fd;        /* of the partial folder: held open, so that its inode is not used again */
    size_t n_open; /* files not yet committed or aborted */
};

void bl_sink_fail_at(uint64_t k)
{
    bl_publish_fail_at(k);
}

uint64_t bl_sink_call_count(void)
{
    return bl_publish_call_count();
}

static bl_status open_partial(bl_sink *sink, struct bl_err *err)
{
    const char *path = sink->publish.partial;

    /* What an unfinished run left is not written over but removed: it may be open elsewhere. */
    if (sink->publish.force && (!bl_publish_attempt() || unlink(path) != 0) && errno != ENOENT)
        return bl_fail_errno(err, errno, "%s: cannot remove", path);
    if (bl_publish_attempt())
        sink->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (sink->fd < 0 && errno == ENOENT)
        return bl_fail(err, BL_E_IO, "%s: cannot create: its folder does not exist", path);
    if (sink->fd < 0)
        return bl_fail_errno(err, errno, "%s: cannot create", path);
    return bl_publish_remember(&sink->publish, err);
}

bl_status bl_sink_begin(bl_sink **out, const char *path, bool force, struct bl_err *err)
{
    bl_sink *sink = bl_calloc(1, sizeof(*sink));
    bl_status rc;

    if (!sink)
        return bl_fail_nomem(err, path);
    sink->fd = -1;
    rc = bl_publish_begin(&sink->publish, path, S_IFREG, force, err);
    if (rc == BL_OK)
        rc = open_partial(sink, err);
    if (rc != BL_OK) {
        bl_sink_abort(&sink);
        return rc;
    }
    *out = sink;
    return BL_OK;
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

        if (bl_publish_attempt())
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

/* Append to what the kernel has. */
static bl_status write_out(bl_sink *sink, const unsigned char *bytes, size_t n, struct bl_err *err)
{
    bl_status rc = write_at(sink, sink->flushed, bytes, n, err);

    if (rc == BL_OK)
        sink->flushed += n;
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
    if (rc == BL_OK && n > BUFFER_BYTES - sink->buffered)
        rc = flush(sink, &here);
    if (rc == BL_OK && n >= BUFFER_BYTES) {
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
    if (rc == BL_OK)
        rc = flush(sink, err);
    if (rc != BL_OK)
        return rc;
    do
        answer = bl_publish_attempt() ? fsync(sink->fd) : -1;
    while (answer != 0 && errno == EINTR && bl_cancel_signal() == 0);
    if (answer != 0 && errno == EINTR)
        return bl_cancel_check(err);
    if (answer != 0)
        return bl_fail_errno(err, errno, "%s: cannot sync", sink->publish.partial);
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
    if (sink->publish.created && bl_publish_is_ours(&sink->publish))
        unlink(sink->publish.partial);
    free_sink(sink);
    *handle = NULL;
}

bl_status bl_sink_remove(const char *path, struct bl_err *err)
{
    if ((!bl_publish_attempt() || unlink(path) != 0) && errno != ENOENT)
        return bl_fail_errno(err, errno, "%s: cannot remove", path);
    return BL_OK;
}

static bool has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), n_suffix = strlen(suffix);

    return n >= n_suffix && strcmp(s + n - n_suffix, suffix) == 0;
}

/* What --force may remove: an empty folder, or plain files with those of a checkpoint among them. */
static bl_status check_replaceable(const char *path, bool finished, struct bl_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    bool config = false, weights = false, empty = true, other = false;
    const struct dirent *e;
    struct stat st;

    if (!d) {
        bl_status rc = bl_fail_errno(err, errno, "%s: cannot replace", path);

        if (fd >= 0)
            close(fd);
        return rc;
    }
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        empty = false;
        config = config || strcmp(e->d_name, "config.json") == 0;
        weights = weights || has_suffix(e->d_name, ".safetensors") ||
                  has_suffix(e->d_name, ".safetensors.index.json");
        other =
            other || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode);
    }
    closedir(d);
    if (empty || (!other && (finished ? config && weights : config || weights)))
        return BL_OK;
    return bl_fail(err, BL_E_USAGE,
                   "%s: not replaced, it does not hold a checkpoint alone; remove it yourself",
                   path);
}

/* Remove a folder of plain files; nothing else is ever inside one of ours. */
static void remove_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *e;

    if (d) {
        while ((e = readdir(d)))
            unlinkat(fd, e->d_name, 0); /* fails on "." and "..", which is fine */
        closedir(d);
    } else if (fd >= 0) {
        close(fd);
    }
    rmdir(path);
}

/* With force, the folder under the final name is one that may go: at the start and at the end. */
static bl_status check_final(const bl_outdir *dir, struct bl_err *err)
{
    struct stat st;

    if (!dir->publish.force || lstat(dir->publish.final, &st) != 0)
        return BL_OK;
    return check_replaceable(dir->publish.final, true, err);
}

/* With force: see that what is there may go, and clear what an unfinished run left. */
static bl_status make_room(const bl_outdir *dir, struct bl_err *err)
{
    const bl_publish *p = &dir->publish;
    bl_status rc = check_final(dir, err);
    struct stat st;

    if (rc == BL_OK && p->force && lstat(p->partial, &st) == 0) {
        rc = check_replaceable(p->partial, false, err);
        if (rc == BL_OK)
            remove_folder(p->partial);
    }
    return rc;
}

static bl_status create_folder(bl_outdir *dir, struct bl_err *err)
{
    const char *path = dir->publish.partial;
    bl_status rc;

    if (!bl_publish_attempt() || mkdir(path, 0777) != 0)
        return bl_fail_errno(err, errno, "%s: cannot create the folder", path);
    rc = bl_publish_remember(&dir->publish, err);
    if (rc != BL_OK)
        return rc;
    dir->fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return dir->fd >= 0 ? BL_OK : bl_fail_errno(err, errno, "%s: cannot open", path);
}

bl_status bl_outdir_begin(bl_outdir **out, const char *path, bool force, struct bl_err *err)
{
    bl_outdir *dir = bl_calloc(1, sizeof(*dir));
    bl_status rc;

    if (!dir)
        return bl_fail_nomem(err, path);
    dir->fd = -1;
    rc = bl_publish_begin(&dir->publish, path, S_IFDIR, force, err);
    if (rc == BL_OK)
        rc = make_room(dir, err);
    if (rc == BL_OK)
        rc = create_folder(dir, err);
    if (rc != BL_OK) {
        bl_outdir_abort(&dir);
        return rc;
    }
    *out = dir;
    return BL_OK;
}

bl_status bl_outdir_file(bl_sink **out, bl_outdir *dir, const char *name, struct bl_err *err)
{
    bl_sink *sink;
    bl_status rc;

    if (*name == '\0' || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return bl_fail(err, BL_E_USAGE, "%s: '%s' is not a plain file name", dir->publish.final,
                       name);
    sink = bl_calloc(1, sizeof(*sink));
    if (!sink)
        return bl_fail_nomem(err, name);
    sink->fd = -1;
    sink->outdir = dir;
    dir->n_open++;
    sink->publish.final = bl_format("%s/%s", dir->publish.final, name);
    sink->publish.partial = bl_format("%s/%s", dir->publish.partial, name);
    if (!sink->publish.final || !sink->publish.partial)
        rc = bl_fail_nomem(err, name);
    else
        rc = open_partial(sink, err);
    if (rc != BL_OK) {
        bl_sink_abort(&sink);
        return rc;
    }
    *out = sink;
    return BL_OK;
}

bl_status bl_outdir_commit(bl_outdir **handle, struct bl_err *err)
{
    bl_outdir *dir = *handle;
    bool replaced = false;
    bl_status rc = bl_cancel_check(err);

    assert(dir->n_open == 0);
    if (rc == BL_OK)
        rc = bl_publish_sync_folder(dir->publish.partial, err);
    if (rc == BL_OK)
        rc = check_final(dir, err);
    if (rc == BL_OK)
        rc = bl_publish_commit(&replaced, &dir->publish, err);
    if (replaced)
        remove_folder(dir->publish.partial);
    bl_outdir_abort(handle); /* removes what was not published, and frees */
    return rc;
}

void bl_outdir_abort(bl_outdir **handle)
{
    bl_outdir *dir = *handle;

    if (!dir)
        return;
    if (bl_publish_is_ours(&dir->publish))
        remove_folder(dir->publish.partial);
    if (dir->fd >= 0)
        close(dir->fd);
    bl_publish_release(&dir->publish);
    bl_free(dir);
    *handle = NULL;
}

bl_status bl_space_check(const char *path, uint64_t n_bytes, struct bl_err *err)
{
    char *folder = bl_publish_parent(path);
    struct statvfs vfs;
    uint64_t room;
    int answer;

    if (!folder)
        return bl_fail_nomem(err, path);
    answer = statvfs(folder, &vfs);
    bl_free(folder);
    if (answer != 0 || !bl_mul_u64(&room, vfs.f_bavail, vfs.f_frsize) || room >= n_bytes)
        return BL_OK;
    return bl_fail(err, BL_E_IO, "%s: needs %" PRIu64 " bytes, the disk has %" PRIu64 " left", path,
                   n_bytes, room);
}
