/*
 * perplexity.h - perplexity of one model, or of two on the same tokens, by either of two rules.
 *
 * llama.cpp's (stride 0): chunks of ctx tokens, the rest dropped; each chunk is a sequence of its
 * own whose first token is replaced by BOS; positions ctx/2 .. ctx-2 score the token that follows.
 * At least two chunks.
 * The papers' (stride > 0): windows of ctx tokens, stride apart, the last one as long as the text
 * allows; each scores the tokens that the one before did not reach. BOS only where the text's
 * tokens begin with it.
 * Definitions of every number: docs/numerics.md. Road, memory and reading: verify/score.h.
 */
#ifndef BL_VERIFY_PERPLEXITY_H
#define BL_VERIFY_PERPLEXITY_H

#include "verify/kept_logits.h"
#include "verify/score.h"

typedef struct bl_ppl_options {
    uint32_t ctx;        /* 0: 512 */
    uint64_t max_tokens; /* of the text; 0: all */
    uint32_t stride;     /* 0: llama.cpp's rule */
    int64_t bos;         /* replaces each chunk's first token; -1, or with a stride: keep it */
    const bl_router_policy
        *policy; /* [n_layers] for the test model (the base when alone), or NULL */
    bl_score_options run;
    /*
     * With one model, or NULL: a file that gets what it says, which the caller commits; or one to
     * compare it with, which then is the base.
     */
    bl_kept *kept;
} bl_ppl_options;

/* One model's score. */
typedef struct bl_ppl_score {
    double mean_nll, perplexity;
    double error;    /* of the perplexity: perplexity * standard error of the mean */
    double *nll;     /* [n_scored] */
    double *running; /* [n_chunks] perplexity of chunks 0 .. i */
} bl_ppl_score;

typedef struct bl_ppl_result {
    uint32_t ctx;
    size_t n_chunks, n_scored; /* sequences, and tokens scored in them */
    size_t n_models;           /* 1: base alone; 2: base, which may be kept logits, and test */
    bl_ppl_score model[2];
    /* with two models */
    double kl_mean, kl_error, kl_median, kl_p90, kl_p95, kl_p99, kl_p999, kl_max;
    size_t n_same_top;               /* scored tokens where both have the same id on top */
    double same_top, same_top_error; /* fraction of scored tokens */
    double rms_dp, rms_dp_error;     /* RMS of the change of the target's probability */
    double ln_ratio, ln_ratio_error; /* ln(ppl test / ppl base), paired standard error */
    double *kl;                      /* [n_scored], in the order of the text */
    double kl_sampling_error;        /* part of kl_error: that kept logits were a sample; or 0 */
    size_t *place; /* [n_scored] where in the text the scored token is, for one model too */
} bl_ppl_result;

/*
 * test may be NULL. Fails with BL_E_USAGE when the text is shorter than two chunks, BL_E_MISMATCH
 * when vocabularies differ or hidden states overflow. The caller releases *out.
 */
BL_MUST_USE bl_status bl_ppl_run(bl_ppl_result *out, const bl_ckpt *base, const bl_ckpt *test,
                                 const int32_t *tokens, size_t n_tokens,
                                 const bl_ppl_options *options, struct bl_err *err);
void bl_ppl_release(bl_ppl_result *result);

/* What a run will take; fails as it does before the first weight is read. */
BL_MUST_USE bl_status bl_ppl_plan(bl_score_plan *out, const bl_ckpt *base, const bl_ckpt *test,
                                  size_t n_tokens, const bl_ppl_options *options,
                                  struct bl_err *err);

#endif
