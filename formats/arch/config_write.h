/*
 * config_write.h - a network's shape as the config.json that transformers and this program read: for
 * checkpoints that have none, as GGUF files.
 */
#ifndef BL_FORMATS_CONFIG_WRITE_H
#define BL_FORMATS_CONFIG_WRITE_H

#include "base/err.h"
#include "base/text.h"
#include "formats/arch/config.h"

/*
 * Append the text. torch_dtype: "bfloat16" ...; quantization is left out. Numbers that came from F32 are
 * written as the shortest decimals that give the same F32. BL_E_UNSUPPORTED for rotary divisors that no
 * llama3 scaling gives: config.json has no other word for them.
 */
BL_MUST_USE bl_status bl_config_write(bl_text *out, const bl_config *config,
                                      const char *torch_dtype, struct bl_err *err);

/* generation_config.json: the special ids. */
BL_MUST_USE bl_status bl_generation_config_write(bl_text *out, const bl_config *config,
                                                 struct bl_err *err);

#endif
