/*
 * gguf_put_config.c - what llama.cpp's loader wants to know of a network, type by type.
 *
 * Latent attention is described as the absorbed form sees it: one KV head whose key is latent +
 * rotary and whose value is the latent part; the *_mla keys carry the lengths of a head.
 */
#include "formats/gguf/gguf_metadata.h"

#include "formats/arch/arch.h"
#include "formats/gguf/gguf_reader.h"

#include <stdio.h>
#include <string.h>

enum { KEY_BYTES = 128, QUANTIZATION_VERSION = 2 };

static const char file_type_key[] = "general.file_type";
static const char version_key[] = "general.quantization_version";

/* The writer and the architecture's name, which begins every key of a network. */
struct keys {
    bl_gguf_writer *w;
    const char *arch;
    char key[KEY_BYTES];
};

static const char *spell(struct keys *k, const char *suffix)
{
    snprintf(k->key, sizeof(k->key), "%s.%s", k->arch, suffix);
    return k->key;
}

static void put_u32(struct keys *k, const char *suffix, uint64_t v)
{
    bl_gguf_put_u32(k->w, spell(k, suffix), (uint32_t)v);
}

static void put_f32(struct keys *k, const char *suffix, double v)
{
    bl_gguf_put_f32(k->w, spell(k, suffix), (float)v);
}

static void put_string(struct keys *k, const char *suffix, const char *v)
{
    bl_gguf_put_string(k->w, spell(k, suffix), v, strlen(v));
}

static void put_attention(struct keys *k, const bl_config *c)
{
    put_u32(k, "attention.head_count", c->n_heads);
    put_f32(k, "attention.layer_norm_rms_epsilon", c->rms_norm_eps);
    if (c->kv_lora_rank == 0) {
        put_u32(k, "attention.head_count_kv", c->n_kv_heads);
        if (c->head_dim * c->n_heads != c->hidden_size) {
            put_u32(k, "attention.key_length", c->head_dim);
            put_u32(k, "attention.value_length", c->head_dim);
        }
        put_u32(k, "rope.dimension_count", c->head_dim);
        return;
    }
    put_u32(k, "attention.head_count_kv", 1);
    if (c->q_lora_rank > 0)
        put_u32(k, "attention.q_lora_rank", c->q_lora_rank);
    put_u32(k, "attention.kv_lora_rank", c->kv_lora_rank);
    put_u32(k, "attention.key_length", (uint64_t)c->kv_lora_rank + c->qk_rope_head_dim);
    put_u32(k, "attention.value_length", c->kv_lora_rank);
    put_u32(k, "attention.key_length_mla", (uint64_t)c->qk_nope_head_dim + c->qk_rope_head_dim);
    put_u32(k, "attention.value_length_mla", c->v_head_dim);
    put_u32(k, "rope.dimension_count", c->qk_rope_head_dim);
}

static bl_status put_rope(struct keys *k, const bl_config *c, struct bl_err *err)
{
    bool plain;

    put_f32(k, "rope.freq_base", c->rope_theta);
    switch (c->rope_scaling) {
    case BL_ROPE_PLAIN:
    case BL_ROPE_LLAMA3: /* a tensor says it: BL_ROPE_TENSOR */
    case BL_ROPE_DIVISORS:
        return BL_OK;
    case BL_ROPE_YARN:
        break;
    case BL_ROPE_LINEAR:
        put_string(k, "rope.scaling.type", "linear");
        put_f32(k, "rope.scaling.factor", c->rope_factor);
        return BL_OK;
    }
    /* Grouped queries without mscale_all_dim: the paper's temperature, and the loader's default. */
    plain = c->kv_lora_rank == 0 && c->yarn_mscale_all_dim == 0;
    if (c->yarn_mscale != c->yarn_mscale_all_dim && !plain)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "YaRN with mscale other than mscale_all_dim is not written to GGUF");
    put_string(k, "rope.scaling.type", "yarn");
    put_f32(k, "rope.scaling.factor", c->rope_factor);
    put_u32(k, "rope.scaling.original_context_length", (uint64_t)c->rope_original_context);
    put_f32(k, "rope.scaling.yarn_beta_fast", c->yarn_beta_fast);
    put_f32(k, "rope.scaling.yarn_beta_slow", c->yarn_beta_slow);
    /* The loader divides by the 0.1 of the YaRN paper's 0.1 ln(s) + 1. */
    if (!plain)
        put_f32(k, "rope.scaling.yarn_log_multiplier", 0.1 * c->yarn_mscale_all_dim);
    return BL_OK;
}

static void put_experts(struct keys *k, const bl_config *c)
{
    put_u32(k, "leading_dense_block_count", c->first_k_dense);
    put_u32(k, "expert_count", c->n_experts);
    put_u32(k, "expert_used_count", c->n_experts_used);
    put_u32(k, "expert_shared_count", c->n_shared_experts);
    put_u32(k, "expert_feed_forward_length", c->moe_intermediate_size);
    if (c->n_group > 1) {
        put_u32(k, "expert_group_count", c->n_group);
        put_u32(k, "expert_group_used_count", c->topk_group);
    }
    put_f32(k, "expert_weights_scale", c->routed_scaling_factor);
    bl_gguf_put_bool(k->w, spell(k, "expert_weights_norm"), c->norm_topk_prob);
    put_u32(k, "expert_gating_func", c->scoring == BL_ROUTER_SIGMOID ? 2 : 1);
}

bl_status bl_gguf_put_config(bl_gguf_writer *w, const bl_config *c, bl_gguf_file_type file_type,
                             bool keeps_mtp, struct bl_err *err)
{
    struct keys k = { .w = w, .arch = c->arch->gguf_name };

    bl_gguf_put_string(w, "general.architecture", k.arch, strlen(k.arch));
    bl_gguf_put_string(w, "general.type", "model", 5);
    bl_gguf_put_u32(w, file_type_key, (uint32_t)file_type);
    bl_gguf_put_u32(w, version_key, QUANTIZATION_VERSION);
    put_u32(&k, "block_count", c->n_layers + (keeps_mtp ? c->n_mtp_layers : 0));
    if (keeps_mtp)
        put_u32(&k, "nextn_predict_layers", c->n_mtp_layers);
    put_u32(&k, "context_length", c->max_position_embeddings);
    put_u32(&k, "embedding_length", c->hidden_size);
    put_u32(&k, "feed_forward_length", c->intermediate_size);
    put_u32(&k, "vocab_size", c->vocab_size);
    put_attention(&k, c);
    if (c->n_experts > 0)
        put_experts(&k, c);
    return put_rope(&k, c, err);
}

void bl_gguf_put_metadata_of(bl_gguf_writer *w, const bl_container *gguf,
                             bl_gguf_file_type file_type)
{
    const bl_gguf_meta *meta = bl_gguf_meta_of(gguf);
    const bool same = file_type == BL_GGUF_FILE_SAME;

    for (size_t i = 0; i < bl_gguf_n_kv(meta); i++) {
        const bl_gguf_kv *kv = bl_gguf_kv_at(meta, i);

        if (strcmp(kv->key, "general.alignment") == 0 || strncmp(kv->key, "split.", 6) == 0)
            continue; /* the writer's business */
        if (!same && strcmp(kv->key, file_type_key) == 0)
            bl_gguf_put_u32(w, file_type_key, (uint32_t)file_type);
        else if (!same && strcmp(kv->key, version_key) == 0)
            bl_gguf_put_u32(w, version_key, QUANTIZATION_VERSION);
        else
            bl_gguf_put_kv(w, kv);
    }
    if (same)
        return;
    if (!bl_gguf_find(meta, file_type_key))
        bl_gguf_put_u32(w, file_type_key, (uint32_t)file_type);
    if (!bl_gguf_find(meta, version_key))
        bl_gguf_put_u32(w, version_key, QUANTIZATION_VERSION);
}
