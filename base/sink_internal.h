/*
 * sink_internal.h - an open file and an open folder of output. Internal to sink.c and outdir.c.
 */
#ifndef BL_BASE_SINK_INTERNAL_H
#define BL_BASE_SINK_INTERNAL_H

#include "base/keep.h"
#include "base/publish.h"
#include "base/sink.h"

enum { BL_SINK_BUFFER_BYTES = 1 << 20 };

struct bl_sink {
    bl_publish publish;    /* inside a folder: only the names, and what was created */
    bl_outdir *outdir;     /* the folder whose rename publishes the file, or NULL */
    const char *name;      /* in the folder; "" for a lone file */
    int fd;                /* -1 once closed */
    struct bl_err failure; /* the first write that failed; status BL_OK = none */
    uint64_t flushed;      /* bytes handed to the kernel */
    bl_keep *keep;         /* NULL: nothing is kept; the folder's, where there is one */
    uint64_t verified;     /* bytes that an earlier run wrote: compared, not written again */
    uint64_t loose;        /* bytes at the start that do not count for what is kept */
    uint64_t started;      /* bytes that the disk was asked to begin with */
    uint64_t noted;        /* bytes that records speak of */
    bl_hasher *hasher;     /* of those behind them */
    size_t buffered;
    unsigned char buffer[BL_SINK_BUFFER_BYTES];
};

struct bl_outdir {
    bl_publish publish;
    int fd;        /* of the partial folder: held open, so that its inode is not used again */
    size_t n_open; /* files not yet committed or aborted */
    bl_keep *keep; /* NULL: nothing is kept */
};

/* Open the file under its partial name: anew, or with what is verified of it. */
BL_MUST_USE bl_status bl_sink_open_partial(bl_sink *sink, struct bl_err *err);

/* Let one run at a time write; BL_E_USAGE when another does. */
BL_MUST_USE bl_status bl_sink_lock(int fd, const char *path, struct bl_err *err);

#endif
