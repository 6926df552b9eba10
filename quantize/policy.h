/*
 * policy.h - which tensor of a GGUF file gets which encoding (folders: layout.h).
 *
 * Norms, biases and the router are never quantized: they are F32, as llama.cpp expects.
 */
#ifndef BL_QUANTIZE_POLICY_H
#define BL_QUANTIZE_POLICY_H

#include "convert/plan.h"
#include "formats/gguf/gguf_metadata.h"
#include "quantize/quant.h"

/* A --type that users name. */
typedef struct bl_quantize_type {
    const char *name; /* "q4_0" */
    bl_dtype dtype;   /* of matrices */
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

#endif
