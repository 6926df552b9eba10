/*
 * hfquant.h - canonical tensors that lie in parts under Hugging Face names.
 *
 *   plain          X.weight (any type)
 *   FP8 blocks     X.weight F8_E4M3 [N,K], X.weight_scale_inv F32 [ceil(N/bn), ceil(K/bk)]
 *   packed int4    X.weight_packed I32 [N,K/8], X.weight_scale BF16|F16|F32 [N,K/g],
 *                  X.weight_shape I64 [2] = {N,K}  (compressed-tensors pack-quantized, symmetric)
 *
 * Parts may lie in different shards. Which of these a directory uses is told by the configuration;
 * without one, every stored tensor is its own canonical tensor.
 */
#ifndef BL_FORMATS_HFQUANT_H
#define BL_FORMATS_HFQUANT_H

#include "base/arena.h"
#include "formats/arch/config.h"
#include "formats/ckpt/container.h"
#include "formats/view/view.h"

typedef enum bl_coding { BL_CODING_PLAIN, BL_CODING_FP8_BLOCK, BL_CODING_INT4_GROUP } bl_coding;

typedef struct bl_parts {
    const char *name;      /* canonical */
    const char *type_name; /* for people */
    bl_coding coding;
    size_t values; /* stored tensor that holds the values or codes */
    size_t scales; /* stored tensor of the scales, when there is one */
    bl_dtype dtype;
    uint32_t ndim;
    uint64_t dim[BL_MAX_DIMS];       /* of the decoded tensor, outermost first */
    uint32_t block_rows, block_cols; /* that share a scale; int4: 1 x group size */
    uint64_t n_bytes;                /* all parts */
} bl_parts;

/*
 * Group the stored tensors of a container, in file order. *out lies in the arena. Fails with
 * BL_E_FORMAT when a part is missing or has the wrong type or shape, naming it.
 */
BL_MUST_USE bl_status bl_hfquant_group(bl_parts **out, size_t *n_parts, bl_arena *arena,
                                       const bl_container *container, const bl_config *config,
                                       struct bl_err *err);

/*
 * Decode rows [row, row + n_rows) of n_cols values (the last dimension) to out. Thread-safe.
 * A scale or value that is not finite is BL_E_FORMAT.
 */
BL_MUST_USE bl_status bl_hfquant_read_rows(const bl_container *container, const bl_parts *parts,
                                           uint64_t row, uint64_t n_rows, float *out,
                                           struct bl_err *err);

/* Stored tensor i, whose values are plain, as a matrix. Borrows the container. */
bl_rows bl_hfquant_stored_rows(const bl_container *container, size_t i);

#endif
