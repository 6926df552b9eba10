/*
 * compare.h - two checkpoints, tensor by tensor, in whatever containers and encodings.
 *
 * Tensors are matched by canonical name and decoded in pieces of bounded memory. Sums do not
 * depend on the number of threads. Configurations are compared for what they make the network
 * compute (formats/arch/config_compare.h).
 */
#ifndef BL_VERIFY_COMPARE_H
#define BL_VERIFY_COMPARE_H

#include "base/progress.h"
#include "formats/arch/config_compare.h"
#include "formats/ckpt/ckpt.h"
#include "verify/diagnose.h"
#include "verify/metrics.h"

typedef struct bl_compared {
    const bl_tensor *ref, *test; /* of the checkpoints, which must outlive the result */
    bl_metrics metrics;
    bl_diagnosis diagnosis; /* of the worst BL_COMPARE_N_DIAGNOSED only */
} bl_compared;

enum { BL_COMPARE_N_DIAGNOSED = 16 };

typedef struct bl_comparison {
    size_t n_compared;
    bl_compared *compared; /* worst relative RMS error first, then by name */
    size_t n_identical;
    /* structure: each list in the order of the file */
    size_t n_missing; /* in ref, not in test */
    const bl_tensor **missing;
    size_t n_extra; /* in test, not in ref */
    const bl_tensor **extra;
    size_t n_reshaped; /* in both with different shapes: metrics are not set */
    bl_compared *reshaped;
    size_t n_damaged;  /* not among compared: values that cannot be decoded, in either */
    char **damaged;    /* one sentence each */
    size_t n_mtp_only; /* tensors of MTP layers that only one of the two has: a note, no mismatch */
    const bl_tensor **mtp_only;
    bl_metrics all;  /* over all values that were compared */
    size_t n_config; /* fields in which the configurations differ; none when either has none */
    bl_config_difference config[BL_CONFIG_MAX_DIFFERENCES];
} bl_comparison;

typedef struct bl_compare_options {
    int n_threads;
    bool structure_only;   /* read no values: nothing is among compared */
    bl_progress *progress; /* gets bytes of ref as they are done; may be NULL */
} bl_compare_options;

BL_MUST_USE bl_status bl_compare_run(bl_comparison *out, const bl_ckpt *ref, const bl_ckpt *test,
                                     const bl_compare_options *options, struct bl_err *err);
void bl_compare_release(bl_comparison *comparison);

/* No tensor missing, extra (MTP aside), of another shape or damaged. Says nothing of n_config. */
bool bl_compare_same_structure(const bl_comparison *comparison);

#endif
