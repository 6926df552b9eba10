/*
 * tokenizer_write.h - the tables of a tokenizer as the tokenizer.json and tokenizer_config.json of a
 * Hugging Face folder: for checkpoints that have none, as GGUF files.
 *
 * What comes out gives the ids that these tables give; it is not the file that the publisher has (a
 * GGUF file does not keep normal forms, nor the order of everything).
 */
#ifndef BL_FORMATS_TOKENIZER_WRITE_H
#define BL_FORMATS_TOKENIZER_WRITE_H

#include "base/err.h"
#include "base/text.h"
#include "formats/tokenizer/tokenizer_file.h"

/* Append tokenizer.json. BOS is put in front by a template where add_bos says so. */
BL_MUST_USE bl_status bl_tokenizer_write_json(bl_text *out, const bl_tokenizer_file *file,
                                              struct bl_err *err);

/* Append tokenizer_config.json. model_max_length: of the network. */
BL_MUST_USE bl_status bl_tokenizer_write_config(bl_text *out, const bl_tokenizer_file *file,
                                                uint64_t model_max_length, struct bl_err *err);

#endif
