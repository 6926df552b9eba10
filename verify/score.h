/*
 * score.h - the road that every judgement of text takes: sequences of tokens through all layers of
 * one or two models in lockstep, then the logits of chosen positions to a callback.
 *
 * Sequences do not see each other. A shorter one is padded behind: attention is causal, so what
 * follows a position does not change it. Every weight of every model is read once.
 *
 * Memory: model/forward.h for the layers; then 4 * hidden_size bytes a chosen position and model,
 * and what model/head.h says.
 */
#ifndef BL_VERIFY_SCORE_H
#define BL_VERIFY_SCORE_H

#include "base/progress.h"
#include "formats/ckpt/ckpt.h"
#include "model/head.h"
#include "model/op_router.h"

enum { BL_SCORE_MAX_MODELS = 2 };

typedef struct bl_score_options {
    int n_threads;
    bl_progress *progress; /* gets the bytes of weights as they are done; may be NULL */
} bl_score_options;

typedef struct bl_score {
    size_t n_models; /* 1, or 2: the reference first */
    const bl_ckpt *ckpt[BL_SCORE_MAX_MODELS];
    const bl_router_policy *policy[BL_SCORE_MAX_MODELS]; /* [n_layers], or NULL */

    const int32_t *token; /* [n_seqs][n_positions] */
    uint32_t n_seqs, n_positions;

    /* [n_rows] chosen positions, ascending, repeats allowed: sequence * n_positions + position */
    const size_t *row;
    size_t n_rows;
    bl_logits_fn fn; /* its `token` i is chosen position i */
    void *context;
} bl_score;

/* One model, or the reference and the one that is tested (test NULL: none), whose policy it is. */
void bl_score_set_models(bl_score *score, const bl_ckpt *base, const bl_ckpt *test,
                         const bl_router_policy *policy);

/*
 * Fails with BL_E_MISMATCH when vocabularies differ or hidden states overflow, BL_E_UNSUPPORTED
 * when a model cannot be run, and as the callback does.
 */
BL_MUST_USE bl_status bl_score_run(const bl_score *score, const bl_score_options *options,
                                   struct bl_err *err);

/* Bytes of weights that one run reads, for progress. */
uint64_t bl_score_bytes(const bl_score *score);

#endif
