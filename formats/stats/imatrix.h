/*
 * imatrix.h - llama.cpp's importance matrix (GGUF, general.type "imatrix"): for each weight W that
 * meets an activation two F32 tensors,
 *     W.in_sum2  [n_mat][n_in]   sums of squares; of attn_k_b and attn_v_b one row, heads * n_in
 *     W.counts   [n_mat][1]      tokens behind each row; n_mat: experts, or 1
 * Source: tools/imatrix of llama.cpp, which writes it (format by facts, docs/format-stats.md).
 */
#ifndef BL_FORMATS_IMATRIX_H
#define BL_FORMATS_IMATRIX_H

#include "formats/stats/stats.h"

/*
 * Write statistics as an imatrix at path. What it cannot say (saliency, angles, who made it) is left
 * out; where attn_v_b's own input is not known it gets the key latent's, for every head. Memory: a
 * site of a layer.
 */
BL_MUST_USE bl_status bl_imatrix_write(const char *path, bool force, const bl_stats *stats,
                                       struct bl_err *err);

#endif
