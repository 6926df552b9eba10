/*
 * variants.h - one model under several routing policies, side by side: what each would do to a text, in
 * one pass that reads and decodes every weight of the layers once for all of them.
 *
 * The sequences of all texts, once for each variant, are one state (model/op_router.h: bl_router_policy has
 * the variants). Variant 0 is the base that the others are compared with, position by position. The head is
 * read once for each three variants and BL_VARIANTS_HEAD_BYTES of final hidden states.
 *
 * Memory: verify/score.h with n_variants times the sequences, and BL_VARIANTS_HEAD_BYTES.
 */
#ifndef BL_VERIFY_VARIANTS_H
#define BL_VERIFY_VARIANTS_H

#include "verify/perplexity.h"

enum { BL_VARIANTS_HEAD_BYTES = 64 << 20 };

typedef struct bl_variants_text {
    const int32_t *token;
    size_t n_tokens;
} bl_variants_text;

typedef struct bl_variants {
    const bl_ckpt *ckpt;
    /* [n] of each variant its policies [n_layers]; NULL: as configured. Of those that skip a layer all
       come behind those that do not */
    const bl_router_policy *const *policy;
    size_t n;
    const bl_variants_text *text;
    size_t n_texts;
} bl_variants;

/*
 * out[n_texts][n]: in model[0] and model[1] the base and the variant; of the base itself a pair of equals.
 * options: policy and kept are not used. Fails as bl_ppl_run() does. The caller releases each of out.
 */
BL_MUST_USE bl_status bl_variants_run(bl_ppl_result *out, const bl_variants *variants,
                                      const bl_ppl_options *options, struct bl_err *err);

/* What a run will take; fails as it does before the first weight is read. */
BL_MUST_USE bl_status bl_variants_plan(bl_score_plan *out, const bl_variants *variants,
                                       const bl_ppl_options *options, struct bl_err *err);

#endif
