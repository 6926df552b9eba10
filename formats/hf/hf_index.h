/*
 * hf_index.h - model.safetensors.index.json: which tensor lies in which shard.
 *
 * {"metadata": {...}, "weight_map": {tensor name: file name}}; metadata is optional and not
 * interpreted. A shard is named by a plain file name: an index cannot point out of its folder.
 */
#ifndef BL_FORMATS_HF_INDEX_H
#define BL_FORMATS_HF_INDEX_H

#include "base/arena.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define BL_HF_INDEX_NAME  "model.safetensors.index.json"
#define BL_HF_SINGLE_NAME "model.safetensors"

typedef struct bl_hf_index {
    size_t n_tensors;               /* at least one */
    const char *const *tensor_name; /* in the order of the file */
    const uint32_t *tensor_shard;   /* index into shard_name */
    size_t n_shards;
    const char *const *shard_name; /* sorted by byte value */
    bl_arena arena;                /* holds all of the above */
} bl_hf_index;

/*
 * Read the text of an index (name: for sentences). *out is set on success only; release it with
 * bl_hf_index_release(). Fails with BL_E_FORMAT or BL_E_NOMEM.
 */
BL_MUST_USE bl_status bl_hf_index_parse(bl_hf_index *out, const char *name, const char *text,
                                        size_t n, struct bl_err *err);
void bl_hf_index_release(bl_hf_index *index); /* zeroed is allowed */

/* What is wrong with a shard's name, for "'x' ...": NULL when nothing is. */
const char *bl_hf_shard_name_fault(const char *name);

#endif
