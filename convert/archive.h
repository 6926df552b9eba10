/*
 * archive.h - a Hugging Face directory as one .bln file, and the directory again: every shard and
 * every side file byte for byte.
 *
 * Nothing is chosen and nothing is rounded. Both directions make one pass over the data: chunks flow
 * (base/flow.h), read and coded side by side, a bounded number at a time, written in order. The
 * bytes of a .bln are the same at any number of threads.
 *
 * SHA-256 of source files are a stage of their own before it, each file read once more.
 *
 * Memory: for each thread BL_ARCHIVE_SLOTS chunks of 1 MiB, twice, and a coder (1 MiB; 9 MiB while
 * text is coded); the index (formats/bln/bln_writer.h); and the largest side file or header.
 */
#ifndef BL_CONVERT_ARCHIVE_H
#define BL_CONVERT_ARCHIVE_H

#include "base/err.h"
#include "base/progress.h"
#include "convert/sanity.h"
#include "formats/bln/bln_codec.h"
#include "formats/ckpt/container.h"

#include <stdbool.h>

enum { BL_ARCHIVE_SLOTS = 6 };

typedef struct bl_archive_options {
    int n_threads;   /* at least 1 */
    bool force;      /* replace what is there */
    bool resume;     /* go on from what an unfinished run of the same left */
    double *resumed; /* set to the share that was there, 0 to 1; may be NULL */
    bool skip_space_check;
    bool strict;       /* fail, before the output has its name, when sanity has found anything */
    bl_sanity *sanity; /* store: of the container's tensors; NULL: a NaN is an error */
    const char *more; /* what decides the bytes besides the source's, for resuming; NULL: nothing */
    bl_bln_style style;     /* which codecs a .bln may have */
    uint64_t split_size;    /* store: payload in files of at most so many bytes; 0: one file */
    bool sha256;            /* store: keep the SHA-256 of every source file */
    double *sha256_seconds; /* set to what that took; may be NULL */
    bl_progress *progress;  /* counts bl_archive_bytes(); may be NULL */
} bl_archive_options;

/* Decoded bytes of all tensors. */
uint64_t bl_archive_bytes(const bl_container *container);

/*
 * Write the container that bl_hf_open() gave to a .bln file. A tensor whose bytes an earlier one
 * has already is stored once. A value that is not finite is a finding, or BL_E_FORMAT without sanity;
 * the disk must have room for what a sample of the data predicts.
 */
BL_MUST_USE bl_status bl_archive_store(const bl_container *hf, const char *path,
                                       const bl_archive_options *options, struct bl_err *err);

/*
 * Bytes that the archive will have, from samples; a few percent too many; and the seconds that reading
 * and coding took them, projected. Options: threads, style.
 */
BL_MUST_USE bl_status bl_archive_estimate(uint64_t *n_bytes, double *seconds,
                                          const bl_container *hf, const bl_archive_options *options,
                                          struct bl_err *err);

/* Bytes that either direction needs at most, beside the table of the container. */
uint64_t bl_archive_memory(const bl_container *container, int n_threads);

/* Bytes of the files that a .bln was made from. */
uint64_t bl_archive_restored_bytes(const bl_container *bln);

/* Write the files that a .bln was made from to a new folder. BL_E_MISMATCH when it is damaged. */
BL_MUST_USE bl_status bl_archive_restore(const bl_container *bln, const char *folder,
                                         const bl_archive_options *options, struct bl_err *err);

#endif
