/*
 * head_loss.h - the output head, the loss and back, fused: logits exist for one chunk of tokens.
 *
 * Slices of tokens, not of the vocabulary: then each logit is made once (a vocabulary in slices needs
 * its sum before its gradients, so that every product is made twice), and a chunk is large enough
 * that reading the head again for the next one does not count.
 *
 *     Z = X W^T    G = dloss/dZ, in place    dX = G W    dW += G^T X
 *
 * Memory: BL_HEAD_LOSS_FLOATS logits or BL_HEAD_LOSS_TOKENS tokens of them, whichever is more; twice
 * that with a teacher of hidden states; 3 vocabularies for each thread; a BF16 head decoded.
 */
#ifndef BL_DISTILL_HEAD_LOSS_H
#define BL_DISTILL_HEAD_LOSS_H

#include "distill/train/student.h"
#include "model/weights.h"

enum { BL_HEAD_LOSS_FLOATS = 1 << 23, BL_HEAD_LOSS_TOKENS = 128 };

typedef struct bl_head_loss {
    const bl_weights *weights; /* resident */
    const bl_batch *batch;
    const bl_distill_loss *loss;
    size_t n;          /* scored tokens */
    const size_t *row; /* [n] which tokens of the batch, ascending */
    const float *x;    /* [n][hidden] after the final norm */
    float *dx;         /* [n][hidden] set; NULL: no gradients */
    double scale;      /* of the gradients */
} bl_head_loss;

/* Tokens of a chunk. */
size_t bl_head_loss_tokens(size_t n_vocab);

/* BL_E_MISMATCH when a loss is not finite. */
BL_MUST_USE bl_status bl_head_loss_run(bl_step_sums *out, const bl_head_loss *job,
                                       struct bl_err *err);

#endif
