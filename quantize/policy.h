/*
 * policy.h - which tensor of a GGUF file gets which encoding (folders: layout.h): what the user gave
 * a type by name, then what the recipe says.
 *
 * Norms, biases and the router are never quantized: they are F32, as llama.cpp expects.
 */
#ifndef BL_QUANTIZE_POLICY_H
#define BL_QUANTIZE_POLICY_H

#include "convert/plan.h"
#include "formats/gguf/gguf_metadata.h"
#include "quantize/pattern.h"
#include "quantize/quant.h"
#include "quantize/recipe.h"

/* What decides: the context of bl_policy_choose(). */
typedef struct bl_policy {
    const bl_recipe *recipe;
    const bl_config *config;
    const bl_tensor_rules *rules; /* may be NULL */
    bool has_importance;          /* recipes do without a precaution where columns are weighted */
    bl_method method;
} bl_policy;

/* A bl_choose_fn with a bl_policy as context. */
const bl_encoder *bl_policy_choose(const void *policy, const bl_choice *choice);

/* general.file_type of a plan whose types no recipe chose: the one with the most bytes. */
bl_gguf_file_type bl_policy_file_type(const bl_plan *plan);

#endif
