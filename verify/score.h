/*
 * score.h - the road that every judgement of text takes: sequences of tokens through all layers of
 * one or two models in lockstep, then the logits of chosen positions to a callback.
 *
 * Sequences do not see each other. A shorter one is padded behind: attention is causal, so what
 * follows a position does not change it. Every weight of every layer is read once; the heads as
 * often as the chosen positions need to pass through in `memory`.
 *
 * Memory: within what the options allow, by taking the tokens in blocks and keeping hidden states
 * in a scratch file (model/room.h).
 */
#ifndef BL_VERIFY_SCORE_H
#define BL_VERIFY_SCORE_H

#include "base/progress.h"
#include "formats/ckpt/ckpt.h"
#include "model/forward.h"
#include "model/head.h"
#include "model/op_router.h"
#include "model/room.h"

enum { BL_SCORE_MAX_MODELS = 2 };

/* How a run is done; nothing of it changes a number. Zeroed but for n_threads: the usual way. */
typedef struct bl_score_options {
    int n_threads;
    uint64_t memory;       /* bytes that the process may hold; 0: 4 GiB, or more if it must be */
    const char *scratch;   /* folder for what does not fit, and for the states; NULL: none */
    bool keep;             /* keep the states in scratch after every layer, until the run ends */
    bool resume, force;    /* go on from such states, or throw them away (model/kept_state.h) */
    bl_progress *progress; /* gets the bytes of weights as they are done; may be NULL */
} bl_score_options;

/* Called after each layer with the states of all models; a model that has fewer layers waits. */
typedef bl_status (*bl_score_layer_fn)(void *context, uint32_t layer, const bl_state *const *state,
                                       struct bl_err *err);

/*
 * Given the heads of all models for chosen positions [first, first + n), in ascending parts, to do
 * with them what bl_head_run() would.
 */
typedef bl_status (*bl_heads_fn)(void *context, const bl_head *head, size_t n_models, size_t first,
                                 size_t n, struct bl_err *err);

/*
 * Who looks at the inside of the models of a run: their activations, one by one. What is seen of a
 * layer belongs to the layer: it must be kept before the state that has passed it.
 */
typedef struct bl_watch {
    const bl_taps *taps; /* model/taps.h */
    /* The state as the run begins or goes on with it: n_layers_done, and where it lies (room). */
    bl_before_keep_fn begin;
    bl_before_keep_fn layer; /* after each layer, before its state is kept */
    void *context;
    uint64_t held;       /* bytes that the callbacks hold at most, beside copies */
    uint32_t n_copies;   /* of every token's hidden state that they hold, where the state lies */
    const char *purpose; /* a state that was kept without these callbacks is none of this run */
} bl_watch;

typedef struct bl_score {
    size_t n_models; /* 1, or 2: the reference first */
    const bl_ckpt *ckpt[BL_SCORE_MAX_MODELS];
    const bl_router_policy *policy[BL_SCORE_MAX_MODELS]; /* [n_layers], or NULL */

    const int32_t *token;  /* [n_seqs][n_positions] */
    const uint32_t *start; /* the same: where what each token sees begins (bl_state); or NULL */
    uint32_t n_seqs, n_positions;

    /* [n_rows] chosen positions, ascending, repeats allowed: sequence * n_positions + position */
    const size_t *row;
    size_t n_rows;              /* 0: the heads are not wanted */
    bl_logits_fn fn;            /* its `token` i is chosen position i */
    bl_heads_fn heads;          /* gets the heads in place of fn; or NULL */
    bl_score_layer_fn layer_fn; /* or NULL; not called for layers that a kept state has passed */
    void *context;
    const bl_watch *watch; /* of the only model; or NULL */
} bl_score;

/* One model, or the reference and the one that is tested (test NULL: none), whose policy it is. */
void bl_score_set_models(bl_score *score, const bl_ckpt *base, const bl_ckpt *test,
                         const bl_router_policy *policy);

/*
 * Fails with BL_E_MISMATCH when vocabularies differ or hidden states overflow, BL_E_UNSUPPORTED
 * when a model cannot be run, BL_E_USAGE when `memory` is too little or a kept state is in the
 * way, and as the callbacks do.
 */
BL_MUST_USE bl_status bl_score_run(const bl_score *score, const bl_score_options *options,
                                   struct bl_err *err);

/* What a run will take, before it is begun. */
typedef struct bl_score_plan {
    bl_room room;
    uint64_t n_tokens, block_tokens; /* all, and those whose activations exist at a time */
    uint64_t memory;                 /* bytes that the process will hold at most */
    uint64_t scratch;                /* bytes of scratch files */
    uint64_t read;                   /* bytes of weights */
    double n_flop;                   /* floating point operations */
} bl_score_plan;

/* Fails as bl_score_run() does before it reads a weight. */
BL_MUST_USE bl_status bl_score_plan_make(bl_score_plan *out, const bl_score *score,
                                         const bl_score_options *options, struct bl_err *err);

/* Bytes of weights that a run of one model, or of two, reads, for progress. */
uint64_t bl_score_bytes(const bl_ckpt *base, const bl_ckpt *test);

#endif
