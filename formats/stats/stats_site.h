/*
 * stats_site.h - the places in the network whose activations statistics are about, and which tensor
 * meets which of them.
 *
 * A linear tensor multiplies an activation; what is known of it is the mean square of each of its
 * channels, E[x_j^2]. Tensors that meet the same activation (gate and up, q_a and kv_a) share one.
 */
#ifndef BL_FORMATS_STATS_SITE_H
#define BL_FORMATS_STATS_SITE_H

#include "formats/arch/config.h"

#include <stdbool.h>
#include <stdint.h>

/* The order is that of the file (docs/format-stats.md). Shapes: rows x channels. */
typedef enum bl_stats_site {
    BL_SITE_ATTENTION_INPUT, /* 1 x hidden: of q_a, q, kv_a, k, v */
    BL_SITE_QUERY_LATENT,    /* 1 x q_lora: of q_b */
    BL_SITE_KEY_LATENT,      /* 1 x kv_lora: of kv_b */
    BL_SITE_QUERY_NOPE,      /* 1 x heads * nope: what GGUF's k_b meets in the absorbed form */
    BL_SITE_VALUE_LATENT, /* 1 x heads * kv_lora: what v_b meets there: sum_t p_t c_t of a head */
    BL_SITE_ATTENTION_HEADS, /* 1 x heads * v: of o_proj */
    BL_SITE_FFN_INPUT,       /* 1 x hidden: of gate and up, dense or shared, and the router */
    BL_SITE_FFN_INNER,       /* 1 x width: of down, dense or shared */
    BL_SITE_EXPERT_INPUT,    /* experts x hidden: of each routed expert's gate and up */
    BL_SITE_EXPERT_INNER,    /* experts x width: of its down */
    BL_SITE_EXPERTS_INPUT,   /* 1 x hidden: over all pairs of a token and an expert it chose */
    BL_SITE_EXPERTS_INNER,   /* 1 x width: the same */
    BL_SITE_FINAL,           /* 1 x hidden: of the output head; not in a layer */
    BL_SITE_COUNT
} bl_stats_site;

typedef struct bl_stats_shape {
    uint64_t n_rows, n_cols; /* n_rows 0: there is none */
} bl_stats_shape;

/* "attention_input": as in the file. */
const char *bl_stats_site_name(bl_stats_site site);
bool bl_stats_site_by_name(bl_stats_site *out, const char *name);

/*
 * What the network has at this site in this layer (outside the layers: layer = n_layers).
 */
bl_stats_shape bl_stats_site_shape(const bl_config *config, bl_stats_site site, uint32_t layer);

/*
 * A tensor and its site. Names are what follows "model.layers.{L}." and "blk.{L}.", or all of the
 * name outside the layers; NULL: one side has no such tensor.
 */
typedef struct bl_stats_tensor {
    const char *name, *gguf;
    bl_stats_site site;
    /* of sites, bits: the tensor exists in a layer that has one of any, all of all, none of none */
    uint32_t any, all, none;
} bl_stats_tensor;

const bl_stats_tensor *bl_stats_tensors(size_t *n);
/* By a row's name of formats/arch, and by a name in a GGUF file with its layer (-1: outside). */
const bl_stats_tensor *bl_stats_tensor_by_row(const char *row_name);
const bl_stats_tensor *bl_stats_tensor_by_gguf(const char *gguf_name, int32_t *layer);

#endif
