/*
 * hold.h - weight matrices that are kept decoded while several blocks of tokens pass.
 *
 * Where all tokens pass at once, a matrix streams through slabs and is never whole in memory. Where
 * they pass in blocks, each weight would be read again for every block: then it is decoded once,
 * whole, and stays until its part of the layer is done. Belongs to one thread.
 *
 * Memory: 4 bytes a value of the matrices of half a layer (attention, MLP, or one expert).
 */
#ifndef BL_MODEL_HOLD_H
#define BL_MODEL_HOLD_H

#include "model/weights.h"

enum { BL_HOLD_MAX = 8 }; /* matrices in half a layer: five in latent attention */

struct bl_hold {
    size_t n;
    const bl_tensor *tensor[BL_HOLD_MAX];
    float *values[BL_HOLD_MAX]; /* [n_rows][n_cols] */
};

/* The whole matrix, decoded at the first call; it stays the hold's. */
BL_MUST_USE bl_status bl_hold_get(const float **out, bl_hold *hold, const bl_weights *weights,
                                  const bl_tensor *tensor, struct bl_err *err);
void bl_hold_release(bl_hold *hold); /* empty it, for the next half */

#endif
