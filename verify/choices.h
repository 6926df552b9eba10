/*
 * choices.h - multiple-choice items judged by log-likelihood: one model, or two on the same items.
 *
 * The choice that a model finds likeliest is the one it takes (the lowest index on ties), by the
 * sum over the choice's tokens, and apart from that by the sum per byte of the choice's text.
 * Definitions of every number: docs/numerics.md. What is scored: verify/choice_sequences.h. Road,
 * memory and reading: verify/score.h.
 */
#ifndef BL_VERIFY_CHOICES_H
#define BL_VERIFY_CHOICES_H

#include "verify/choice_items.h"
#include "verify/choice_sequences.h"
#include "verify/score.h"
#include "verify/statistics.h"

enum { BL_CHOICES_DEFAULT_CTX = 512 };

typedef struct bl_choices_options {
    const bl_router_policy
        *policy; /* [n_layers] for the test model (the base when alone), or NULL */
    bl_score_options run;
} bl_choices_options;

/* What one model takes of one item. */
typedef struct bl_choice_pick {
    uint32_t sum, per_byte; /* the choice of largest log-likelihood, and per byte */
    double margin;          /* log-likelihood of the answer less that of the best other choice */
} bl_choice_pick;

/* Right answers among n items. */
typedef struct bl_choice_tally {
    size_t n, sum, per_byte;
} bl_choice_tally;

typedef struct bl_choices_model {
    double *log_likelihood; /* [n_choices of all items], nats: sum over the choice's tokens */
    bl_choice_pick *pick;   /* [n_items] */
    bl_choice_tally *group; /* [n_groups] */
    bl_choice_tally all;
} bl_choices_model;

typedef struct bl_choices_result {
    const bl_choice_items *items; /* borrowed */
    uint32_t n_seqs, n_positions;
    size_t n_scored; /* tokens */
    double chance;   /* accuracy of blind guesses: mean of 1 / number of choices */
    size_t n_models; /* 1: base alone; 2: base and test */
    bl_choices_model model[2];
    /* with two models */
    size_t gained, lost, gained_per_byte, lost_per_byte; /* items right in test alone, base alone */
    size_t same;                                         /* items with the same choice by sum */
    double margin_change, margin_change_error;           /* mean of test - base */
    double abs_margin_change, abs_margin_change_error;   /* mean of its absolute value */
    double kl_mean, kl_error; /* KL(base || test) of the softmax over an item's choices, nats */
} bl_choices_result;

/*
 * sequences: of these items. test may be NULL. The caller releases *out before the items. Fails as
 * bl_score_run() does.
 */
BL_MUST_USE bl_status bl_choices_run(bl_choices_result *out, const bl_choice_items *items,
                                     const bl_choice_sequences *sequences, const bl_ckpt *base,
                                     const bl_ckpt *test, const bl_choices_options *options,
                                     struct bl_err *err);
void bl_choices_release(bl_choices_result *result);

/*
 * The two halves of a run: a result whose log-likelihoods are zero, and, once they are known,
 * everything that follows from them.
 */
BL_MUST_USE bl_status bl_choices_init(bl_choices_result *out, const bl_choice_items *items,
                                      size_t n_models, struct bl_err *err);
BL_MUST_USE bl_status bl_choices_judge(bl_choices_result *result, struct bl_err *err);

#endif
