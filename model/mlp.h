/*
 * mlp.h - y (+)= Wdown (silu(Wgate x) * Wup x): the dense MLP, a shared expert, a routed expert.
 */
#ifndef BL_MODEL_MLP_H
#define BL_MODEL_MLP_H

#include "model/taps.h"
#include "model/weights.h"

#include <stdbool.h>

typedef struct bl_mlp {
    const char *prefix; /* "mlp.", "mlp.shared_experts.", "mlp.experts.7." */
    uint32_t layer;
    uint32_t width; /* rows of gate and up */
    const float *x; /* [n_tokens][hidden] */
    float *y;       /* [n_tokens][hidden]; not x */
    size_t n_tokens;
    bool add;           /* y += */
    float *inner;       /* scratch [2][n_tokens][width]: gate, up */
    float *product;     /* [n_tokens][width] silu(gate) * up; NULL: in place of gate */
    bl_activation seen; /* of silu(gate) * up: the caller sets expert, token, weight */
} bl_mlp;

BL_MUST_USE bl_status bl_mlp_run(const bl_mlp *mlp, const bl_weights *weights, const bl_taps *taps,
                                 struct bl_err *err);

#endif
