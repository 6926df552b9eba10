/*
 * arch.c - the families' tables, and the four questions asked of them: a dimension, whether a
 * tensor belongs into a layer, which row a name matches, what a pattern expands to.
 *
 * A family is added by adding a table here and its model_type below; no other code names one.
 */
#include "formats/arch/arch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LAYER "model.layers.{L}."
#define BLK   "blk.{L}."

/* What every family here shares. */
#define COMMON_ROWS                                                                                \
    { "model.embed_tokens.weight",                                                                 \
      "token_embd.weight",                                                                         \
      BL_ROLE_EMBEDDING,                                                                           \
      BL_ONCE,                                                                                     \
      BL_ALWAYS,                                                                                   \
      BL_DIM_VOCAB,                                                                                \
      BL_DIM_HIDDEN,                                                                               \
      BL_LAYOUT_SAME },                                                                            \
        { "model.norm.weight", "output_norm.weight", BL_ROLE_NORM, BL_ONCE,                        \
          BL_ALWAYS,           BL_DIM_HIDDEN,        BL_DIM_1,     BL_LAYOUT_SAME },               \
        { "lm_head.weight", "output.weight", BL_ROLE_HEAD,  BL_ONCE,                               \
          BL_WHEN_UNTIED,   BL_DIM_VOCAB,    BL_DIM_HIDDEN, BL_LAYOUT_SAME },                      \
        { LAYER "input_layernorm.weight",                                                          \
          BLK "attn_norm.weight",                                                                  \
          BL_ROLE_NORM,                                                                            \
          BL_ALL_LAYERS,                                                                           \
          BL_ALWAYS,                                                                               \
          BL_DIM_HIDDEN,                                                                           \
          BL_DIM_1,                                                                                \
          BL_LAYOUT_SAME },                                                                        \
        { LAYER "post_attention_layernorm.weight",                                                 \
          BLK "ffn_norm.weight",                                                                   \
          BL_ROLE_NORM,                                                                            \
          BL_ALL_LAYERS,                                                                           \
          BL_ALWAYS,                                                                               \
          BL_DIM_HIDDEN,                                                                           \
          BL_DIM_1,                                                                                \
          BL_LAYOUT_SAME },                                                                        \
        { LAYER "mlp.gate_proj.weight",                                                            \
          BLK "ffn_gate.weight",                                                                   \
          BL_ROLE_DENSE_MLP,                                                                       \
          BL_DENSE_LAYERS,                                                                         \
          BL_ALWAYS,                                                                               \
          BL_DIM_FFN,                                                                              \
          BL_DIM_HIDDEN,                                                                           \
          BL_LAYOUT_SAME },                                                                        \
        { LAYER "mlp.up_proj.weight",                                                              \
          BLK "ffn_up.weight",                                                                     \
          BL_ROLE_DENSE_MLP,                                                                       \
          BL_DENSE_LAYERS,                                                                         \
          BL_ALWAYS,                                                                               \
          BL_DIM_FFN,                                                                              \
          BL_DIM_HIDDEN,                                                                           \
          BL_LAYOUT_SAME },                                                                        \
    {                                                                                              \
        LAYER "mlp.down_proj.weight", BLK "ffn_down.weight", BL_ROLE_DENSE_MLP, BL_DENSE_LAYERS,   \
            BL_ALWAYS, BL_DIM_HIDDEN, BL_DIM_FFN, BL_LAYOUT_SAME                                   \
    }

/* Attention of the grouped-query families; the layout of q and k differs. */
#define GQA_ROWS(q_k_layout)                                                                       \
    { LAYER "self_attn.q_proj.weight",                                                             \
      BLK "attn_q.weight",                                                                         \
      BL_ROLE_ATTENTION,                                                                           \
      BL_ALL_LAYERS,                                                                               \
      BL_ALWAYS,                                                                                   \
      BL_DIM_Q,                                                                                    \
      BL_DIM_HIDDEN,                                                                               \
      q_k_layout },                                                                                \
        { LAYER "self_attn.k_proj.weight",                                                         \
          BLK "attn_k.weight",                                                                     \
          BL_ROLE_ATTENTION,                                                                       \
          BL_ALL_LAYERS,                                                                           \
          BL_ALWAYS,                                                                               \
          BL_DIM_KV,                                                                               \
          BL_DIM_HIDDEN,                                                                           \
          q_k_layout },                                                                            \
        { LAYER "self_attn.v_proj.weight",                                                         \
          BLK "attn_v.weight",                                                                     \
          BL_ROLE_ATTENTION,                                                                       \
          BL_ALL_LAYERS,                                                                           \
          BL_ALWAYS,                                                                               \
          BL_DIM_KV,                                                                               \
          BL_DIM_HIDDEN,                                                                           \
          BL_LAYOUT_SAME },                                                                        \
        { LAYER "self_attn.q_proj.bias",                                                           \
          BLK "attn_q.bias",                                                                       \
          BL_ROLE_ATTENTION,                                                                       \
          BL_ALL_LAYERS,                                                                           \
          BL_WHEN_QKV_BIAS,                                                                        \
          BL_DIM_Q,                                                                                \
          BL_DIM_1,                                                                                \
          q_k_layout },                                                                            \
        { LAYER "self_attn.k_proj.bias",                                                           \
          BLK "attn_k.bias",                                                                       \
          BL_ROLE_ATTENTION,                                                                       \
          BL_ALL_LAYERS,                                                                           \
          BL_WHEN_QKV_BIAS,                                                                        \
          BL_DIM_KV,                                                                               \
          BL_DIM_1,                                                                                \
          q_k_layout },                                                                            \
        { LAYER "self_attn.v_proj.bias",                                                           \
          BLK "attn_v.bias",                                                                       \
          BL_ROLE_ATTENTION,                                                                       \
          BL_ALL_LAYERS,                                                                           \
          BL_WHEN_QKV_BIAS,                                                                        \
          BL_DIM_KV,                                                                               \
          BL_DIM_1,                                                                                \
          BL_LAYOUT_SAME },                                                                        \
    {                                                                                              \
        LAYER "self_attn.o_proj.weight", BLK "attn_output.weight", BL_ROLE_ATTENTION,              \
            BL_ALL_LAYERS, BL_ALWAYS, BL_DIM_HIDDEN, BL_DIM_Q, BL_LAYOUT_SAME                      \
    }

static const bl_arch_row deepseek_rows[] = {
    COMMON_ROWS,
    /* multi-head latent attention */
    { LAYER "self_attn.q_proj.weight", BLK "attn_q.weight", BL_ROLE_ATTENTION, BL_ALL_LAYERS,
      BL_WHEN_NO_Q_LORA, BL_DIM_Q_MLA, BL_DIM_HIDDEN, BL_LAYOUT_SAME },
    { LAYER "self_attn.q_a_proj.weight", BLK "attn_q_a.weight", BL_ROLE_ATTENTION, BL_ALL_LAYERS,
      BL_WHEN_Q_LORA, BL_DIM_Q_LORA, BL_DIM_HIDDEN, BL_LAYOUT_SAME },
    { LAYER "self_attn.q_a_layernorm.weight", BLK "attn_q_a_norm.weight", BL_ROLE_NORM,
      BL_ALL_LAYERS, BL_WHEN_Q_LORA, BL_DIM_Q_LORA, BL_DIM_1, BL_LAYOUT_SAME },
    { LAYER "self_attn.q_b_proj.weight", BLK "attn_q_b.weight", BL_ROLE_ATTENTION, BL_ALL_LAYERS,
      BL_WHEN_Q_LORA, BL_DIM_Q_MLA, BL_DIM_Q_LORA, BL_LAYOUT_SAME },
    { LAYER "self_attn.kv_a_proj_with_mqa.weight", BLK "attn_kv_a_mqa.weight", BL_ROLE_ATTENTION,
      BL_ALL_LAYERS, BL_ALWAYS, BL_DIM_KV_A, BL_DIM_HIDDEN, BL_LAYOUT_SAME },
    { LAYER "self_attn.kv_a_layernorm.weight", BLK "attn_kv_a_norm.weight", BL_ROLE_NORM,
      BL_ALL_LAYERS, BL_ALWAYS, BL_DIM_KV_LORA, BL_DIM_1, BL_LAYOUT_SAME },
    { LAYER "self_attn.kv_b_proj.weight",
      BLK "attn_k_b.weight|" BLK "attn_v_b.weight|" BLK "attn_kv_b.weight", BL_ROLE_ATTENTION,
      BL_ALL_LAYERS, BL_ALWAYS, BL_DIM_KV_B, BL_DIM_KV_LORA, BL_LAYOUT_KV_B },
    { LAYER "self_attn.o_proj.weight", BLK "attn_output.weight", BL_ROLE_ATTENTION, BL_ALL_LAYERS,
      BL_ALWAYS, BL_DIM_HIDDEN, BL_DIM_O_MLA, BL_LAYOUT_SAME },
    /* mixture of experts */
    { LAYER "mlp.gate.weight", BLK "ffn_gate_inp.weight", BL_ROLE_ROUTER, BL_MOE_LAYERS, BL_ALWAYS,
      BL_DIM_EXPERTS, BL_DIM_HIDDEN, BL_LAYOUT_SAME },
    { LAYER "mlp.gate.e_score_correction_bias", BLK "exp_probs_b.bias", BL_ROLE_ROUTER,
      BL_MOE_LAYERS, BL_WHEN_ROUTER_BIAS, BL_DIM_EXPERTS, BL_DIM_1, BL_LAYOUT_SAME },
    { LAYER "mlp.experts.{E}.gate_proj.weight", BLK "ffn_gate_exps.weight", BL_ROLE_EXPERT,
      BL_MOE_LAYERS, BL_ALWAYS, BL_DIM_EXPERT_FFN, BL_DIM_HIDDEN, BL_LAYOUT_STACK },
    { LAYER "mlp.experts.{E}.up_proj.weight", BLK "ffn_up_exps.weight", BL_ROLE_EXPERT,
      BL_MOE_LAYERS, BL_ALWAYS, BL_DIM_EXPERT_FFN, BL_DIM_HIDDEN, BL_LAYOUT_STACK },
    { LAYER "mlp.experts.{E}.down_proj.weight", BLK "ffn_down_exps.weight", BL_ROLE_EXPERT,
      BL_MOE_LAYERS, BL_ALWAYS, BL_DIM_HIDDEN, BL_DIM_EXPERT_FFN, BL_LAYOUT_STACK },
    { LAYER "mlp.shared_experts.gate_proj.weight", BLK "ffn_gate_shexp.weight",
      BL_ROLE_SHARED_EXPERT, BL_MOE_LAYERS, BL_WHEN_SHARED, BL_DIM_SHARED_FFN, BL_DIM_HIDDEN,
      BL_LAYOUT_SAME },
    { LAYER "mlp.shared_experts.up_proj.weight", BLK "ffn_up_shexp.weight", BL_ROLE_SHARED_EXPERT,
      BL_MOE_LAYERS, BL_WHEN_SHARED, BL_DIM_SHARED_FFN, BL_DIM_HIDDEN, BL_LAYOUT_SAME },
    { LAYER "mlp.shared_experts.down_proj.weight", BLK "ffn_down_shexp.weight",
      BL_ROLE_SHARED_EXPERT, BL_MOE_LAYERS, BL_WHEN_SHARED, BL_DIM_HIDDEN, BL_DIM_SHARED_FFN,
      BL_LAYOUT_SAME },
    /* multi-token prediction */
    { LAYER "embed_tokens.weight", BLK "nextn.embed_tokens.weight", BL_ROLE_EMBEDDING,
      BL_MTP_LAYERS, BL_ALWAYS, BL_DIM_VOCAB, BL_DIM_HIDDEN, BL_LAYOUT_SAME },
    { LAYER "enorm.weight", BLK "nextn.enorm.weight", BL_ROLE_MTP, BL_MTP_LAYERS, BL_ALWAYS,
      BL_DIM_HIDDEN, BL_DIM_1, BL_LAYOUT_SAME },
    { LAYER "hnorm.weight", BLK "nextn.hnorm.weight", BL_ROLE_MTP, BL_MTP_LAYERS, BL_ALWAYS,
      BL_DIM_HIDDEN, BL_DIM_1, BL_LAYOUT_SAME },
    { LAYER "eh_proj.weight", BLK "nextn.eh_proj.weight", BL_ROLE_MTP, BL_MTP_LAYERS, BL_ALWAYS,
      BL_DIM_HIDDEN, BL_DIM_HIDDEN_2, BL_LAYOUT_SAME },
    { LAYER "shared_head.norm.weight", BLK "nextn.shared_head_norm.weight", BL_ROLE_NORM,
      BL_MTP_LAYERS, BL_ALWAYS, BL_DIM_HIDDEN, BL_DIM_1, BL_LAYOUT_SAME },
    { LAYER "shared_head.head.weight", BLK "nextn.shared_head_head.weight", BL_ROLE_HEAD,
      BL_MTP_LAYERS, BL_ALWAYS, BL_DIM_VOCAB, BL_DIM_HIDDEN, BL_LAYOUT_SAME },
};

static const bl_arch_row qwen2_rows[] = { COMMON_ROWS, GQA_ROWS(BL_LAYOUT_SAME) };
static const bl_arch_row llama_rows[] = { COMMON_ROWS, GQA_ROWS(BL_LAYOUT_ROPE_PAIRS) };

#define ROWS(table) (table), sizeof(table) / sizeof(*(table))

/* model_type, gguf_name, hf_class, rows, mla, rope_interleaved, qkv_bias, rope_divisors */
static const bl_arch archs[] = {
    { "deepseek_v3", "deepseek2", "DeepseekV3ForCausalLM", ROWS(deepseek_rows), true, true, false,
      false },
    { "deepseek_v2", "deepseek2", "DeepseekV2ForCausalLM", ROWS(deepseek_rows), true, true, false,
      false },
    { "kimi_k2", "deepseek2", "DeepseekV3ForCausalLM", ROWS(deepseek_rows), true, true, false,
      false },
    { "qwen2", "qwen2", "Qwen2ForCausalLM", ROWS(qwen2_rows), false, false, true, false },
    { "llama", "llama", "LlamaForCausalLM", ROWS(llama_rows), false, false, false, true },
};

const bl_arch *bl_arch_by_model_type(const char *model_type)
{
    for (size_t i = 0; i < sizeof(archs) / sizeof(*archs); i++)
        if (strcmp(archs[i].model_type, model_type) == 0)
            return &archs[i];
    return NULL;
}

const bl_arch *bl_arch_by_gguf_name(const char *gguf_name)
{
    for (size_t i = 0; i < sizeof(archs) / sizeof(*archs); i++)
        if (strcmp(archs[i].gguf_name, gguf_name) == 0)
            return &archs[i];
    return NULL;
}

const bl_arch *bl_arch_by_family(const char *name)
{
    const bl_arch *exact = bl_arch_by_model_type(name);

    for (size_t i = 0; !exact && *name && i < sizeof(archs) / sizeof(*archs); i++)
        if (strncmp(archs[i].model_type, name, strlen(name)) == 0)
            return &archs[i];
    return exact;
}

bool bl_role_is_exact(bl_role role)
{
    return role == BL_ROLE_NORM || role == BL_ROLE_ROUTER;
}

const char *bl_role_name(bl_role role)
{
    static const char *const names[BL_ROLE_COUNT] = {
        [BL_ROLE_EMBEDDING] = "embedding",
        [BL_ROLE_HEAD] = "output head",
        [BL_ROLE_NORM] = "norm",
        [BL_ROLE_ATTENTION] = "attention",
        [BL_ROLE_DENSE_MLP] = "dense MLP",
        [BL_ROLE_ROUTER] = "router",
        [BL_ROLE_SHARED_EXPERT] = "shared expert",
        [BL_ROLE_EXPERT] = "routed expert",
        [BL_ROLE_MTP] = "MTP projection",
        [BL_ROLE_OTHER] = "other",
    };

    assert((unsigned)role < BL_ROLE_COUNT);
    return names[role];
}

uint64_t bl_arch_dim(const bl_config *c, bl_dim dim)
{
    const uint64_t heads = c->n_heads;

    switch (dim) {
    case BL_DIM_1:
        return 1;
    case BL_DIM_VOCAB:
        return c->vocab_size;
    case BL_DIM_HIDDEN:
        return c->hidden_size;
    case BL_DIM_HIDDEN_2:
        return 2 * (uint64_t)c->hidden_size;
    case BL_DIM_FFN:
        return c->intermediate_size;
    case BL_DIM_EXPERT_FFN:
        return c->moe_intermediate_size;
    case BL_DIM_SHARED_FFN:
        return (uint64_t)c->n_shared_experts * c->moe_intermediate_size;
    case BL_DIM_EXPERTS:
        return c->n_experts;
    case BL_DIM_Q_LORA:
        return c->q_lora_rank;
    case BL_DIM_KV_LORA:
        return c->kv_lora_rank;
    case BL_DIM_KV_A:
        return (uint64_t)c->kv_lora_rank + c->qk_rope_head_dim;
    case BL_DIM_Q_MLA:
        return heads * ((uint64_t)c->qk_nope_head_dim + c->qk_rope_head_dim);
    case BL_DIM_KV_B:
        return heads * ((uint64_t)c->qk_nope_head_dim + c->v_head_dim);
    case BL_DIM_O_MLA:
        return heads * c->v_head_dim;
    case BL_DIM_Q:
        return heads * c->head_dim;
    case BL_DIM_KV:
        return (uint64_t)c->n_kv_heads * c->head_dim;
    }
    return 0;
}

static bool condition_holds(bl_when when, const bl_config *c)
{
    switch (when) {
    case BL_ALWAYS:
        return true;
    case BL_WHEN_Q_LORA:
        return c->q_lora_rank > 0;
    case BL_WHEN_NO_Q_LORA:
        return c->q_lora_rank == 0;
    case BL_WHEN_QKV_BIAS:
        return c->qkv_bias;
    case BL_WHEN_UNTIED:
        return !c->tie_word_embeddings;
    case BL_WHEN_ROUTER_BIAS:
        return c->router_bias;
    case BL_WHEN_SHARED:
        return c->n_shared_experts > 0;
    }
    return false;
}

bool bl_arch_row_applies(const bl_arch_row *row, const bl_config *c, uint32_t layer)
{
    if (!condition_holds(row->when, c))
        return false;
    switch (row->where) {
    case BL_ONCE:
    case BL_ALL_LAYERS:
        return true;
    case BL_DENSE_LAYERS:
        return !bl_config_layer_is_moe(c, layer);
    case BL_MOE_LAYERS:
        return bl_config_layer_is_moe(c, layer);
    case BL_MTP_LAYERS:
        return layer >= c->n_layers;
    }
    return false;
}

/* A decimal number without leading zeros at *s, at most 9 digits; -1 when there is none. */
static int32_t scan_number(const char **s)
{
    const char *p = *s;
    int32_t v = 0;

    if (*p == '0' && p[1] >= '0' && p[1] <= '9')
        return -1;
    while (*p >= '0' && *p <= '9' && p - *s < 9)
        v = v * 10 + (*p++ - '0');
    if (p == *s || (*p >= '0' && *p <= '9'))
        return -1;
    *s = p;
    return v;
}

static bool match_pattern(const char *pattern, const char *name, int32_t *layer, int32_t *expert)
{
    *layer = *expert = -1;
    while (*pattern) {
        if (*pattern == '{') {
            int32_t *number = pattern[1] == 'L' ? layer : expert;

            *number = scan_number(&name);
            if (*number < 0)
                return false;
            pattern += 3;
        } else if (*pattern++ != *name++) {
            return false;
        }
    }
    return *name == '\0';
}

const bl_arch_row *bl_arch_match(const bl_arch *arch, const char *name, int32_t *layer,
                                 int32_t *expert)
{
    for (size_t i = 0; i < arch->n_rows; i++)
        if (match_pattern(arch->row[i].name, name, layer, expert))
            return &arch->row[i];
    *layer = *expert = -1;
    return NULL;
}

const bl_arch_row *bl_arch_match_gguf(const bl_arch *arch, const char *gguf_name)
{
    int32_t layer, expert;

    for (size_t i = 0; i < arch->n_rows; i++)
        if (arch->row[i].gguf && match_pattern(arch->row[i].gguf, gguf_name, &layer, &expert))
            return &arch->row[i];
    return NULL;
}

bool bl_arch_expand(char *buffer, size_t n, const char *pattern, uint32_t layer, uint32_t expert)
{
    size_t at = 0;

    while (*pattern) {
        if (*pattern == '{') {
            int put = snprintf(buffer + at, n - at, "%" PRIu32, pattern[1] == 'L' ? layer : expert);

            if (put < 0 || (size_t)put >= n - at)
                return false;
            at += (size_t)put;
            pattern += 3;
            continue;
        }
        if (at + 1 >= n)
            return false;
        buffer[at++] = *pattern++;
    }
    buffer[at] = '\0';
    return true;
}

bool bl_arch_kv_b_names(const char *name[3], char *buffer, size_t n, const bl_arch_row *row,
                        uint32_t layer)
{
    char *end;

    assert(row->layout == BL_LAYOUT_KV_B);
    if (!bl_arch_expand(buffer, n, row->gguf, layer, 0))
        return false;
    for (int i = 0; i < 3; i++) {
        name[i] = buffer;
        end = strchr(buffer, '|');
        if (end)
            *end = '\0';
        buffer = end ? end + 1 : buffer;
    }
    return true;
}
