/*
 * weights.h - the tensors of a checkpoint as the steps of the network ask for them.
 *
 * A bl_weights is borrowed pointers and a thread count: the caller keeps checkpoint and network
 * alive. Names are the canonical ones of formats/arch; shapes are always checked.
 */
#ifndef BL_MODEL_WEIGHTS_H
#define BL_MODEL_WEIGHTS_H

#include "formats/ckpt/ckpt.h"
#include "model/network.h"
#include "model/resident.h"

typedef struct bl_hold bl_hold; /* model/hold.h */

/*
 * What becomes of the decoded rows of a matrix before they are used: for asking what a change of
 * the weights would do. Rows [row, row + n_rows) are whole; called from many threads, for any part
 * of the matrix at any time, so it depends on nothing but the row.
 */
typedef struct bl_weight_filter {
    bl_status (*fn)(const void *context, const bl_tensor *tensor, uint64_t row, uint64_t n_rows,
                    float *rows, struct bl_err *err);
    const void *context;
} bl_weight_filter;

typedef struct bl_weights {
    const bl_ckpt *ckpt;
    const bl_network *network;
    int n_threads;
    bl_hold *hold; /* where matrices are kept decoded between blocks of tokens, or NULL */
    const bl_resident
        *resident; /* weights that are learned, read in place of the file's; or NULL */
    const bl_weight_filter *filter; /* of matrices; norms and biases are not asked. Or NULL */
} bl_weights;

/*
 * The network of the checkpoint's configuration in *network, and the weights over both. Fails with
 * BL_E_UNSUPPORTED, naming the checkpoint, when it cannot be run.
 */
BL_MUST_USE bl_status bl_weights_init(bl_weights *out, bl_network *network, const bl_ckpt *ckpt,
                                      int n_threads, struct bl_err *err);

/* The tensor "model.layers.<layer>.<suffix>", which must be n_rows x n_cols. */
BL_MUST_USE bl_status bl_weights_find(const bl_tensor **out, const bl_weights *weights,
                                      uint32_t layer, const char *suffix, uint64_t n_rows,
                                      uint64_t n_cols, struct bl_err *err);

/* Rows [row, row + n_rows) of a matrix, decoded and filtered, to out[n_rows][n_cols]. */
BL_MUST_USE bl_status bl_weights_read(float *out, const bl_weights *weights,
                                      const bl_tensor *tensor, uint64_t row, uint64_t n_rows,
                                      struct bl_err *err);

/*
 * Begin to read the tensor from the disk, if the layer has it, and come back at once: a hint, so
 * that the bytes are there when they are wanted.
 */
void bl_weights_prefetch(const bl_weights *weights, uint32_t layer, const char *suffix);

/* Whether the layer has such a tensor. */
bool bl_weights_has(const bl_weights *weights, uint32_t layer, const char *suffix);

/* A vector of n values (norm weights, biases), decoded; the caller frees it with bl_free(). */
BL_MUST_USE bl_status bl_weights_vector(float **out, const bl_weights *weights, uint32_t layer,
                                        const char *suffix, uint64_t n, struct bl_err *err);

/* The same for a tensor outside the layers, by its whole name. */
BL_MUST_USE bl_status bl_weights_global_vector(float **out, const bl_weights *weights,
                                               const char *name, uint64_t n, struct bl_err *err);

#endif
