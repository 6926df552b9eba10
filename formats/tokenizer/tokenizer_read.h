/*
 * tokenizer_read.h - the parts of the tokenizer reader; private to formats/tokenizer.
 */
#ifndef BL_FORMATS_TOKENIZER_READ_H
#define BL_FORMATS_TOKENIZER_READ_H

#include "formats/json/json.h"
#include "formats/tokenizer/tokenizer_build.h"
#include "formats/tokenizer/tokenizer_file.h"

/* tokenizer_vocab.c: "model" and "added_tokens". */
BL_MUST_USE bl_status bl_tokenizer_read_vocab(bl_tokenizer_builder *b, const bl_json_value *root,
                                              struct bl_err *err);

/* tokenizer_pipeline.c: "normalizer", "pre_tokenizer", "decoder", "post_processor". */
BL_MUST_USE bl_status bl_tokenizer_read_pipeline(bl_tokenizer_file *file, const bl_map *id_of,
                                                 const bl_json_value *root, struct bl_err *err);

/* tokenizer_config.c. root: NULL when there is no such file. */
BL_MUST_USE bl_status bl_tokenizer_read_config(bl_tokenizer_file *file, const bl_map *id_of,
                                               const bl_json_value *root, struct bl_err *err);

/* tokenizer_pre.c: whether tokenizers with these split expressions put BOS in front by themselves. */
bool bl_tokenizer_adds_bos(const bl_tokenizer_file *file);

/* The "type" of a component, "" when it has none; NULL when value is absent or null. */
const char *bl_tokenizer_type_of(const bl_json_value *value);

/* A member that must be true, false, or (absent) the fallback; anything else is BL_E_FORMAT. */
BL_MUST_USE bl_status bl_tokenizer_flag(bool *out, const bl_tokenizer_file *file,
                                        const bl_json_value *object, const char *key, bool fallback,
                                        struct bl_err *err);

#endif
