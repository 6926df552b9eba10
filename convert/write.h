/*
 * write.h - run a plan into a file or folder: header, pipeline, side files, all or nothing.
 */
#ifndef BL_CONVERT_WRITE_H
#define BL_CONVERT_WRITE_H

#include "base/err.h"
#include "convert/job.h"
#include "convert/sanity.h"
#include "formats/ckpt/ckpt.h"
#include "formats/gguf/gguf_metadata.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct bl_write_options {
    bool force;
    bool resume;      /* go on from what an unfinished run of the same left */
    const char *more; /* what decides the bytes besides source and plan: text, for resuming; NULL */
    double *resumed;  /* set to the share that was there, 0 to 1; may be NULL */
    bool skip_space_check;
    bool strict;       /* fail, before the output has its name, when sanity has found anything */
    bl_sanity *sanity; /* of the checkpoint's tensors, told of what passes; may be NULL */
    bool show_progress;
    int n_threads;
    const char *label;   /* of the progress line */
    uint64_t split_size; /* .gguf: at most so many bytes of tensors in a file; 0: one file */
    uint64_t shard_size; /* folders: data bytes of a shard; 0: one file */
    const char *requantized_from; /* what lossy types the source had, for the output to say; NULL */
} bl_write_options;

/* What a folder says of its weights. */
typedef struct bl_folder_text {
    const char *quantization; /* quantization_config, JSON text; NULL: none */
    bool keeps_quantization;  /* that of the source stays instead */
    const char *torch_dtype;  /* of the model: "bfloat16"; NULL: as the source says */
    bool copies;              /* files that describe the source's encoding are copied too */
    bool drops_mtp;           /* config.json says that there are no MTP layers */
    const char *side_name, *side_text; /* one more side file; NULL: none */
} bl_folder_text;

/* The member of config.json, and with "baleen." before it the GGUF key, that says so. */
#define BL_REQUANTIZED_FROM "requantized_from"

/* A GGUF file with the metadata of the checkpoint's configuration and tokenizer. */
BL_MUST_USE bl_status bl_write_gguf(const char *path, const bl_ckpt *ckpt, const bl_plan *plan,
                                    bl_gguf_file_type file_type, const bl_write_options *options,
                                    struct bl_err *err);

/* Bytes of the file that bl_write_gguf() makes of this plan: header, metadata and padding too. */
BL_MUST_USE bl_status bl_write_gguf_bytes(uint64_t *out, const bl_ckpt *ckpt, const bl_plan *plan,
                                          bl_gguf_file_type file_type, struct bl_err *err);

/* A GGUF file with the metadata of the GGUF file that ckpt is: for a plan of bl_plan_recast(). */
BL_MUST_USE bl_status bl_write_gguf_recast(const char *path, const bl_ckpt *ckpt,
                                           const bl_plan *plan, bl_gguf_file_type file_type,
                                           const bl_write_options *options, struct bl_err *err);

/*
 * A Hugging Face folder. config.json is the source's with quantization_config and torch_dtype as the
 * text has them; the other side files are copied, but for those that describe the source's own
 * encoding.
 */
BL_MUST_USE bl_status bl_write_folder(const char *path, const bl_ckpt *ckpt, const bl_plan *plan,
                                      const bl_folder_text *text, const bl_write_options *options,
                                      struct bl_err *err);

#endif
