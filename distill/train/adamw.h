/*
 * adamw.h - AdamW (Loshchilov and Hutter, arXiv 1711.05101), as torch.optim.AdamW does it: weight decay
 * apart from the gradient, moments corrected for their start at zero.
 *
 *     w -= lr * decay * w
 *     m += (1 - beta1) (g - m)          v = beta2 v + (1 - beta2) g^2
 *     w -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
 *
 * Moments and arithmetic are F32. Weights in BF16 are rounded stochastically, else steps below half of
 * their last place would be lost; the random bits follow from (seed, t, index of the value). Everything is
 * done in chunks whose place does not depend on the number of threads.
 */
#ifndef BL_DISTILL_ADAMW_H
#define BL_DISTILL_ADAMW_H

#include "base/err.h"
#include "distill/train/student.h"

#include <stddef.h>
#include <stdint.h>

typedef struct bl_adamw bl_adamw;

/* Parameters are borrowed. 8 bytes of moments a value. */
BL_MUST_USE bl_status bl_adamw_new(bl_adamw **out, bl_parameter *const *parameter,
                                   size_t n_parameters, struct bl_err *err);
void bl_adamw_free(bl_adamw *adamw); /* NULL is allowed */

/* The moments of parameter i: [n_rows][n_cols]. */
float *bl_adamw_m(bl_adamw *adamw, size_t i);
float *bl_adamw_v(bl_adamw *adamw, size_t i);

void bl_adamw_zero_gradients(bl_adamw *adamw);

/*
 * The Euclidean norm of all gradients together, summed in F64. BL_E_MISMATCH when a gradient is not
 * finite, naming its tensor.
 */
BL_MUST_USE bl_status bl_adamw_norm(double *out, bl_adamw *adamw, int n_threads,
                                    struct bl_err *err);

typedef struct bl_adamw_step {
    double lr, beta1, beta2, eps;
    double weight_decay;   /* of the parameters that decay */
    double gradient_scale; /* gradients are taken times this */
    uint64_t t;            /* the step, from 1 */
    uint64_t seed;         /* of the rounding to BF16 */
} bl_adamw_step;

BL_MUST_USE bl_status bl_adamw_update(bl_adamw *adamw, const bl_adamw_step *step, int n_threads,
                                      struct bl_err *err);

/* x to BF16, up or down with the chances that make it right on the average. random: 16 bits count. */
uint16_t bl_adamw_round_bf16(float x, uint64_t random);

#endif
