/*
 * train_memory.h - what a training holds, in bytes, before it is begun.
 *
 * P parameters, L layers, T tokens computed together, h the hidden size, V the vocabulary, A the
 * activations of a token in one layer (model/tape.h):
 *
 *     weights       4 P, or 2 P in BF16
 *     gradients     4 P
 *     moments       8 P
 *     activations   4 T A (L + 1) + 20 T h; with recompute 4 T (2 A + L h) + 20 T h
 *     head          4 V for each of min(T, max(2^23 / V, 128)) tokens, twice that with a teacher of hidden
 *                   states, 12 V for each thread; with BF16 weights the largest matrix decoded
 *     batch         the teacher's entries: 24 bytes a token and 8 an entry, or its hidden states
 */
#ifndef BL_DISTILL_TRAIN_MEMORY_H
#define BL_DISTILL_TRAIN_MEMORY_H

#include "base/err.h"
#include "distill/train/recipe.h"
#include "formats/ckpt/ckpt.h"

typedef struct bl_train_needs {
    uint64_t n_values; /* parameters */
    uint64_t weights, gradients, moments, activations, head, batch;
    uint64_t memory;     /* all of these */
    uint64_t checkpoint; /* bytes of one on the disk; there are two */
} bl_train_needs;

/* Fails as bl_network_init() does. */
BL_MUST_USE bl_status bl_train_memory(bl_train_needs *out, const bl_ckpt *student,
                                      const bl_recipe *recipe, bool recompute, int n_threads,
                                      struct bl_err *err);

#endif
