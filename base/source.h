/*
 * source.h - where input bytes come from: a file or memory, later a URL.
 *
 * Input is read by position and never mapped: tensors are unaligned, and a file that shrinks
 * under a map is a SIGBUS where it should be a sentence. Reads are thread-safe and exact.
 */
#ifndef BL_BASE_SOURCE_H
#define BL_BASE_SOURCE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_source bl_source;

struct bl_source_ops {
    /* Read exactly n bytes at offset; [offset, offset + n) lies inside the size at open. */
    bl_status (*read)(bl_source *source, uint64_t offset, void *out, size_t n, struct bl_err *err);
    void (*close)(bl_source *source);
    /* Begin to fetch n bytes at offset and come back at once; NULL: nothing to fetch. */
    void (*prefetch)(bl_source *source, uint64_t offset, uint64_t n);
};

/* The start of every kind of source. */
struct bl_source {
    const struct bl_source_ops *ops;
    char *name;    /* for error sentences: a path */
    uint64_t size; /* bytes, when it was opened */
};

/* Open a regular file. Fails with BL_E_IO (also for a directory, a device, a pipe). */
BL_MUST_USE bl_status bl_source_open(bl_source **out, const char *path, struct bl_err *err);

/* Whether there is a regular file that can be opened. */
bool bl_source_exists(const char *path);

/* Borrow n bytes of memory; they must outlive the source. */
BL_MUST_USE bl_status bl_source_memory(bl_source **out, const char *name, const void *bytes,
                                       size_t n, struct bl_err *err);

/* Read exactly n bytes at offset. Fails with BL_E_IO, or BL_E_FORMAT past the end of the source. */
BL_MUST_USE bl_status bl_source_read(bl_source *source, uint64_t offset, void *out, size_t n,
                                     struct bl_err *err);

/* A hint: these bytes will be read soon. What lies past the end is left out. */
void bl_source_prefetch(bl_source *source, uint64_t offset, uint64_t n);

/* The whole source as a NUL-terminated block that the caller frees; at most max_bytes. */
BL_MUST_USE bl_status bl_source_read_all(char **out, size_t *n_bytes, bl_source *source,
                                         uint64_t max_bytes, struct bl_err *err);

void bl_source_close(bl_source *source);

/* A file whole, as bl_source_read_all() gives it. */
BL_MUST_USE bl_status bl_source_read_file(char **out, size_t *n_bytes, const char *path,
                                          uint64_t max_bytes, struct bl_err *err);

#endif
