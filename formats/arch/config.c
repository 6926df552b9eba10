/*
 * config.c - config.json to bl_config, strictly: a field that is missing, of the wrong type or
 * out of any sensible range is an error that names it. Both spellings of the rotary settings are
 * read: rope_theta + rope_scaling (published), rope_parameters (transformers 5).
 */
#include "formats/arch/config.h"

#include "formats/arch/arch.h"

#include <inttypes.h>
#include <string.h>

/* Reads fields of one object; remembers the first failure. */
struct reader {
    const char *name;
    const bl_json_value *object;
    bl_status rc;
    struct bl_err *err;
};

enum { REQUIRED = -1 };

static void complain(struct reader *r, bl_status status, const char *key, const char *what)
{
    if (r->rc == BL_OK)
        r->rc = bl_fail(r->err, status, "%s: '%s' %s", r->name, key, what);
}

/* NULL when the key is missing or null. */
static const bl_json_value *field(const struct reader *r, const char *key)
{
    const bl_json_value *v = bl_json_get(r->object, key);

    return v && bl_json_type_of(v) == BL_JSON_NULL ? NULL : v;
}

/* An integer in [least, most]; fallback REQUIRED makes the field compulsory. */
static uint32_t get_u32(struct reader *r, const char *key, uint32_t least, uint32_t most,
                        int64_t fallback)
{
    const bl_json_value *v = field(r, key);
    uint64_t u;

    if (!v && fallback != REQUIRED)
        return (uint32_t)fallback;
    if (!v) {
        complain(r, BL_E_FORMAT, key, "is missing");
        return least;
    }
    if (!bl_json_u64(&u, v) || u < least || u > most) {
        if (r->rc == BL_OK)
            r->rc = bl_fail(r->err, BL_E_FORMAT,
                            "%s: '%s' must be an integer from %" PRIu32 " to %" PRIu32, r->name,
                            key, least, most);
        return least;
    }
    return (uint32_t)u;
}

static double get_f64(struct reader *r, const char *key, double fallback)
{
    const bl_json_value *v = field(r, key);
    double d = fallback;

    if (v && (!bl_json_f64(&d, v) || d < 0)) {
        complain(r, BL_E_FORMAT, key, "must be a number that is not negative");
        return 1;
    }
    return d;
}

static bool get_bool(struct reader *r, const char *key, bool fallback)
{
    const bl_json_value *v = field(r, key);
    bool b = fallback;

    if (v && !bl_json_bool(&b, v))
        complain(r, BL_E_FORMAT, key, "must be true or false");
    return b;
}

static const char *get_string(struct reader *r, const char *key, const char *fallback)
{
    const bl_json_value *v = field(r, key);

    if (!v)
        return fallback;
    if (!bl_json_string(v)) {
        complain(r, BL_E_FORMAT, key, "must be a string");
        return fallback;
    }
    return bl_json_string(v);
}

/* A token id, or the first of a list of them (some generation configs list several ends). */
static int64_t get_token(struct reader *r, const char *key)
{
    const bl_json_value *v = field(r, key);
    uint64_t id;

    if (v && bl_json_type_of(v) == BL_JSON_ARRAY)
        v = bl_json_first(v);
    if (!v)
        return -1;
    if (!bl_json_u64(&id, v) || id > INT32_MAX) {
        complain(r, BL_E_FORMAT, key, "must be a token id");
        return -1;
    }
    return (int64_t)id;
}

static void read_rope(bl_config *c, struct reader *r)
{
    const bl_json_value *scaling = field(r, "rope_parameters");
    struct reader s = *r;
    const char *type;

    c->rope_theta = get_f64(r, "rope_theta", 10000);
    if (!scaling)
        scaling = field(r, "rope_scaling");
    if (!scaling)
        return;
    if (bl_json_type_of(scaling) != BL_JSON_OBJECT) {
        complain(r, BL_E_FORMAT, "rope_scaling", "must be an object");
        return;
    }
    s.object = scaling;
    s.rc = r->rc;
    c->rope_theta = get_f64(&s, "rope_theta", c->rope_theta);
    type = get_string(&s, "rope_type", get_string(&s, "type", "default"));
    if (strcmp(type, "default") != 0)
        c->rope_factor = get_f64(&s, "factor", 1);
    c->rope_original_context =
        get_f64(&s, "original_max_position_embeddings", c->max_position_embeddings);
    if (strcmp(type, "yarn") == 0) {
        c->rope_scaling = BL_ROPE_YARN;
        if (field(&s, "attention_factor"))
            complain(&s, BL_E_UNSUPPORTED, "attention_factor", "is not handled");
        c->yarn_beta_fast = get_f64(&s, "beta_fast", 32);
        c->yarn_beta_slow = get_f64(&s, "beta_slow", 1);
        c->yarn_mscale = get_f64(&s, "mscale", 1);
        c->yarn_mscale_all_dim = get_f64(&s, "mscale_all_dim", 0);
    } else if (strcmp(type, "llama3") == 0) {
        c->rope_scaling = BL_ROPE_LLAMA3;
        c->llama3_low_freq_factor = get_f64(&s, "low_freq_factor", 1);
        c->llama3_high_freq_factor = get_f64(&s, "high_freq_factor", 4);
    } else if (strcmp(type, "linear") == 0) {
        c->rope_scaling = BL_ROPE_LINEAR;
    } else if (strcmp(type, "default") != 0) {
        complain(&s, BL_E_UNSUPPORTED, "rope_scaling", "has a type that is not handled");
    }
    if (s.rc == BL_OK && c->rope_scaling != BL_ROPE_PLAIN && c->rope_factor < 1)
        complain(&s, BL_E_FORMAT, "factor", "of the rotary embedding must be at least 1");
    r->rc = s.rc;
}

static void read_mla(bl_config *c, struct reader *r)
{
    c->q_lora_rank = get_u32(r, "q_lora_rank", 0, 1 << 20, 0);
    c->kv_lora_rank = get_u32(r, "kv_lora_rank", 1, 1 << 20, REQUIRED);
    c->qk_nope_head_dim = get_u32(r, "qk_nope_head_dim", 1, 1 << 14, REQUIRED);
    c->qk_rope_head_dim = get_u32(r, "qk_rope_head_dim", 2, 1 << 14, REQUIRED);
    c->v_head_dim = get_u32(r, "v_head_dim", 1, 1 << 14, REQUIRED);
    c->latent_norm_eps = 1e-6; /* the class default in the published code, not in config.json */
    if (get_bool(r, "attention_bias", false))
        complain(r, BL_E_UNSUPPORTED, "attention_bias", "is not handled");
    if (c->qk_rope_head_dim % 2)
        complain(r, BL_E_FORMAT, "qk_rope_head_dim", "must be even");
}

static void read_experts(bl_config *c, struct reader *r)
{
    const char *scoring, *method;

    c->n_experts = get_u32(r, "n_routed_experts", 1, 1 << 16, 0);
    if (c->n_experts == 0)
        return;
    c->n_experts_used = get_u32(r, "num_experts_per_tok", 1, c->n_experts, REQUIRED);
    c->n_shared_experts = get_u32(r, "n_shared_experts", 0, 1 << 10, 0);
    c->moe_intermediate_size = get_u32(r, "moe_intermediate_size", 1, 1 << 22, REQUIRED);
    c->first_k_dense = get_u32(r, "first_k_dense_replace", 0, 1 << 12, 0);
    c->moe_layer_freq = get_u32(r, "moe_layer_freq", 1, 1 << 12, 1);
    c->n_group = get_u32(r, "n_group", 1, c->n_experts, 1);
    c->topk_group = get_u32(r, "topk_group", 1, c->n_group, 1);
    c->routed_scaling_factor = get_f64(r, "routed_scaling_factor", 1);
    c->norm_topk_prob = get_bool(r, "norm_topk_prob", false);
    scoring = get_string(r, "scoring_func", "softmax");
    if (strcmp(scoring, "sigmoid") == 0)
        c->scoring = BL_ROUTER_SIGMOID;
    else if (strcmp(scoring, "softmax") == 0)
        c->scoring = BL_ROUTER_SOFTMAX;
    else
        complain(r, BL_E_UNSUPPORTED, "scoring_func", "is neither 'sigmoid' nor 'softmax'");
    method = get_string(r, "topk_method", "greedy");
    c->router_bias = strcmp(method, "noaux_tc") == 0;
    if (strcmp(method, "greedy") == 0)
        c->n_group = c->topk_group = 1; /* plain top-k, whatever the groups say */
    else if (!c->router_bias)
        complain(r, BL_E_UNSUPPORTED, "topk_method", "is neither 'noaux_tc' nor 'greedy'");
    if (c->n_experts % c->n_group)
        complain(r, BL_E_FORMAT, "n_routed_experts", "does not divide into n_group groups");
    else if (c->n_experts_used > c->n_experts / c->n_group * c->topk_group)
        complain(r, BL_E_FORMAT, "num_experts_per_tok", "is more than the chosen groups hold");
}

static void read_gqa(bl_config *c, struct reader *r)
{
    c->head_dim = get_u32(r, "head_dim", 2, 1 << 14, c->n_heads ? c->hidden_size / c->n_heads : 0);
    c->qkv_bias = get_bool(r, "attention_bias", c->arch->qkv_bias);
    if (c->qkv_bias != c->arch->qkv_bias)
        complain(r, BL_E_UNSUPPORTED, "attention_bias", "is not the family's");
    if (get_f64(r, "partial_rotary_factor", 1) != 1)
        complain(r, BL_E_UNSUPPORTED, "partial_rotary_factor", "is not handled");
    if (c->n_heads % c->n_kv_heads)
        complain(r, BL_E_FORMAT, "num_attention_heads", "is no multiple of num_key_value_heads");
    if (c->head_dim == 0 || c->head_dim % 2)
        complain(r, BL_E_FORMAT, "head_dim", "must be even");
    if (get_bool(r, "mlp_bias", false))
        complain(r, BL_E_UNSUPPORTED, "mlp_bias", "is not handled");
    if (get_bool(r, "use_sliding_window", false))
        complain(r, BL_E_UNSUPPORTED, "use_sliding_window", "is not handled");
}

static void read_quantization(bl_config *c, struct reader *r)
{
    const bl_json_value *quantization = field(r, "quantization_config");

    if (quantization && r->rc == BL_OK)
        r->rc = bl_quantization_parse(&c->quantization, r->name, quantization, r->err);
}

static void read_sizes(bl_config *c, struct reader *r)
{
    c->vocab_size = get_u32(r, "vocab_size", 1, 1 << 24, REQUIRED);
    c->hidden_size = get_u32(r, "hidden_size", 1, 1 << 20, REQUIRED);
    c->n_layers = get_u32(r, "num_hidden_layers", 1, 1 << 12, REQUIRED);
    c->n_mtp_layers = get_u32(r, "num_nextn_predict_layers", 0, 16, 0);
    c->intermediate_size = get_u32(r, "intermediate_size", 1, 1 << 22, REQUIRED);
    c->max_position_embeddings = get_u32(r, "max_position_embeddings", 1, UINT32_MAX, REQUIRED);
    c->n_heads = get_u32(r, "num_attention_heads", 1, 1 << 16, REQUIRED);
    c->n_kv_heads = get_u32(r, "num_key_value_heads", 1, 1 << 16, c->n_heads);
    c->rms_norm_eps = get_f64(r, "rms_norm_eps", 1e-6);
    c->tie_word_embeddings = get_bool(r, "tie_word_embeddings", false);
    c->bos_token_id = get_token(r, "bos_token_id");
    c->eos_token_id = get_token(r, "eos_token_id");
    if (strcmp(get_string(r, "hidden_act", "silu"), "silu") != 0)
        complain(r, BL_E_UNSUPPORTED, "hidden_act", "is not 'silu'");
}

bl_status bl_config_parse(bl_config *out, const char *name, const bl_json *json, struct bl_err *err)
{
    bl_config c = { 0 };
    struct reader r = { name, bl_json_root(json), BL_OK, err };
    const char *model_type;

    if (bl_json_type_of(r.object) != BL_JSON_OBJECT)
        return bl_fail(err, BL_E_FORMAT, "%s: not a JSON object", name);
    model_type = get_string(&r, "model_type", NULL);
    if (r.rc == BL_OK && !model_type)
        complain(&r, BL_E_FORMAT, "model_type", "is missing");
    if (r.rc != BL_OK)
        return r.rc;
    c.arch = bl_arch_by_model_type(model_type);
    if (!c.arch)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: model_type '%s' is not handled", name,
                       model_type);
    c.rope_interleaved = c.arch->rope_interleaved;
    read_sizes(&c, &r);
    if (c.arch->mla) {
        read_mla(&c, &r);
        read_experts(&c, &r);
    } else if (r.rc == BL_OK) {
        read_gqa(&c, &r);
    }
    read_rope(&c, &r);
    read_quantization(&c, &r);
    if (r.rc == BL_OK)
        *out = c;
    return r.rc;
}

bool bl_config_layer_is_moe(const bl_config *c, uint32_t layer)
{
    if (c->n_experts == 0)
        return false;
    if (layer >= c->n_layers) /* MTP layers are of the last layer's kind */
        layer = c->n_layers - 1;
    return layer >= c->first_k_dense && layer % c->moe_layer_freq == 0;
}
