/* spill.c - see spill.h. */
#include "base/spill.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/publish.h"
#include "base/size.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

struct bl_spill {
    int fd;
    char *folder;
    uint64_t size;
};

/* Not every file system makes nameless files: then a name that is removed at once. */
static int open_nameless(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    char *path;

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    path = bl_format("%s/baleen-scratch-XXXXXX", folder);
    if (!path) {
        errno = ENOMEM;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    bl_free(path);
    return fd;
}

/* 0, or an error number. A file system that cannot reserve space is no error. */
static int reserve(int fd, uint64_t n_bytes)
{
    if (!bl_publish_attempt(BL_CALL_CREATE, -1))
        return errno;
    if (ftruncate(fd, (off_t)n_bytes) != 0)
        return errno;
    if (n_bytes > 0 && fallocate(fd, 0, 0, (off_t)n_bytes) != 0 && errno != EOPNOTSUPP &&
        errno != ENOSYS)
        return errno;
    return 0;
}

bl_status bl_spill_new(bl_spill **out, const char *folder, uint64_t n_bytes, struct bl_err *err)
{
    bl_spill *s = bl_calloc(1, sizeof(*s));
    int error;

    if (!s)
        return bl_fail_nomem(err, folder);
    s->fd = -1;
    s->size = n_bytes;
    s->folder = bl_strdup(folder);
    if (!s->folder) {
        bl_spill_free(s);
        return bl_fail_nomem(err, folder);
    }
    s->fd = open_nameless(folder);
    error = s->fd < 0 ? errno : reserve(s->fd, n_bytes);
    if (error != 0) {
        bl_spill_free(s);
        return bl_fail_errno(err, error, "%s: cannot make a scratch file of %" PRIu64 " bytes",
                             folder, n_bytes);
    }
    *out = s;
    return BL_OK;
}

void bl_spill_free(bl_spill *spill)
{
    if (!spill)
        return;
    if (spill->fd >= 0)
        close(spill->fd);
    bl_free(spill->folder);
    bl_free(spill);
}

bl_status bl_spill_read(const bl_spill *spill, uint64_t offset, void *out, size_t n,
                        struct bl_err *err)
{
    unsigned char *to = out;
    bl_status rc = bl_cancel_check(err);

    assert(bl_range_fits(offset, n, spill->size));
    while (n > 0 && rc == BL_OK) {
        ssize_t got = pread(spill->fd, to, n < INT_MAX ? n : INT_MAX, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return bl_fail_errno(err, got < 0 ? errno : EIO, "%s: cannot read the scratch file",
                                 spill->folder);
        to += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return rc;
}

bl_status bl_spill_write(bl_spill *spill, uint64_t offset, const void *bytes, size_t n,
                         struct bl_err *err)
{
    const unsigned char *from = bytes;
    bl_status rc = bl_cancel_check(err);

    assert(bl_range_fits(offset, n, spill->size));
    while (n > 0 && rc == BL_OK) {
        ssize_t put = bl_publish_attempt(BL_CALL_WRITE, spill->fd)
                          ? pwrite(spill->fd, from, n < INT_MAX ? n : INT_MAX, (off_t)offset)
                          : -1;

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return bl_fail_errno(err, put < 0 ? errno : EIO, "%s: cannot write the scratch file",
                                 spill->folder);
        from += put;
        n -= (size_t)put;
        offset += (uint64_t)put;
    }
    return rc;
}
