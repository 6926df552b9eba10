/* stats_site.c - see stats_site.h: two tables. */
#include "formats/stats/stats_site.h"

#include <stddef.h>
#include <string.h>

static const char *const site_names[BL_SITE_COUNT] = {
    [BL_SITE_ATTENTION_INPUT] = "attention_input",
    [BL_SITE_QUERY_LATENT] = "query_latent",
    [BL_SITE_KEY_LATENT] = "key_latent",
    [BL_SITE_QUERY_NOPE] = "query_nope",
    [BL_SITE_VALUE_LATENT] = "value_latent",
    [BL_SITE_ATTENTION_HEADS] = "attention_heads",
    [BL_SITE_FFN_INPUT] = "ffn_input",
    [BL_SITE_FFN_INNER] = "ffn_inner",
    [BL_SITE_EXPERT_INPUT] = "expert_input",
    [BL_SITE_EXPERT_INNER] = "expert_inner",
    [BL_SITE_EXPERTS_INPUT] = "experts_input",
    [BL_SITE_EXPERTS_INNER] = "experts_inner",
    [BL_SITE_FINAL] = "final",
};

#define BIT(site) (1u << BL_SITE_##site)
#define LATENT    (BIT(KEY_LATENT) | BIT(QUERY_NOPE) | BIT(VALUE_LATENT))

static const bl_stats_tensor tensors[] = {
    { "self_attn.q_proj.weight", "attn_q.weight", BL_SITE_ATTENTION_INPUT, 0, 0,
      BIT(QUERY_LATENT) },
    { "self_attn.k_proj.weight", "attn_k.weight", BL_SITE_ATTENTION_INPUT, 0, 0, LATENT },
    { "self_attn.v_proj.weight", "attn_v.weight", BL_SITE_ATTENTION_INPUT, 0, 0, LATENT },
    { "self_attn.q_a_proj.weight", "attn_q_a.weight", BL_SITE_ATTENTION_INPUT, 0, BIT(QUERY_LATENT),
      0 },
    { "self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight", BL_SITE_ATTENTION_INPUT,
      LATENT, 0, 0 },
    { "self_attn.q_b_proj.weight", "attn_q_b.weight", BL_SITE_QUERY_LATENT, 0, 0, 0 },
    { "self_attn.kv_b_proj.weight", "attn_kv_b.weight", BL_SITE_KEY_LATENT, 0, 0, 0 },
    { NULL, "attn_k_b.weight", BL_SITE_QUERY_NOPE, 0, 0, 0 },
    { NULL, "attn_v_b.weight", BL_SITE_VALUE_LATENT, 0, 0, 0 },
    { "self_attn.o_proj.weight", "attn_output.weight", BL_SITE_ATTENTION_HEADS, 0, 0, 0 },
    { "mlp.gate.weight", "ffn_gate_inp.weight", BL_SITE_FFN_INPUT, 0, BIT(EXPERT_INPUT), 0 },
    { "mlp.gate_proj.weight", "ffn_gate.weight", BL_SITE_FFN_INPUT, 0, 0, BIT(EXPERT_INPUT) },
    { "mlp.up_proj.weight", "ffn_up.weight", BL_SITE_FFN_INPUT, 0, 0, BIT(EXPERT_INPUT) },
    { "mlp.down_proj.weight", "ffn_down.weight", BL_SITE_FFN_INNER, 0, 0, BIT(EXPERT_INPUT) },
    { "mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight", BL_SITE_FFN_INPUT, 0,
      BIT(EXPERT_INPUT) | BIT(FFN_INNER), 0 },
    { "mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight", BL_SITE_FFN_INPUT, 0,
      BIT(EXPERT_INPUT) | BIT(FFN_INNER), 0 },
    { "mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight", BL_SITE_FFN_INNER, 0,
      BIT(EXPERT_INPUT), 0 },
    { "mlp.experts.{E}.gate_proj.weight", "ffn_gate_exps.weight", BL_SITE_EXPERT_INPUT, 0, 0, 0 },
    { "mlp.experts.{E}.up_proj.weight", "ffn_up_exps.weight", BL_SITE_EXPERT_INPUT, 0, 0, 0 },
    { "mlp.experts.{E}.down_proj.weight", "ffn_down_exps.weight", BL_SITE_EXPERT_INNER, 0, 0, 0 },
    { "lm_head.weight", "output.weight", BL_SITE_FINAL, 0, 0, 0 },
};

enum { N_TENSORS = sizeof(tensors) / sizeof(*tensors) };

const char *bl_stats_site_name(bl_stats_site site)
{
    return site_names[site];
}

bool bl_stats_site_by_name(bl_stats_site *out, const char *name)
{
    for (int i = 0; i < BL_SITE_COUNT; i++)
        if (strcmp(site_names[i], name) == 0) {
            *out = (bl_stats_site)i;
            return true;
        }
    return false;
}

static bl_stats_shape one_row(uint64_t n_cols)
{
    return (bl_stats_shape){ n_cols > 0, n_cols };
}

/* In a layer, dense or with experts, whose attention is of either kind. */
static bl_stats_shape layer_shape(const bl_config *c, bl_stats_site site, bool moe)
{
    const uint64_t heads = c->n_heads, hidden = c->hidden_size, width = c->moe_intermediate_size;
    const bl_stats_shape none = { 0, 0 };
    const bool mla = c->kv_lora_rank > 0;

    switch (site) {
    case BL_SITE_ATTENTION_INPUT:
    case BL_SITE_FFN_INPUT:
        return one_row(hidden);
    case BL_SITE_QUERY_LATENT:
        return mla ? one_row(c->q_lora_rank) : none;
    case BL_SITE_KEY_LATENT:
        return one_row(c->kv_lora_rank);
    case BL_SITE_QUERY_NOPE:
        return mla ? one_row(heads * c->qk_nope_head_dim) : none;
    case BL_SITE_VALUE_LATENT:
        return one_row(heads * c->kv_lora_rank);
    case BL_SITE_ATTENTION_HEADS:
        return one_row(heads * (mla ? c->v_head_dim : c->head_dim));
    case BL_SITE_FFN_INNER:
        return one_row(moe ? c->n_shared_experts * width : c->intermediate_size);
    case BL_SITE_EXPERT_INPUT:
        return moe ? (bl_stats_shape){ c->n_experts, hidden } : none;
    case BL_SITE_EXPERT_INNER:
        return moe ? (bl_stats_shape){ c->n_experts, width } : none;
    case BL_SITE_EXPERTS_INPUT:
        return moe ? one_row(hidden) : none;
    case BL_SITE_EXPERTS_INNER:
        return moe ? one_row(width) : none;
    case BL_SITE_FINAL:
    case BL_SITE_COUNT:
        break;
    }
    return none;
}

bl_stats_shape bl_stats_site_shape(const bl_config *c, bl_stats_site site, uint32_t layer)
{
    if (layer >= c->n_layers)
        return one_row(site == BL_SITE_FINAL ? c->hidden_size : 0);
    return layer_shape(c, site, bl_config_layer_is_moe(c, layer));
}

const bl_stats_tensor *bl_stats_tensors(size_t *n)
{
    *n = N_TENSORS;
    return tensors;
}

const bl_stats_tensor *bl_stats_tensor_by_row(const char *row_name)
{
    static const char layer[] = "model.layers.{L}.";
    const char *name = row_name;

    if (strncmp(name, layer, sizeof(layer) - 1) == 0)
        name += sizeof(layer) - 1;
    for (size_t i = 0; i < N_TENSORS; i++)
        if (tensors[i].name && strcmp(tensors[i].name, name) == 0)
            return &tensors[i];
    return NULL;
}

const bl_stats_tensor *bl_stats_tensor_by_gguf(const char *gguf_name, int32_t *layer)
{
    const char *p = gguf_name;
    int32_t number = -1;

    if (strncmp(p, "blk.", 4) == 0) {
        p += 4;
        if (*p < '0' || *p > '9' || (*p == '0' && p[1] != '.'))
            return NULL;
        for (number = 0; *p >= '0' && *p <= '9'; p++) {
            if (number > 99999)
                return NULL;
            number = number * 10 + (*p - '0');
        }
        if (*p++ != '.')
            return NULL;
    }
    *layer = number;
    for (size_t i = 0; i < N_TENSORS; i++)
        if (strcmp(tensors[i].gguf, p) == 0 && (tensors[i].site == BL_SITE_FINAL) == (number < 0))
            return &tensors[i];
    return NULL;
}
