/*
 * hessian.h - H = E[x x^T] of the inputs that a matrix meets, and the factor that GPTQ wants of it.
 *
 * Inputs come in any pieces; some are held out, to judge with, the others are gathered in runs of
 * BL_HESSIAN_RUN tokens whose products are added to the sum, so the sums have the same bits however
 * the tokens came and however many threads add them.
 *
 * What an expert has seen too little of is filled in from its layer, and damped by how little:
 *
 *     H' = (1 - s) H_e + s H_layer,   s = clamp(0.2 + 0.55 exp(-N_e / 4d), 0.2, 0.75);  1 where N_e = 0
 *     H'_jj += damp * mean(diag H'),  damp = 0.1, 0.05 from N_e >= d, 0.01 from N_e >= 8d
 *
 * Source: fitted to synthetic experts of known H; MoE-Quant's damping for the first (0.1).
 * A column that no input ever moved is coupled to no other: it is rounded to nearest.
 */
#ifndef BL_QUANTIZE_HESSIAN_H
#define BL_QUANTIZE_HESSIAN_H

#include "quantize/gptq.h"

#include <stdbool.h>

enum {
    BL_HESSIAN_RUN = 1024, /* tokens of a product */
    BL_HESSIAN_HELD = 512, /* tokens that are held out, at most */
    BL_HESSIAN_STRIPE = 4, /* rows [36, 40), [76, 80), ... are held out: a tenth, near its end */
    BL_HESSIAN_PERIOD = 40,
};

/* Inputs of one place of the network: n_cols values a token. */
typedef struct bl_hessian {
    size_t n_cols;
    float *sum;       /* [n_cols][n_cols] X^T X; NULL: only its diagonal is wanted */
    double *diagonal; /* [n_cols] where sum is NULL */
    float *run;       /* [RUN][n_cols] tokens that are not in sum yet */
    float *held;      /* [HELD][n_cols]; NULL: none are held out */
    size_t n_run, n_held;
    uint64_t n_summed; /* tokens in sum */
    uint64_t n_seen;   /* all */
} bl_hessian;

/* What is gathered, bits. */
typedef enum bl_hessian_want {
    BL_HESSIAN_SUM = 1, /* X^T X, not just its diagonal */
    BL_HESSIAN_HOLD = 2 /* hold tokens out */
} bl_hessian_want;

/* Bytes of one, and of a factor. */
uint64_t bl_hessian_bytes(size_t n_cols, unsigned want);
uint64_t bl_gptq_factor_bytes(size_t n_cols);

BL_MUST_USE bl_status bl_hessian_init(bl_hessian *out, size_t n_cols, unsigned want,
                                      struct bl_err *err);
void bl_hessian_release(bl_hessian *h);
void bl_hessian_reset(bl_hessian *h); /* as after init */

/* Add x[n][n_cols], rows ld apart. */
BL_MUST_USE bl_status bl_hessian_add(bl_hessian *h, const float *x, size_t ld, size_t n,
                                     int n_threads, struct bl_err *err);

/* The last run into the sum, and its upper triangle. */
BL_MUST_USE bl_status bl_hessian_finish(bl_hessian *h, int n_threads, struct bl_err *err);

/* The share of the layer, and the damping, for an expert of n_tokens and n_cols inputs. */
double bl_hessian_share(uint64_t n_tokens, size_t n_cols);
double bl_hessian_damping(uint64_t n_tokens, size_t n_cols);

/*
 * importance[n_cols] = E[x_j^2] of all tokens of a finished h (NULL: none), held ones too, and of
 * 256 of its layer (NULL: none), for the search.
 */
void bl_hessian_importance(float *importance, const bl_hessian *h, const bl_hessian *layer);

BL_MUST_USE bl_status bl_gptq_factor_init(bl_gptq_factor *out, size_t n, struct bl_err *err);
void bl_gptq_factor_release(bl_gptq_factor *factor);

/*
 * Order and H' of a finished h, s of which are the layer's (NULL: none), before damping. Not
 * factored yet, so that the factors of several experts can be made at once; h may be used again.
 */
BL_MUST_USE bl_status bl_gptq_factor_set(bl_gptq_factor *out, const bl_hessian *h,
                                         const bl_hessian *layer, double share, int n_threads,
                                         struct bl_err *err);

/*
 * U of what was set, damped; where F32 cannot factor it, with ten times the damping, then in F64.
 * *tries: 1 to 3, which of these it was, or 0: none, and the factor is of no use.
 */
BL_MUST_USE bl_status bl_gptq_factor_make(int *tries, bl_gptq_factor *factor, double damping,
                                          int n_threads, struct bl_err *err);

#endif
