/*
 * gguf_metadata.h - a configuration and a tokenizer as GGUF metadata, and both back.
 *
 * Keys, their exact types, and the quirks of llama.cpp's loader: see docs/format-gguf.md.
 */
#ifndef BL_FORMATS_GGUF_METADATA_H
#define BL_FORMATS_GGUF_METADATA_H

#include "base/arena.h"
#include "base/err.h"
#include "formats/arch/config.h"
#include "formats/ckpt/container.h"
#include "formats/gguf/gguf_writer.h"
#include "formats/tokenizer/tokenizer_file.h"

/* llama.cpp's numbers for "most tensors are of this type" (general.file_type). */
typedef enum bl_gguf_file_type {
    BL_GGUF_FILE_SAME = -1, /* for bl_gguf_put_metadata_of(): as the other file says, if it does */
    BL_GGUF_FILE_F32 = 0,
    BL_GGUF_FILE_F16 = 1,
    BL_GGUF_FILE_Q4_0 = 2,
    BL_GGUF_FILE_Q4_1 = 3,
    BL_GGUF_FILE_Q8_0 = 7,
    BL_GGUF_FILE_Q5_0 = 8,
    BL_GGUF_FILE_Q5_1 = 9,
    BL_GGUF_FILE_Q2_K = 10,
    BL_GGUF_FILE_Q3_K_S = 11,
    BL_GGUF_FILE_Q3_K_M = 12,
    BL_GGUF_FILE_Q3_K_L = 13,
    BL_GGUF_FILE_Q4_K_S = 14,
    BL_GGUF_FILE_Q4_K_M = 15,
    BL_GGUF_FILE_Q5_K_S = 16,
    BL_GGUF_FILE_Q5_K_M = 17,
    BL_GGUF_FILE_Q6_K = 18,
    BL_GGUF_FILE_IQ4_NL = 25,
    BL_GGUF_FILE_IQ4_XS = 30,
    BL_GGUF_FILE_BF16 = 32,
    BL_GGUF_FILE_MXFP4 = 38
} bl_gguf_file_type;

/* llama.cpp's kinds of tokens (tokenizer.ggml.token_type). */
typedef enum bl_gguf_token_type {
    BL_GGUF_TOKEN_UNDEFINED = 0,
    BL_GGUF_TOKEN_NORMAL = 1,
    BL_GGUF_TOKEN_UNKNOWN = 2,
    BL_GGUF_TOKEN_CONTROL = 3,
    BL_GGUF_TOKEN_USER_DEFINED = 4,
    BL_GGUF_TOKEN_UNUSED = 5,
    BL_GGUF_TOKEN_BYTE = 6
} bl_gguf_token_type;

/*
 * general.* and <architecture>.*. Fails with BL_E_UNSUPPORTED where GGUF cannot say what the
 * configuration says. Failures of the puts are reported by bl_gguf_writer_begin().
 */
BL_MUST_USE bl_status bl_gguf_put_config(bl_gguf_writer *w, const bl_config *config,
                                         bl_gguf_file_type file_type, bool keeps_mtp,
                                         struct bl_err *err);

/*
 * tokenizer.*: tokens up to vocab_size (ids that no token has are [PAD<id>]), their types, merges,
 * special ids, chat template. Fails with BL_E_UNSUPPORTED when llama.cpp has no name for the split
 * expressions.
 */
BL_MUST_USE bl_status bl_gguf_put_tokenizer(bl_gguf_writer *w, const bl_tokenizer_file *tokenizer,
                                            const bl_config *config, struct bl_err *err);

/*
 * All metadata of another file, in its order, with the two keys of a quantization adjusted: what is
 * written has file_type.
 */
void bl_gguf_put_metadata_of(bl_gguf_writer *w, const bl_container *gguf,
                             bl_gguf_file_type file_type);

/*
 * The configuration that a file's metadata describe; what it points to lies in the arena.
 * BL_E_UNSUPPORTED for an architecture that no table describes, BL_E_FORMAT for a key that is missing, of the wrong type or absurd.
 */
BL_MUST_USE bl_status bl_gguf_read_config(bl_config *out, bl_arena *arena, const bl_container *gguf,
                                          struct bl_err *err);

/*
 * The tokenizer in a file's metadata, whether or not it has tensors; the caller frees it. Ids are
 * those of llama.cpp on the same file, but for a few texts (docs/tokenizer.md). BL_E_UNSUPPORTED when
 * there is none, when it is no byte-level BPE, or for split expressions that no table describes;
 * BL_E_FORMAT for a key that is missing, of the wrong type, or contradicts another.
 */
BL_MUST_USE bl_status bl_gguf_read_tokenizer(bl_tokenizer_file **out, const bl_container *gguf,
                                             struct bl_err *err);

#endif
