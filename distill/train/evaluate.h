/*
 * evaluate.h - how well a student predicts held-out text that is packed as its lessons are: mean
 * cross-entropy in nats over all tokens that a document has behind another.
 */
#ifndef BL_DISTILL_EVALUATE_H
#define BL_DISTILL_EVALUATE_H

#include "distill/train/trainer.h"

/* batch: sequences at a time. BL_E_MISMATCH when it is not finite. */
BL_MUST_USE bl_status bl_train_evaluate(double *out, const bl_learner *learner, const bl_pack *text,
                                        uint32_t batch, struct bl_err *err);

#endif
