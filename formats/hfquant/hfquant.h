/*
 * hfquant.h - canonical tensors that lie in parts under Hugging Face names.
 *
 *   plain         X.weight (any type)
 *   FP8 blocks    X.weight F8_E4M3 [N,K], X.weight_scale_inv F32 or F8_E8M0 [ceil(N/bn), ceil(K/bk)]
 *   int4          X.weight_packed I32 [N,K/8], X.weight_scale BF16|F16|F32 [N,K/g],
 *                 X.weight_shape I64|I32 [2] = {N,K}; asymmetric: X.weight_zero_point I32
 *                 [ceil(N/8),K/g]; activation order: X.weight_g_idx I32 [K]
 *                 (compressed-tensors pack-quantized)
 *   int8          X.weight I8 [N,K], X.weight_scale BF16|F16|F32 [N,1] (compressed-tensors
 *                 int-quantized; Ascend W8A8_DYNAMIC has X.weight_offset [N,1], zeros, besides)
 *   GPTQ          X.qweight I32 [K/8,N], X.qzeros I32 [K/g,N/8], X.scales BF16|F16|F32 [K/g,N],
 *                 X.g_idx I32 [K]
 *   AWQ           X.qweight I32 [K,N/8], X.qzeros I32 [K/g,N/8], X.scales BF16|F16|F32 [K/g,N]
 *
 * Parts may lie in different shards. Which of these a directory uses is told by the configuration,
 * or by quant_model_description.json (Ascend); without a configuration, every stored tensor is its
 * own canonical tensor. GPTQ and AWQ lie transposed: their canonical tensor is X.weight [N,K].
 */
#ifndef BL_FORMATS_HFQUANT_H
#define BL_FORMATS_HFQUANT_H

#include "base/arena.h"
#include "formats/arch/config.h"
#include "formats/ckpt/container.h"
#include "formats/view/view.h"

#define BL_ASCEND_DESCRIPTION "quant_model_description.json"

typedef enum bl_coding {
    BL_CODING_PLAIN,
    BL_CODING_FP8_BLOCK,
    BL_CODING_INT4_GROUP,
    BL_CODING_INT8_ROW,
    BL_CODING_GPTQ,
    BL_CODING_AWQ
} bl_coding;

#define BL_NO_PART SIZE_MAX

typedef struct bl_parts {
    const char *name;      /* canonical */
    const char *type_name; /* for people */
    bl_coding coding;
    size_t values; /* stored tensor that holds the values or codes */
    size_t scales; /* ... the scales, when there is one; plain: the values */
    size_t zeros;  /* ... the zero points or offsets; BL_NO_PART: none */
    size_t order;  /* ... the group of each column; BL_NO_PART: column / group size */
    bl_dtype dtype;
    uint32_t ndim;
    uint64_t dim[BL_MAX_DIMS];       /* of the decoded tensor, outermost first */
    uint32_t block_rows, block_cols; /* that share a scale; int4: 1 x group size; int8: 1 x K */
    bool zero_minus_one;             /* stored zero points are one less than they stand for */
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
 * Rows that one reading should take at least, where parts lie transposed: each reading walks over
 * the whole tensor. 1 for all others.
 */
uint64_t bl_hfquant_row_unit(const bl_parts *parts);

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
