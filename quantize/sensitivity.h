/*
 * sensitivity.h - how much it hurts the model to quantize a kind of matrix in a layer: measured as
 * the KL divergence of the next-token distributions when that matrix alone is quantized by a
 * reference type, over all positions of a few short texts.
 *
 * One streamed pass with all variants side by side. Variant (l, r) leaves the base's residual stream
 * at layer l, passes that layer with the matrices of role r quantized and decoded again, and goes
 * through the later layers unchanged, together with all variants that have left before: each weight
 * is read once for all of them, and once more for each variant that is made in its layer. The heads
 * pass in groups of three variants beside the base.
 *
 * For small perturbations KL is quadratic in them, and those of different matrices add up. So the
 * loss of type q on tensor t is predicted from the relative errors (budget.h):
 *
 *     KL(t, q) = S_t e_{t,q},      S_t = KL_ref(t) / e_{t,ref}
 *
 * Cost, in passes of N probe tokens through a layer: n_layers for the base, and for a variant those
 * layers that remain: with G groups of roles in L layers about L + G L^2 / 2. Where that is too much,
 * roles go in groups (attention; gate and up, and down, of dense and shared MLPs and of routed
 * experts) and neighbouring layers together; what is measured of a group is shared out by the
 * priors. R1 in groups, four layers together: 82 variants, 2,442 passes through a layer (40 forward
 * passes) and 110 through the head: 3.2e15 operations with 1,024 tokens; every layer is read six
 * times, 4.1 TB. States: 83 * 1,024 * 7,168 floats, 2.4 GB, in memory or spilled.
 *
 * Where nothing is measured, priors stand in (reference: published sensitivities, A12 and D).
 */
#ifndef BL_QUANTIZE_SENSITIVITY_H
#define BL_QUANTIZE_SENSITIVITY_H

#include "base/progress.h"
#include "convert/job.h"
#include "formats/ckpt/ckpt.h"

/* Roles are rows of the family's table: matrices that may be quantized, of the main model. */
typedef struct bl_sensitivity {
    const bl_arch *arch;
    uint32_t n_layers;
    bl_dtype reference; /* the type that matrices were quantized to */
    /* [n_layers + 1][arch->n_rows], the last for what is in no layer: mean KL in nats when this
       tensor (of experts: all of the layer) is quantized; below 0: not measured */
    double *kl;
} bl_sensitivity;

typedef struct bl_sensitivity_options {
    const bl_encoder *reference; /* part 0 by single rows, as Q4_0 */
    bool grouped;                /* attention, gate and up, down; else every role by itself */
    uint32_t layers_together;    /* 0 or 1: every layer by itself */
    int n_threads;
    uint64_t memory;       /* bytes for states and activations; 0: all in memory */
    const char *scratch;   /* folder for states that do not fit, or NULL */
    bl_progress *progress; /* gets bl_sensitivity_plan's steps; may be NULL */
} bl_sensitivity_options;

/* tokens: [n_seqs][n_positions]. Fails as bl_score_run() does (verify/score.h). */
BL_MUST_USE bl_status bl_sensitivity_measure(bl_sensitivity *out, const bl_ckpt *ckpt,
                                             const int32_t *tokens, uint32_t n_seqs,
                                             uint32_t n_positions,
                                             const bl_sensitivity_options *options,
                                             struct bl_err *err);
void bl_sensitivity_release(bl_sensitivity *sensitivity);

/* What a measurement takes. */
typedef struct bl_sensitivity_plan {
    size_t n_variants;
    uint64_t layer_passes; /* of n_seqs * n_positions tokens through one layer */
    uint64_t head_passes;  /* and through the head */
    uint64_t steps;        /* layer_passes + head_passes: what progress counts */
} bl_sensitivity_plan;

BL_MUST_USE bl_status bl_sensitivity_plan_make(bl_sensitivity_plan *out, const bl_config *config,
                                               const bl_sensitivity_options *options,
                                               struct bl_err *err);

/* Of a row of the table in a layer (any for BL_ONCE): below 0 when it was not measured. */
double bl_sensitivity_kl(const bl_sensitivity *sensitivity, const bl_arch_row *row, uint32_t layer);

/* The published priors, relative to an ordinary matrix: how much more the same e hurts. */
double bl_sensitivity_prior(const bl_config *config, const bl_arch_row *row, uint32_t layer);

/* Whether this row of the table is one of the roles. */
bool bl_sensitivity_is_role(const bl_arch_row *row);

#endif
