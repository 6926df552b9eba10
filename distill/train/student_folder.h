/*
 * student_folder.h - a student as a Hugging Face folder: its weights in BF16 or F32, the configuration and
 * the tokenizer's files of the checkpoint that it began as, and files of its own.
 *
 * config.json keeps every byte but the type of the weights and, where the source was quantized, the member
 * that said so. What described the source's weights, and its README.md, is left out.
 */
#ifndef BL_DISTILL_STUDENT_FOLDER_H
#define BL_DISTILL_STUDENT_FOLDER_H

#include "base/err.h"
#include "distill/train/student.h"
#include "formats/ckpt/ckpt.h"

#include <stdbool.h>
#include <stddef.h>

/* A file of the folder. */
typedef struct bl_side_text {
    const char *name, *bytes;
    size_t n;
} bl_side_text;

typedef struct bl_student_folder {
    const bl_ckpt *source;
    bl_parameter *const *parameter;
    size_t n_parameters;
    bool f32; /* else BF16, rounded to nearest */
    const bl_side_text *side;
    size_t n_side;
    uint64_t shard_size; /* 0: one file */
} bl_student_folder;

/* BL_E_UNSUPPORTED when the source has no config.json (GGUF); else as bl_hf_writer does. */
BL_MUST_USE bl_status bl_student_folder_write(const char *path, bool force,
                                              const bl_student_folder *folder, struct bl_err *err);

/* Whether a folder can be written from it: before much is computed. */
BL_MUST_USE bl_status bl_student_folder_check(const bl_ckpt *source, struct bl_err *err);

#endif
