/*
 * read_text.h - a text file as the token ids that a model sees.
 */
#ifndef BL_CLI_READ_TEXT_H
#define BL_CLI_READ_TEXT_H

#include "base/hash.h"
#include "formats/ckpt/ckpt.h"
#include "model/tokenizer/tokenizer.h"

/* Zero-initialise; released in any case. */
typedef struct bl_cli_text {
    bl_tokens tokens;
    bl_hash128 hash; /* of the file's bytes */
    int64_t bos;     /* what sequences begin with, or -1 */
} bl_cli_text;

/* By this tokenizer, BOS in front where it adds one. Errors name the file. */
BL_MUST_USE bl_status bl_cli_tokenize_file(bl_cli_text *out, const bl_tokenizer *tokenizer,
                                           const bl_tokenizer_file *file, const char *path,
                                           struct bl_err *err);
/* By the model's own tokenizer. */
BL_MUST_USE bl_status bl_cli_read_text(bl_cli_text *out, const bl_ckpt *ckpt, const char *path,
                                       struct bl_err *err);
void bl_cli_text_release(bl_cli_text *text);

#endif
