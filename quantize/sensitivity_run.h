/*
 * sensitivity_run.h - the pass of sensitivity.h: probes side by side. Internal to quantize/.
 */
#ifndef BL_QUANTIZE_SENSITIVITY_RUN_H
#define BL_QUANTIZE_SENSITIVITY_RUN_H

#include "model/head.h"
#include "quantize/sensitivity.h"

enum { BL_PROBES_AT_HEAD = BL_HEAD_MAX_MODELS - 1 }; /* beside the base */

/* What one variant perturbs: a group of rows in layers [first, end), or once outside them. */
typedef struct bl_probe {
    const bl_config *config;
    bool grouped, once;
    bl_role role; /* of the first row of the group */
    uint32_t group, first, end;
} bl_probe;

typedef struct bl_probes {
    bl_probe *probe; /* those outside the layers, then by ascending `first` */
    size_t n;
} bl_probes;

BL_MUST_USE bl_status bl_probes_make(bl_probes *out, const bl_config *config,
                                     const bl_sensitivity_options *options, struct bl_err *err);
void bl_probes_release(bl_probes *probes);

/* Whether the probe perturbs this row's tensors in this layer. */
bool bl_probe_covers(const bl_probe *probe, const bl_arch_row *row, uint32_t layer);

/* kl[probes->n]: the mean over all positions of KL(base || variant), in nats. */
BL_MUST_USE bl_status bl_probes_run(double *kl, const bl_probes *probes, const bl_ckpt *ckpt,
                                    const int32_t *tokens, uint32_t n_seqs, uint32_t n_positions,
                                    const bl_sensitivity_options *options, struct bl_err *err);

#endif
