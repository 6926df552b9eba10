/*
 * container.h - what every file format gives upward: a table of stored tensors and their bytes.
 *
 * A safetensors directory, a single .safetensors file, a .bln and a .gguf each implement this.
 * Stored names, types and shapes are those of the file; nothing is interpreted. ckpt.h puts
 * stored tensors together into canonical ones.
 *
 * After open a container does not change: threads may read it at the same time.
 */
#ifndef BL_FORMATS_CONTAINER_H
#define BL_FORMATS_CONTAINER_H

#include "base/err.h"
#include "formats/dtype/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_stored {
    const char *name; /* UTF-8, NUL-terminated, unique in the container; owned by it */
    bl_dtype dtype;
    uint32_t ndim;             /* 0 (scalar) to BL_MAX_DIMS */
    uint64_t dim[BL_MAX_DIMS]; /* elements, outermost first (row-major) */
    uint64_t n_bytes; /* of the decoded (uncompressed) data; equals what shape and type need */
    uint32_t shard;   /* which file of the container it lies in */
    uint64_t offset;  /* byte in that file where its data starts (.bln: first chunk) */
} bl_stored;

typedef struct bl_container bl_container;

struct bl_container_ops {
    /*
     * Read n bytes at byte `offset` of stored tensor i, which has at least offset + n.
     * Thread-safe. The sentence of a failure names file and tensor.
     */
    bl_status (*read)(const bl_container *container, size_t i, uint64_t offset, void *out, size_t n,
                      struct bl_err *err);
    /*
     * A side file (config.json, tokenizer.json ...) as a NUL-terminated block that the caller
     * frees with bl_free(). BL_OK with *out NULL when there is none.
     */
    bl_status (*side_file)(const bl_container *container, const char *name, char **out,
                           size_t *n_bytes, struct bl_err *err);
    void (*close)(bl_container *container);
    /* Begin to read n bytes at byte `offset` of stored tensor i from the disk, and come back. */
    void (*prefetch)(const bl_container *container, size_t i, uint64_t offset, uint64_t n);
    /* Of a folder: the first bytes of a shard, up to where its data begins. NULL: it has none. */
    bl_status (*shard_header)(const bl_container *container, size_t shard, char **out,
                              size_t *n_bytes, struct bl_err *err);
};

/* The start of every kind of container. */
struct bl_container {
    const struct bl_container_ops *ops;
    const char *kind; /* "safetensors", "bln", "gguf" */
    char *path;       /* as opened */
    size_t n_stored;
    const bl_stored *stored;           /* in file order */
    size_t n_shards;                   /* files that hold tensors */
    const char *const *shard_name;     /* plain file names, n_shards of them */
    uint64_t n_file_bytes;             /* all tensor files together */
    size_t n_side_files;               /* files beside the tensors that belong to the checkpoint */
    const char *const *side_file_name; /* plain names, sorted; none for GGUF */
};

BL_MUST_USE bl_status bl_container_read(const bl_container *container, size_t i, uint64_t offset,
                                        void *out, size_t n, struct bl_err *err);
/* A hint: these bytes (cut to the tensor's) will be read soon. */
void bl_container_prefetch(const bl_container *container, size_t i, uint64_t offset, uint64_t n);
/* Index of a stored tensor by name; false when there is none. Linear: for tests and one-off use. */
bool bl_container_find(size_t *out, const bl_container *container, const char *name);
BL_MUST_USE bl_status bl_container_side_file(const bl_container *container, const char *name,
                                             char **out, size_t *n_bytes, struct bl_err *err);
/*
 * The first bytes of a folder's shard, up to where its data begins, as they are: the length word and the
 * header. The caller frees *out with bl_free(). BL_E_UNSUPPORTED where there are no such shards.
 */
BL_MUST_USE bl_status bl_container_shard_header(const bl_container *container, size_t shard,
                                                char **out, size_t *n_bytes, struct bl_err *err);
void bl_container_close(bl_container *container); /* NULL is allowed */

/* Fail with "<file>: tensor '<name>': <sentence>" about stored tensor i. */
bl_status bl_container_fail(struct bl_err *err, bl_status status, const bl_container *container,
                            size_t i, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#endif
