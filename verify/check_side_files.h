/*
 * check_side_files.h - do the files beside the weights say the same as each other and as the
 * weights?
 *
 * In a folder or a .bln: config.json, generation_config.json, tokenizer.json,
 * tokenizer_config.json, special_tokens_map.json, added_tokens.json, the shard index, and whether
 * every other *.json is JSON. In a .gguf: the tokenizer in its metadata.
 *
 * A contradiction is a fault, unless published checkpoints have it and loaders agree on what it
 * means (students that name another BOS in config.json than in their tokenizer): that is a note.
 */
#ifndef BL_VERIFY_CHECK_SIDE_FILES_H
#define BL_VERIFY_CHECK_SIDE_FILES_H

#include "formats/ckpt/ckpt.h"
#include "verify/check.h"

/*
 * Add what is found to *result. ckpt has a configuration. Fails with BL_E_IO or BL_E_NOMEM.
 */
BL_MUST_USE bl_status bl_check_side_files(bl_check_result *result, const bl_ckpt *ckpt,
                                          struct bl_err *err);

/* The same for the metadata of a GGUF file; other containers have none and pass. */
BL_MUST_USE bl_status bl_check_gguf_tokens(bl_check_result *result, const bl_ckpt *ckpt,
                                           struct bl_err *err);

#endif
