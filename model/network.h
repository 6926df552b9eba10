/*
 * network.h - what follows from a configuration: the constants of the forward pass.
 *
 * bl_config holds facts as the file states them; this is what the network does with them, so that
 * the steps need no rule of any family. Equations: docs/model-deepseek.md. A configuration that the
 * steps cannot run is refused here, once, with a sentence.
 *
 * Read-only after init: threads may share it.
 */
#ifndef BL_MODEL_NETWORK_H
#define BL_MODEL_NETWORK_H

#include "base/err.h"
#include "formats/arch/config.h"

#include <stdbool.h>
#include <stdint.h>

enum { BL_ROPE_MAX_PAIRS = 512 };

typedef struct bl_network {
    const bl_config *config; /* borrowed */

    /* attention, per head: q and k are qk_dim wide, the last rope_dim of them rotated */
    bool mla;
    uint32_t qk_dim, rope_dim, v_dim;
    uint32_t n_heads, n_kv_heads, heads_per_kv; /* MLA: every head has its own k and v */
    float softmax_scale;

    /* rotary embedding: pair i turns by position * inv_freq[i]; cos and sin times magnitude */
    double inv_freq[BL_ROPE_MAX_PAIRS]; /* rope_dim / 2 of them */
    double rope_magnitude;

    float norm_eps, latent_norm_eps;
} bl_network;

/* Fails with BL_E_UNSUPPORTED. config must outlive the network. */
BL_MUST_USE bl_status bl_network_init(bl_network *out, const bl_config *config, struct bl_err *err);

/* YaRN's temperature: 0.1 m ln(factor) + 1, or 1 when factor <= 1. */
double bl_yarn_mscale(double factor, double m);

#endif
