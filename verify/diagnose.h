/*
 * diagnose.h - what may have happened to a tensor that is far from its reference.
 *
 * A guess for a person, from the values: never a verdict. Looked for, in this order: values all
 * zero, a constant factor, the values of another tensor of the reference (an exchanged expert,
 * gate and up), rows in another order (rotary pairs, heads), few values that differ
 * by more than rounding.
 */
#ifndef BL_VERIFY_DIAGNOSE_H
#define BL_VERIFY_DIAGNOSE_H

#include "base/text.h"
#include "formats/ckpt/ckpt.h"
#include "verify/metrics.h"

typedef enum bl_diagnosis_kind {
    BL_DIAGNOSIS_NONE,
    BL_DIAGNOSIS_ZERO,      /* every value is 0 */
    BL_DIAGNOSIS_SCALED,    /* the reference times factor, and little else */
    BL_DIAGNOSIS_FEW,       /* at most half of the values differ */
    BL_DIAGNOSIS_EXCHANGED, /* it has the values of `other`, which has those of this one */
    BL_DIAGNOSIS_COPY,      /* it has the values of `other` */
    BL_DIAGNOSIS_ROWS       /* the rows of the reference in another order */
} bl_diagnosis_kind;

typedef struct bl_diagnosis {
    bl_diagnosis_kind kind;
    double factor;          /* SCALED */
    uint64_t n_different;   /* FEW */
    uint64_t n_values;      /* FEW */
    const bl_tensor *other; /* EXCHANGED, COPY: a tensor of the reference */
} bl_diagnosis;

/*
 * a of ref and b of test have one name and shape, and these metrics. Reads at most a few rows of
 * every tensor of the same shape and role in the same layer, and a and b twice. One thread.
 * Fails as reading does.
 */
BL_MUST_USE bl_status bl_diagnose(bl_diagnosis *out, const bl_ckpt *ref, const bl_tensor *a,
                                  const bl_ckpt *test, const bl_tensor *b,
                                  const bl_metrics *metrics, struct bl_err *err);

/* "looks scaled by 1.01"; nothing when there is none. */
void bl_diagnosis_put(bl_text *out, const bl_diagnosis *diagnosis);

#endif
