/*
 * recipe.h - named mixes of types: "q4_k_m" and its like, as tables of (kind of tensor, kind of
 * layer) -> type.
 *
 * The mixes that llama-quantize has give every tensor the type that it gives (checked against it,
 * tests/oracle/make_recipe_types.py); dq3_k_m is the 3-bit mix of arXiv 2505.02390, table 1. Norms,
 * biases and the router are never quantized. A row that does not divide into the blocks of its type
 * takes a type of 32 instead: Q4_K Q5_0, Q5_K Q5_1, Q6_K Q8_0, Q2_K and Q3_K Q4_0, IQ4_XS IQ4_NL;
 * where that does not divide either, F16.
 *
 * A recipe names types; which encoder makes one is another question (quantize/policy.h).
 */
#ifndef BL_QUANTIZE_RECIPE_H
#define BL_QUANTIZE_RECIPE_H

#include "convert/plan.h"
#include "formats/gguf/gguf_metadata.h"

typedef struct bl_recipe {
    const char *name; /* "q4_k_m" */
    bl_dtype base;    /* of what no rule speaks of */
    bl_gguf_file_type file_type;
} bl_recipe;

const bl_recipe *bl_recipe_by_name(const char *name); /* NULL: unknown */

/* All of them, for sentences and tests; NULL past the last. */
const bl_recipe *bl_recipe_at(size_t i);

/*
 * The type of one tensor of a GGUF plan (choice->name is its GGUF name). has_importance: whether
 * column importances are known; three recipes do without a precaution then.
 */
bl_dtype bl_recipe_type(const bl_recipe *recipe, const bl_config *config, bool has_importance,
                        const bl_choice *choice);

/* Whether the tensor may be quantized at all: a matrix, and neither norm nor router. */
bool bl_recipe_may_quantize(const bl_choice *choice);

/* What rows of n_cols values take in the place of `type`: the type itself where it divides. */
bl_dtype bl_recipe_fallback(bl_dtype type, uint64_t n_cols);

#endif
