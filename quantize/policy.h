/*
 * policy.h - which tensor gets which encoding.
 *
 * Norms, biases and the router are never quantized. In GGUF they are F32, as llama.cpp expects;
 * in a folder they keep their type.
 */
#ifndef BL_QUANTIZE_POLICY_H
#define BL_QUANTIZE_POLICY_H

#include "base/err.h"
#include "base/text.h"
#include "convert/plan.h"
#include "formats/gguf/gguf_metadata.h"
#include "quantize/quant.h"

/* A --type that users name. */
typedef struct bl_quantize_type {
    const char *name; /* "q4_0" */
    bool to_folder;   /* a Hugging Face folder, else GGUF */
    bl_dtype dtype;   /* of matrices; BL_I32: packed int4 */
    bl_dtype head;    /* of the output head: the most sensitive matrix */
    bl_gguf_file_type file_type;
} bl_quantize_type;

/* What decides: the context of bl_policy_choose(). */
typedef struct bl_policy {
    const bl_quantize_type *type;
    bl_method method;
} bl_policy;

const bl_quantize_type *bl_quantize_type_by_name(const char *name); /* NULL: unknown */

/* A bl_choose_fn with a bl_policy as context. */
const bl_encoder *bl_policy_choose(const void *policy, const bl_choice *choice);

/*
 * quantization_config of a compressed-tensors folder (format pack-quantized) for a plan made with
 * bl_policy_choose: JSON text. What the plan leaves unquantized stands in "ignore", by pattern.
 */
BL_MUST_USE bl_status bl_policy_quantization_config(bl_text *out, const bl_config *config,
                                                    struct bl_err *err);

#endif
