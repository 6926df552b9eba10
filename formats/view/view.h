/*
 * view.h - the layout changes between a Hugging Face checkpoint and GGUF, once, both directions.
 *
 * A matrix is something whose rows can be read as F32 (bl_rows). A view reads rows of the matrix
 * on one side from matrices on the other side; nothing larger than the rows asked for, or one
 * attention head, is in memory. Shapes are outermost first.
 */
#ifndef BL_FORMATS_VIEW_H
#define BL_FORMATS_VIEW_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct bl_rows {
    /* Rows [row, row + n_rows) to out[n_rows][n_cols]. Thread-safe. */
    bl_status (*read)(const void *context, const void *tensor, uint64_t row, uint64_t n_rows,
                      float *out, struct bl_err *err);
    const void *context, *tensor;
    uint64_t n_cols;
} bl_rows;

/*
 * The up-projection of multi-head latent attention. Hugging Face keeps one matrix
 *     kv_b [n_heads * (nope + v)][lora]: of each head first the k rows, then the v rows
 * GGUF keeps two, the first transposed for the absorbed form:
 *     k_b [n_heads][lora][nope]      v_b [n_heads][v][lora]
 */
typedef struct bl_kv_b {
    uint64_t nope, v, lora;
} bl_kv_b;

BL_MUST_USE bl_status bl_view_k_b(const bl_rows *kv_b, bl_kv_b shape, uint64_t row, uint64_t n_rows,
                                  float *out, struct bl_err *err);
BL_MUST_USE bl_status bl_view_v_b(const bl_rows *kv_b, bl_kv_b shape, uint64_t row, uint64_t n_rows,
                                  float *out, struct bl_err *err);
BL_MUST_USE bl_status bl_view_kv_b(const bl_rows *k_b, const bl_rows *v_b, bl_kv_b shape,
                                   uint64_t row, uint64_t n_rows, float *out, struct bl_err *err);

/*
 * Rotary pairs of each head: Hugging Face stores the halves one after the other (2, head_dim / 2),
 * GGUF interleaves them (head_dim / 2, 2). to_gguf chooses the direction: true reads GGUF rows
 * from the Hugging Face matrix.
 */
BL_MUST_USE bl_status bl_view_rope_pairs(const bl_rows *from, uint64_t head_dim, bool to_gguf,
                                         uint64_t row, uint64_t n_rows, float *out,
                                         struct bl_err *err);

/* The same for a bias: `from` has one row, whose n_cols values change places. */
BL_MUST_USE bl_status bl_view_rope_pairs_of_bias(const bl_rows *from, uint64_t head_dim,
                                                 bool to_gguf, float *out, struct bl_err *err);

#endif
