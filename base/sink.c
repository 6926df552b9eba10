/*
 * sink.c - atomic output files and directories. Every system call that changes the disk passes
 * through attempt(), where tests can make the k-th one fail.
 */
#include "base/sink.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/size.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 20 };

struct bl_sink {
    char *final;           /* the name after commit */
    char *partial;         /* the name before */
    int fd;                /* -1 once closed */
    bool in_outdir;        /* the directory's rename publishes the file */
    bool created;          /* partial exists and is ours */
    struct bl_err failure; /* the first write that failed; status BL_OK = none */
    uint64_t flushed;      /* bytes handed to the kernel */
    size_t buffered;
    unsigned char buffer[BUFFER_BYTES];
};

struct bl_outdir {
    char *final;
    char *partial;
    bool created, replace;
};

static uint64_t n_calls, failing_call;

void bl_sink_fail_at(uint64_t k)
{
    failing_call = k ? n_calls + k : 0;
}

uint64_t bl_sink_call_count(void)
{
    return n_calls;
}

/* True when the system call that follows may run; else errno is ENOSPC. */
static bool attempt(void)
{
    if (++n_calls != failing_call)
        return true;
    errno = ENOSPC;
    return false;
}

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* The folder that path lies in, to be freed. */
static char *parent_of(const char *path)
{
    const char *slash;
    size_t n = strlen(path);

    while (n > 1 && path[n - 1] == '/')
        n--;
    slash = memrchr(path, '/', n);
    if (!slash)
        return bl_strdup(".");
    return bl_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* fsync the folder that path lies in, so that a rename survives a power cut. */
static bl_status sync_parent(const char *path, struct bl_err *err)
{
    char *folder = parent_of(path);
    bl_status rc = BL_OK;
    int fd;

    if (!folder)
        return bl_fail_nomem(err, path);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Some file systems cannot fsync a directory (EINVAL): then the rename is all there is. */
    if (fd < 0 || !attempt() || (fsync(fd) != 0 && errno != EINVAL))
        rc = bl_fail_errno(err, errno, "%s: cannot sync the folder", folder);
    if (fd >= 0)
        close(fd);
    bl_free(folder);
    return rc;
}

/* Remove trailing slashes: "out/" and "out" are the same output. */
static char *clean_path(const char *path)
{
    size_t n = strlen(path);

    while (n > 1 && path[n - 1] == '/')
        n--;
    return bl_strndup(path, n);
}

/* The checks that a file and a directory share before anything is created. */
static bl_status check_free(const char *final, const char *partial, bool force, struct bl_err *err)
{
    if (force)
        return BL_OK;
    if (exists(final))
        return bl_fail(err, BL_E_USAGE, "%s: already exists (--force replaces it)", final);
    if (exists(partial))
        return bl_fail(err, BL_E_USAGE, "%s: left by an unfinished run (--force replaces it)",
                       partial);
    return BL_OK;
}

static bl_status open_partial(bl_sink *sink, struct bl_err *err)
{
    if (attempt())
        sink->fd = open(sink->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (sink->fd < 0)
        return bl_fail_errno(err, errno, "%s: cannot create", sink->partial);
    sink->created = true;
    return BL_OK;
}

bl_status bl_sink_begin(bl_sink **out, const char *path, bool force, struct bl_err *err)
{
    bl_sink *sink = bl_calloc(1, sizeof(*sink));
    struct stat st;
    bl_status rc;

    if (!sink)
        return bl_fail_nomem(err, path);
    sink->fd = -1;
    sink->final = bl_strdup(path);
    sink->partial = bl_format("%s.partial", path);
    if (!sink->final || !sink->partial)
        rc = bl_fail_nomem(err, path);
    else if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        rc = bl_fail(err, BL_E_USAGE, "%s: exists and is not a regular file", path);
    else
        rc = check_free(sink->final, sink->partial, force, err);
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

static bl_status write_out(bl_sink *sink, const unsigned char *bytes, size_t n, struct bl_err *err)
{
    while (n > 0) {
        ssize_t put = -1;

        if (attempt())
            put = write(sink->fd, bytes, n < INT_MAX ? n : INT_MAX);
        if (put < 0 && errno == EINTR && bl_cancel_signal() == 0)
            continue;
        if (put < 0)
            return bl_fail_errno(err, errno, "%s: cannot write after %" PRIu64 " bytes",
                                 sink->partial, sink->flushed);
        bytes += put;
        n -= (size_t)put;
        sink->flushed += (uint64_t)put;
    }
    return BL_OK;
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
    } else if (rc == BL_OK) {
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
    const unsigned char *from = bytes;
    bl_status rc;

    if (sink->failure.status != BL_OK)
        return repeat_failure(sink, err);
    rc = flush(sink, &here);
    while (rc == BL_OK && n > 0) {
        ssize_t put = -1;

        if (attempt())
            put = pwrite(sink->fd, from, n, (off_t)offset);
        if (put < 0 && errno == EINTR && bl_cancel_signal() == 0)
            continue;
        if (put < 0) {
            rc = bl_fail_errno(&here, errno, "%s: cannot write at byte %" PRIu64, sink->partial,
                               offset);
            break;
        }
        from += put;
        offset += (uint64_t)put;
        n -= (size_t)put;
    }
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
    int closed;

    if (sink->failure.status != BL_OK)
        return repeat_failure(sink, err);
    rc = flush(sink, err);
    if (rc != BL_OK)
        return rc;
    if (!attempt() || fsync(sink->fd) != 0)
        return bl_fail_errno(err, errno, "%s: cannot sync", sink->partial);
    closed = close(sink->fd);
    sink->fd = -1;
    if (closed != 0)
        return bl_fail_errno(err, errno, "%s: cannot close", sink->partial);
    return BL_OK;
}

static void free_sink(bl_sink *sink)
{
    bl_free(sink->final);
    bl_free(sink->partial);
    bl_free(sink);
}

bl_status bl_sink_commit(bl_sink **handle, struct bl_err *err)
{
    bl_sink *sink = *handle;
    bl_status rc = settle(sink, err);

    if (rc == BL_OK && !sink->in_outdir) {
        if (!attempt() || rename(sink->partial, sink->final) != 0) {
            rc = bl_fail_errno(err, errno, "%s: cannot rename to %s", sink->partial, sink->final);
        } else {
            sink->created = false; /* it has its final name: no longer ours to remove */
            rc = sync_parent(sink->final, err);
        }
    }
    if (rc != BL_OK) {
        bl_sink_abort(handle);
        return rc;
    }
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
    if (sink->created)
        unlink(sink->partial);
    free_sink(sink);
    *handle = NULL;
}

/* Remove a folder of plain files; nothing else is ever inside one of ours. */
static void remove_folder(const char *path)
{
    DIR *d = opendir(path);
    const struct dirent *e;

    if (d) {
        while ((e = readdir(d)))
            unlinkat(dirfd(d), e->d_name, 0); /* fails on "." and "..", which is fine */
        closedir(d);
    }
    rmdir(path);
}

/* A folder may be replaced when it is empty or holds a checkpoint: never somebody's home. */
static bl_status check_replaceable(const char *path, struct bl_err *err)
{
    DIR *d = opendir(path);
    const struct dirent *e;
    bool empty = true, checkpoint = false, nested = false;

    if (!d)
        return bl_fail_errno(err, errno, "%s: cannot replace", path);
    while ((e = readdir(d))) {
        struct stat st;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        empty = false;
        if (strcmp(e->d_name, "config.json") == 0)
            checkpoint = true;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            nested = true;
    }
    closedir(d);
    if (nested || (!empty && !checkpoint))
        return bl_fail(err, BL_E_USAGE,
                       "%s: not replaced, it holds more than a checkpoint; remove it yourself",
                       path);
    return BL_OK;
}

bl_status bl_outdir_begin(bl_outdir **out, const char *path, bool force, struct bl_err *err)
{
    bl_outdir *dir = bl_calloc(1, sizeof(*dir));
    bl_status rc;

    if (!dir)
        return bl_fail_nomem(err, path);
    dir->final = clean_path(path);
    dir->partial = dir->final ? bl_format("%s.partial", dir->final) : NULL;
    if (!dir->partial) {
        bl_outdir_abort(&dir);
        return bl_fail_nomem(err, path);
    }
    rc = check_free(dir->final, dir->partial, force, err);
    if (rc == BL_OK && exists(dir->final)) {
        dir->replace = true;
        rc = check_replaceable(dir->final, err);
    }
    if (rc == BL_OK) {
        if (exists(dir->partial))
            remove_folder(dir->partial);
        if (!attempt() || mkdir(dir->partial, 0777) != 0)
            rc = bl_fail_errno(err, errno, "%s: cannot create the folder", dir->partial);
        else
            dir->created = true;
    }
    if (rc != BL_OK) {
        bl_outdir_abort(&dir);
        return rc;
    }
    *out = dir;
    return BL_OK;
}

bl_status bl_outdir_file(bl_sink **out, bl_outdir *dir, const char *name, struct bl_err *err)
{
    bl_sink *sink = bl_calloc(1, sizeof(*sink));
    bl_status rc;

    if (!sink)
        return bl_fail_nomem(err, name);
    sink->fd = -1;
    sink->in_outdir = true;
    sink->final = bl_format("%s/%s", dir->final, name);
    sink->partial = bl_format("%s/%s", dir->partial, name);
    if (!sink->final || !sink->partial)
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

/* Put the finished folder in its place; a folder that was there is swapped out, then removed. */
static bl_status publish(const bl_outdir *dir, struct bl_err *err)
{
    if (!dir->replace) {
        if (!attempt() || rename(dir->partial, dir->final) != 0)
            return bl_fail_errno(err, errno, "%s: cannot rename to %s", dir->partial, dir->final);
        return BL_OK;
    }
    if (!attempt() || renameat2(AT_FDCWD, dir->partial, AT_FDCWD, dir->final, RENAME_EXCHANGE) != 0)
        return bl_fail_errno(err, errno, "%s: cannot take the place of %s", dir->partial,
                             dir->final);
    remove_folder(dir->partial);
    return BL_OK;
}

bl_status bl_outdir_commit(bl_outdir **handle, struct bl_err *err)
{
    bl_outdir *dir = *handle;
    char *inside = bl_format("%s/.", dir->partial);
    bl_status rc = inside ? sync_parent(inside, err) : bl_fail_nomem(err, dir->final);

    bl_free(inside);
    if (rc == BL_OK)
        rc = publish(dir, err);
    if (rc == BL_OK) {
        dir->created = false;
        rc = sync_parent(dir->final, err);
    }
    bl_outdir_abort(handle); /* removes what was not published, and frees */
    return rc;
}

void bl_outdir_abort(bl_outdir **handle)
{
    bl_outdir *dir = *handle;

    if (!dir)
        return;
    if (dir->created)
        remove_folder(dir->partial);
    bl_free(dir->final);
    bl_free(dir->partial);
    bl_free(dir);
    *handle = NULL;
}

bl_status bl_space_check(const char *path, uint64_t n_bytes, struct bl_err *err)
{
    char *folder = parent_of(path);
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
