/*
 * config.h - the shape of a network, read from config.json or from GGUF metadata.
 *
 * Everything that differs between members of a family is data here: no q_lora (0), one group,
 * a softmax router, 384 experts. Field names follow config.json. Facts only: what the network
 * does with them is model/'s business.
 */
#ifndef BL_FORMATS_CONFIG_H
#define BL_FORMATS_CONFIG_H

#include "base/err.h"
#include "formats/arch/quantization.h"
#include "formats/json/json.h"

#include <stdbool.h>
#include <stdint.h>

struct bl_arch; /* arch.h */

typedef enum bl_rope_scaling {
    BL_ROPE_PLAIN,
    BL_ROPE_LINEAR,
    BL_ROPE_YARN,
    BL_ROPE_LLAMA3,
    BL_ROPE_DIVISORS /* of each frequency, as GGUF keeps the former */
} bl_rope_scaling;
typedef enum bl_router_scoring { BL_ROUTER_SOFTMAX, BL_ROUTER_SIGMOID } bl_router_scoring;

typedef struct bl_config {
    const struct bl_arch *arch; /* the family's table */

    uint32_t vocab_size;
    uint32_t hidden_size;
    uint32_t n_layers;          /* without MTP layers */
    uint32_t n_mtp_layers;      /* num_nextn_predict_layers; they follow as layers n_layers .. */
    uint32_t intermediate_size; /* of the dense MLP */
    uint32_t max_position_embeddings;
    double rms_norm_eps;
    double latent_norm_eps; /* of q_a_layernorm and kv_a_layernorm: 1e-6 in the published code */
    bool tie_word_embeddings;
    int64_t bos_token_id, eos_token_id; /* -1 = none */

    /* attention */
    uint32_t n_heads, n_kv_heads;
    uint32_t head_dim; /* GQA: of q, k and v; 0 for MLA */
    bool qkv_bias;
    /* multi-head latent attention: kv_lora_rank > 0 */
    uint32_t q_lora_rank; /* 0 = q_proj instead of q_a_proj, q_b_proj */
    uint32_t kv_lora_rank;
    uint32_t qk_nope_head_dim, qk_rope_head_dim, v_head_dim;

    /* rotary embedding */
    double rope_theta;
    bl_rope_scaling rope_scaling;
    bool rope_interleaved; /* pairs (2i, 2i+1); else (i, i + dim/2) */
    double rope_factor;
    double rope_original_context; /* original_max_position_embeddings */
    double yarn_beta_fast, yarn_beta_slow, yarn_mscale, yarn_mscale_all_dim;
    double llama3_low_freq_factor, llama3_high_freq_factor;
    const float *rope_divisors; /* head_dim / 2, of the checkpoint's memory; NULL: not DIVISORS */

    /* mixture of experts: n_experts > 0 */
    uint32_t n_experts, n_experts_used, n_shared_experts;
    uint32_t moe_intermediate_size;
    uint32_t first_k_dense; /* layers before this one are dense */
    uint32_t moe_layer_freq;
    uint32_t n_group, topk_group;
    double routed_scaling_factor;
    bool norm_topk_prob;
    bool router_bias; /* e_score_correction_bias takes part in the selection */
    bl_router_scoring scoring;

    bl_quantization quantization; /* how the directory stores matrices */
} bl_config;

/*
 * Read a config.json (name: for sentences). BL_E_UNSUPPORTED for a family or a feature that no
 * table describes; BL_E_FORMAT for a field that is missing, of the wrong type or absurd.
 */
BL_MUST_USE bl_status bl_config_parse(bl_config *out, const char *name, const bl_json *json,
                                      struct bl_err *err);

/* Whether a layer (0 .. n_layers + n_mtp_layers - 1) has experts; MTP layers do when the last layer does. */
bool bl_config_layer_is_moe(const bl_config *config, uint32_t layer);

#endif
