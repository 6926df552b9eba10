/*
 * config_write.c - the inverse of config.c. Members are in alphabetical order, as transformers
 * saves them.
 */
#include "formats/arch/config_write.h"

#include "formats/arch/arch.h"
#include "formats/arch/rope.h"
#include "formats/json/json_writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The shortest decimal of the same F32; always with a point, because some loaders insist. */
static void pair_real(bl_json_writer *w, const char *key, double v)
{
    char text[40];

    for (int precision = 1; precision <= 17; precision++) {
        snprintf(text, sizeof(text), "%.*g", precision, v);
        if ((float)strtod(text, NULL) == (float)v)
            break;
    }
    if (v == floor(v) && fabs(v) < 1e15)
        snprintf(text, sizeof(text), "%.1f", v);
    bl_json_put_key(w, key);
    bl_json_put_raw(w, text);
}

static void pair_token(bl_json_writer *w, const char *key, int64_t id)
{
    if (id >= 0)
        bl_json_pair_u64(w, key, (uint64_t)id);
    else
        bl_json_pair_string(w, key, NULL);
}

static bool gives(const bl_config *llama3, const bl_config *c)
{
    for (uint32_t i = 0; i < c->head_dim / 2; i++)
        if ((float)bl_rope_divisor(llama3, i, c->head_dim) != c->rope_divisors[i])
            return false;
    return true;
}

/*
 * GGUF keeps of a llama3 scaling what it divides each frequency by. The factor is the largest of them;
 * the bounds are 1 and 4 in every published model, the original context a power of two.
 */
static bool find_llama3(bl_config *out, const bl_config *c)
{
    bl_config try = *c;

    try.rope_scaling = BL_ROPE_LLAMA3;
    try.llama3_low_freq_factor = 1;
    try.rope_factor = 1;
    for (uint32_t i = 0; i < c->head_dim / 2; i++)
        try.rope_factor = fmax(try.rope_factor, (double)c->rope_divisors[i]);
    for (uint32_t context = 4; context <= 24; context++)
        for (uint32_t high = 1; high <= 4; high++) {
            try.rope_original_context = (double)(1u << context);
            try.llama3_high_freq_factor = (double)(1u << high);
            if (gives(&try, c)) {
                *out = try;
                return true;
            }
        }
    return false;
}

static void put_scaling(bl_json_writer *w, const bl_config *c)
{
    bl_json_put_key(w, "rope_scaling");
    if (c->rope_scaling == BL_ROPE_PLAIN) {
        bl_json_put_raw(w, "null");
        return;
    }
    bl_json_begin_object(w);
    if (c->rope_scaling == BL_ROPE_YARN) {
        pair_real(w, "beta_fast", c->yarn_beta_fast);
        pair_real(w, "beta_slow", c->yarn_beta_slow);
        pair_real(w, "mscale", c->yarn_mscale);
        pair_real(w, "mscale_all_dim", c->yarn_mscale_all_dim);
    }
    if (c->rope_scaling == BL_ROPE_LLAMA3) {
        pair_real(w, "high_freq_factor", c->llama3_high_freq_factor);
        pair_real(w, "low_freq_factor", c->llama3_low_freq_factor);
    }
    pair_real(w, "factor", c->rope_factor);
    if (c->rope_scaling != BL_ROPE_LINEAR)
        bl_json_pair_u64(w, "original_max_position_embeddings", (uint64_t)c->rope_original_context);
    bl_json_pair_string(w, c->rope_scaling == BL_ROPE_LLAMA3 ? "rope_type" : "type",
                        c->rope_scaling == BL_ROPE_YARN     ? "yarn"
                        : c->rope_scaling == BL_ROPE_LINEAR ? "linear"
                                                            : "llama3");
    bl_json_end_object(w);
}

static void put_latent_attention(bl_json_writer *w, const bl_config *c)
{
    bl_json_pair_u64(w, "kv_lora_rank", c->kv_lora_rank);
    if (c->q_lora_rank > 0)
        bl_json_pair_u64(w, "q_lora_rank", c->q_lora_rank);
    else
        bl_json_pair_string(w, "q_lora_rank", NULL);
    bl_json_pair_u64(w, "qk_nope_head_dim", c->qk_nope_head_dim);
    bl_json_pair_u64(w, "qk_rope_head_dim", c->qk_rope_head_dim);
    bl_json_pair_u64(w, "v_head_dim", c->v_head_dim);
}

static void put_experts(bl_json_writer *w, const bl_config *c)
{
    bl_json_pair_u64(w, "first_k_dense_replace", c->first_k_dense);
    bl_json_pair_u64(w, "moe_intermediate_size", c->moe_intermediate_size);
    bl_json_pair_u64(w, "moe_layer_freq", c->moe_layer_freq);
    bl_json_pair_u64(w, "n_group", c->n_group);
    bl_json_pair_u64(w, "n_routed_experts", c->n_experts);
    bl_json_pair_u64(w, "n_shared_experts", c->n_shared_experts);
    bl_json_pair_bool(w, "norm_topk_prob", c->norm_topk_prob);
    bl_json_pair_u64(w, "num_experts_per_tok", c->n_experts_used);
    bl_json_pair_u64(w, "num_nextn_predict_layers", c->n_mtp_layers);
    pair_real(w, "routed_scaling_factor", c->routed_scaling_factor);
    bl_json_pair_string(w, "scoring_func", c->scoring == BL_ROUTER_SIGMOID ? "sigmoid" : "softmax");
    bl_json_pair_u64(w, "topk_group", c->topk_group);
    bl_json_pair_string(w, "topk_method",
                        c->router_bias   ? "noaux_tc"
                        : c->n_group > 1 ? "group_limited_greedy"
                                         : "greedy");
}

static void put_config(bl_json_writer *w, const bl_config *c, const char *torch_dtype)
{
    bl_json_begin_object(w);
    bl_json_put_key(w, "architectures");
    bl_json_begin_array(w);
    bl_json_put_string(w, c->arch->hf_class);
    bl_json_end_array(w);
    if (!c->arch->qkv_bias) /* a family that always has them does not say so */
        bl_json_pair_bool(w, "attention_bias", c->qkv_bias);
    pair_real(w, "attention_dropout", 0);
    pair_token(w, "bos_token_id", c->bos_token_id);
    pair_token(w, "eos_token_id", c->eos_token_id);
    if (c->head_dim > 0)
        bl_json_pair_u64(w, "head_dim", c->head_dim);
    bl_json_pair_string(w, "hidden_act", "silu");
    bl_json_pair_u64(w, "hidden_size", c->hidden_size);
    pair_real(w, "initializer_range", 0.02);
    bl_json_pair_u64(w, "intermediate_size", c->intermediate_size);
    if (c->kv_lora_rank > 0)
        put_latent_attention(w, c);
    if (c->n_experts > 0)
        put_experts(w, c);
    bl_json_pair_u64(w, "max_position_embeddings", c->max_position_embeddings);
    bl_json_pair_string(w, "model_type", c->arch->model_type);
    bl_json_pair_u64(w, "num_attention_heads", c->n_heads);
    bl_json_pair_u64(w, "num_hidden_layers", c->n_layers);
    bl_json_pair_u64(w, "num_key_value_heads", c->n_kv_heads);
    pair_real(w, "rms_norm_eps", c->rms_norm_eps);
    put_scaling(w, c);
    pair_real(w, "rope_theta", c->rope_theta);
    bl_json_pair_bool(w, "tie_word_embeddings", c->tie_word_embeddings);
    bl_json_pair_string(w, "torch_dtype", torch_dtype);
    bl_json_pair_bool(w, "use_cache", true);
    bl_json_pair_u64(w, "vocab_size", c->vocab_size);
    bl_json_end_object(w);
}

bl_status bl_config_write(bl_text *out, const bl_config *config, const char *torch_dtype,
                          struct bl_err *err)
{
    bl_json_writer w = { .text = out };
    bl_config c = *config;

    if (c.rope_scaling == BL_ROPE_DIVISORS && !find_llama3(&c, config))
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "config.json cannot say what '%s' holds: no llama3 scaling gives these "
                       "divisors",
                       BL_ROPE_TENSOR);
    put_config(&w, &c, torch_dtype);
    bl_text_puts(out, "\n");
    return bl_text_check(out, err);
}

bl_status bl_generation_config_write(bl_text *out, const bl_config *config, struct bl_err *err)
{
    bl_json_writer w = { .text = out };

    bl_json_begin_object(&w);
    bl_json_pair_bool(&w, "_from_model_config", true);
    if (config->bos_token_id >= 0)
        bl_json_pair_u64(&w, "bos_token_id", (uint64_t)config->bos_token_id);
    if (config->eos_token_id >= 0)
        bl_json_pair_u64(&w, "eos_token_id", (uint64_t)config->eos_token_id);
    bl_json_end_object(&w);
    bl_text_puts(out, "\n");
    return bl_text_check(out, err);
}
