/* source.c - files through pread(2), and memory. */
#include "base/source.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/size.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_source {
    bl_source base;
    int fd;
};

struct memory_source {
    bl_source base;
    const unsigned char *bytes;
};

static bl_status read_file(bl_source *source, uint64_t offset, void *out, size_t n,
                           struct bl_err *err)
{
    int fd = ((struct file_source *)source)->fd;
    unsigned char *to = out;

    while (n > 0) {
        ssize_t got = pread(fd, to, n < INT_MAX ? n : INT_MAX, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return bl_fail_errno(err, errno, "%s: cannot read at byte %" PRIu64, source->name,
                                 offset);
        if (got == 0)
            return bl_fail(err, BL_E_IO, "%s: the file shrank while it was read", source->name);
        to += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return BL_OK;
}

static void prefetch_file(bl_source *source, uint64_t offset, uint64_t n)
{
    (void)posix_fadvise(((struct file_source *)source)->fd, (off_t)offset, (off_t)n,
                        POSIX_FADV_WILLNEED);
}

static void close_file(bl_source *source)
{
    close(((struct file_source *)source)->fd);
}

static bl_status read_memory(bl_source *source, uint64_t offset, void *out, size_t n,
                             struct bl_err *err)
{
    (void)err;
    memcpy(out, ((struct memory_source *)source)->bytes + offset, n);
    return BL_OK;
}

static void close_memory(bl_source *source)
{
    (void)source;
}

static const struct bl_source_ops file_ops = { read_file, close_file, prefetch_file };
static const struct bl_source_ops memory_ops = { read_memory, close_memory, NULL };

bl_status bl_source_open(bl_source **out, const char *path, struct bl_err *err)
{
    struct file_source *f;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hang us */

    if (fd < 0)
        return bl_fail_errno(err, errno, "%s: cannot open", path);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return bl_fail(err, BL_E_IO, "%s: not a regular file", path);
    }
    f = bl_calloc(1, sizeof(*f));
    if (f)
        f->base.name = bl_strdup(path);
    if (!f || !f->base.name) {
        close(fd);
        bl_free(f);
        return bl_fail_nomem(err, path);
    }
    f->base.ops = &file_ops;
    f->base.size = (uint64_t)st.st_size;
    f->fd = fd;
    *out = &f->base;
    return BL_OK;
}

bool bl_source_exists(const char *path)
{
    bl_source *source = NULL;

    if (bl_source_open(&source, path, NULL) != BL_OK)
        return false;
    bl_source_close(source);
    return true;
}

bl_status bl_source_memory(bl_source **out, const char *name, const void *bytes, size_t n,
                           struct bl_err *err)
{
    struct memory_source *m = bl_calloc(1, sizeof(*m));

    if (m)
        m->base.name = bl_strdup(name);
    if (!m || !m->base.name) {
        bl_free(m);
        return bl_fail_nomem(err, name);
    }
    m->base.ops = &memory_ops;
    m->base.size = n;
    m->bytes = bytes;
    *out = &m->base;
    return BL_OK;
}

bl_status bl_source_read(bl_source *source, uint64_t offset, void *out, size_t n,
                         struct bl_err *err)
{
    bl_status rc = bl_cancel_check(err);

    if (rc != BL_OK)
        return rc;
    if (!bl_range_fits(offset, n, source->size))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: %zu bytes at byte %" PRIu64 " lie past the end (%" PRIu64 " bytes)",
                       source->name, n, offset, source->size);
    return n == 0 ? BL_OK : source->ops->read(source, offset, out, n, err);
}

void bl_source_prefetch(bl_source *source, uint64_t offset, uint64_t n)
{
    if (source->ops->prefetch && offset < source->size)
        source->ops->prefetch(source, offset, bl_min_u64(n, source->size - offset));
}

bl_status bl_source_read_all(char **out, size_t *n_bytes, bl_source *source, uint64_t max_bytes,
                             struct bl_err *err)
{
    char *bytes;
    bl_status rc;

    if (source->size > max_bytes)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: %" PRIu64 " bytes, more than the %" PRIu64 " that are sensible here",
                       source->name, source->size, max_bytes);
    bytes = bl_alloc((size_t)source->size + 1, 1);
    if (!bytes)
        return bl_fail_nomem(err, source->name);
    rc = bl_source_read(source, 0, bytes, (size_t)source->size, err);
    if (rc != BL_OK) {
        bl_free(bytes);
        return rc;
    }
    bytes[source->size] = '\0';
    *out = bytes;
    if (n_bytes)
        *n_bytes = (size_t)source->size;
    return BL_OK;
}

void bl_source_close(bl_source *source)
{
    if (!source)
        return;
    source->ops->close(source);
    bl_free(source->name);
    bl_free(source);
}

bl_status bl_source_read_file(char **out, size_t *n_bytes, const char *path, uint64_t max_bytes,
                              struct bl_err *err)
{
    bl_source *source = NULL;
    bl_status rc = bl_source_open(&source, path, err);

    if (rc == BL_OK)
        rc = bl_source_read_all(out, n_bytes, source, max_bytes, err);
    bl_source_close(source);
    return rc;
}
