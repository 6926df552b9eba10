/*
 * slab.h - a weight matrix in slabs of decoded rows, so that no matrix is ever whole in memory.
 *
 * Where slabs begin depends on the tensor alone, never on the number of threads.
 */
#ifndef BL_MODEL_SLAB_H
#define BL_MODEL_SLAB_H

#include "model/weights.h"

/*
 * Bytes of one slab of F32 rows (more only when one row is longer). Not above 32 MiB: malloc then
 * keeps the block between slabs instead of mapping fresh pages each time.
 */
enum { BL_SLAB_BYTES = 16 << 20 };

/* Rows of a slab: whole row units where they fit. At least 1. */
uint64_t bl_slab_rows(const bl_tensor *tensor);

/* Rows that one thread decodes at a time: whole row units, about 1 MiB. */
uint64_t bl_slab_piece_rows(const bl_tensor *tensor);

/* Where the slab that begins at row ends, for a reader of rows up to `end`. */
uint64_t bl_slab_end(const bl_tensor *tensor, uint64_t row, uint64_t end);

/* Decode rows [row, row + n_rows) to out[n_rows][n_cols], pieces in parallel. */
BL_MUST_USE bl_status bl_slab_decode(float *out, const bl_weights *weights, const bl_tensor *tensor,
                                     uint64_t row, uint64_t n_rows, struct bl_err *err);

#endif
