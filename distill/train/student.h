/*
 * student.h - a network whose weights are in memory and can be learned: one step forward and back.
 *
 * Weights are F32, or BF16 with F32 arithmetic; gradients are F32. Memory, P parameters, T tokens of a
 * step, L layers: see docs/distill.md.
 */
#ifndef BL_DISTILL_STUDENT_H
#define BL_DISTILL_STUDENT_H

#include "base/err.h"
#include "distill/train/loss.h"
#include "formats/ckpt/ckpt.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_student bl_student;

/* One tensor of it. Vectors (norms, biases) have n_rows 1. */
typedef struct bl_parameter {
    const char *name; /* canonical: as in the checkpoint */
    uint64_t n_rows, n_cols;
    float *value;   /* [n_rows][n_cols], or NULL when `bf16` has it */
    uint16_t *bf16; /* the same in BF16 */
    float *grad;    /* the same, F32: steps add to it */
    bool decays;    /* weight decay applies: a matrix */
} bl_parameter;

typedef struct bl_student_options {
    int n_threads;
    bool bf16; /* keep the weights in BF16 */
    bool
        recompute; /* keep only the input of each layer, and run layers again in the backward pass */
} bl_student_options;

/*
 * From a checkpoint, which stays open (it names and shapes the tensors). BL_E_UNSUPPORTED: a layer with
 * experts, an MTP layer; weights that are stored quantized are decoded.
 */
BL_MUST_USE bl_status bl_student_new(bl_student **out, const bl_ckpt *ckpt,
                                     const bl_student_options *options, struct bl_err *err);
void bl_student_free(bl_student *student); /* NULL is allowed */

size_t bl_student_n_parameters(const bl_student *student); /* tensors; a tied head is none */
bl_parameter *bl_student_parameter(bl_student *student, size_t i);
uint64_t bl_student_n_values(const bl_student *student);
void bl_student_zero_gradients(bl_student *student);

/* Rows of the teacher's head, for targets that are hidden states. */
typedef bl_status (*bl_teacher_head_fn)(void *context, float *out, uint64_t row, uint64_t n_rows,
                                        struct bl_err *err);

/* Sequences of a step. All borrowed. T = n_seqs * n_positions. */
typedef struct bl_batch {
    uint32_t n_seqs, n_positions;
    const int32_t *token;  /* [T] */
    const uint32_t *start; /* [T], or NULL: sequences are one document each */
    const int32_t *target; /* [T] the next token, or -1: nothing is learned here */
    const uint32_t *first; /* [T + 1] entries of each token, or NULL: none */
    const uint32_t *id;    /* entries of the teacher's distribution */
    const float *weight;
    const float *tail;    /* [T] top-k with `bucket` */
    const float *entropy; /* [T] the teacher's, where weights are draws of it; or NULL */
    const float *hidden;  /* [T][teacher_hidden], or NULL */
    uint32_t teacher_hidden;
    bl_teacher_head_fn teacher_head;
    void *teacher_context;
} bl_batch;

/* Sums over the scored tokens of a batch, in nats. */
typedef struct bl_step_sums {
    uint64_t n_tokens;
    double loss;   /* what is minimised: loss.h */
    double ce, kd; /* the cross-entropy; the divergence */
} bl_step_sums;

/*
 * Forward, and with `scale` > 0 backward: adds scale * d(sum of loss)/d(parameter) to every gradient.
 * BL_E_MISMATCH when the loss or a hidden state is not finite; gradients then have no meaning.
 */
BL_MUST_USE bl_status bl_student_step(bl_step_sums *out, bl_student *student, const bl_batch *batch,
                                      const bl_distill_loss *loss, double scale,
                                      struct bl_err *err);

#endif
