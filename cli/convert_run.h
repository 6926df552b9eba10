/*
 * convert_run.h - what convert does for each kind of output: a file of its own for each.
 */
#ifndef BL_CLI_CONVERT_RUN_H
#define BL_CLI_CONVERT_RUN_H

#include "cli/cli.h"
#include "convert/write.h"
#include "formats/ckpt/ckpt.h"

#define BL_NO_SHARD_SIZE UINT64_MAX

typedef struct bl_convert_options {
    const bl_command *command;
    bl_common common;
    const char *output, *dtype; /* dtype: as given, NULL without */
    uint64_t shard_size;        /* BL_NO_SHARD_SIZE: not given */
    uint64_t memory;            /* that may be used; 0: as much as the threads need */
    uint64_t split_size;        /* of .gguf files; 0: one */
    const char *mtp;            /* "keep", "drop"; NULL: as the output has it */
    bool sha256;                /* a .bln keeps the SHA-256 of the source files */
    const char *codec;          /* of a .bln: "zstd" or "zlib" */
    const char *more; /* what decides the bytes besides the checkpoint's, for --resume; or NULL */
} bl_convert_options;

/* Write the checkpoint to o->output, whose name says what it becomes. */
BL_MUST_USE bl_status bl_convert_run(const bl_convert_options *o, const bl_ckpt *ckpt,
                                     struct bl_err *err);

uint64_t bl_convert_shard_size(const bl_convert_options *o); /* or the default */

/* resumed: where to say which share of the output was there; sanity: told of what passes. */
bl_write_options bl_convert_write_options(const bl_convert_options *o, double *resumed,
                                          bl_sanity *sanity);

/* Into x.gguf: every tensor cast, or kept in its type. */
BL_MUST_USE bl_status bl_convert_to_gguf(const bl_convert_options *o, const bl_ckpt *ckpt,
                                         struct bl_err *err);

/* Into a Hugging Face folder: every tensor cast. */
BL_MUST_USE bl_status bl_convert_to_folder(const bl_convert_options *o, const bl_ckpt *ckpt,
                                           struct bl_err *err);

/* Folder to .bln (store), or .bln to the folder that it was made from. */
BL_MUST_USE bl_status bl_convert_archive(const bl_convert_options *o, const bl_ckpt *ckpt,
                                         bool store, struct bl_err *err);

#endif
