/*
 * loss.h - what a student is told about one token, and the gradient of that in its logits.
 *
 *     loss = kd * T^2 * D(t, p) + ce * -ln softmax(z)[target],   p = softmax(z / T)
 *
 * z: the student's logits; t: the teacher's distribution at the temperature T, from its logits u as
 * softmax(u / T), or some entries w of it:
 *
 *     forward KL   sum t ln t - sum t ln p              d/dz = (S p - t) / T,  S = sum t
 *     reverse KL   sum p ln p - sum p ln t              d/dz = p (ln p - ln t - D) / T
 *     JSD(b)       b KL(t | m) + (1 - b) KL(p | m), m = b t + (1 - b) p
 *                                                       d/dz = (1 - b) p (ln(p / m) - KL(p | m)) / T
 *     bucket       forward KL in which all ids without an entry are one, with the mass `tail`
 *
 * Entries that are right on the average (draws) give a forward KL and a gradient that are right on the
 * average: both are linear in t. The others are not linear: they want every logit (arXiv 2306.13649
 * for the generalised JSD, 2503.16870 for draws).
 */
#ifndef BL_DISTILL_LOSS_H
#define BL_DISTILL_LOSS_H

#include "base/real.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum bl_divergence { BL_FORWARD_KL, BL_REVERSE_KL, BL_JSD } bl_divergence;

typedef struct bl_distill_loss {
    double kd; /* weight of the divergence; 0: no teacher is looked at */
    double ce; /* weight of the cross-entropy with the text */
    bl_divergence kind;
    double beta;        /* JSD */
    double temperature; /* T; 0 stands for 1 */
    bool bucket;
} bl_distill_loss;

/* What is known of one token. Either entries, or the teacher's logits, or neither. */
typedef struct bl_loss_target {
    int32_t target;         /* the token that follows */
    size_t n;               /* entries */
    const uint32_t *id;     /* [n] */
    const float *weight;    /* [n] */
    double tail;            /* bucket: the mass of the ids without an entry */
    double entropy;         /* of the teacher, in place of that of the weights; NaN: theirs */
    const bl_real *teacher; /* [n_vocab] u, or NULL */
} bl_loss_target;

typedef struct bl_loss_value {
    double loss, ce, kd; /* kd: D */
} bl_loss_value;

/* z[n_vocab] becomes d loss / dz. scratch: 3 * n_vocab. */
bl_loss_value bl_loss_token(bl_real *z, size_t n_vocab, const bl_distill_loss *loss,
                            const bl_loss_target *target, bl_real *scratch);

#endif
