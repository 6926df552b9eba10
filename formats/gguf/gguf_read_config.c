/*
 * gguf_read_config.c - the network that a GGUF file's metadata describe. The inverse of
 * gguf_put_config.c, plus what llama.cpp's own converter writes.
 */
#include "formats/gguf/gguf_metadata.h"

#include "formats/arch/arch.h"
#include "formats/arch/rope.h"
#include "formats/gguf/gguf_reader.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { KEY_BYTES = 128, REQUIRED = -1 };

/* Takes values by key; remembers the first failure. */
struct reader {
    const bl_container *gguf;
    const bl_gguf_meta *meta;
    const char *arch;
    char key[KEY_BYTES];
    bl_status rc;
    struct bl_err *err;
};

static void complain(struct reader *r, bl_status status, const char *what)
{
    if (r->rc == BL_OK)
        r->rc = bl_fail(r->err, status, "%s: '%s' %s", r->gguf->path, r->key, what);
}

/* NULL when the key is not there. */
static const bl_gguf_kv *find(struct reader *r, const char *suffix)
{
    snprintf(r->key, sizeof(r->key), "%s.%s", r->arch, suffix);
    return bl_gguf_find(r->meta, r->key);
}

static uint32_t get_u32(struct reader *r, const char *suffix, uint32_t least, uint32_t most,
                        int64_t fallback)
{
    const bl_gguf_kv *kv = find(r, suffix);
    uint32_t v = least;

    if (!kv) {
        if (fallback == REQUIRED)
            complain(r, BL_E_FORMAT, "is missing");
        return fallback == REQUIRED ? least : (uint32_t)fallback;
    }
    if (r->rc == BL_OK)
        r->rc = bl_gguf_kv_u32(&v, kv, r->err);
    if (v < least || v > most)
        complain(r, BL_E_FORMAT, "is out of any sensible range");
    return v < least || v > most ? least : v;
}

static double get_f32(struct reader *r, const char *suffix, double fallback)
{
    const bl_gguf_kv *kv = find(r, suffix);
    float v = (float)fallback;

    if (!kv)
        return fallback;
    if (r->rc == BL_OK)
        r->rc = bl_gguf_kv_f32(&v, kv, r->err);
    if (!isfinite(v) || v < 0)
        complain(r, BL_E_FORMAT, "must be a number that is not negative");
    return (double)v;
}

static bool get_bool(struct reader *r, const char *suffix, bool fallback)
{
    const bl_gguf_kv *kv = find(r, suffix);
    bool v = fallback;

    if (kv && r->rc == BL_OK)
        r->rc = bl_gguf_kv_bool(&v, kv, r->err);
    return v;
}

static bool string_is(struct reader *r, const bl_gguf_kv *kv, const char *text)
{
    bl_gguf_string s = { "", 0 };

    if (r->rc == BL_OK)
        r->rc = bl_gguf_kv_string(&s, kv, r->err);
    return r->rc == BL_OK && s.n == strlen(text) && memcmp(s.bytes, text, s.n) == 0;
}

static void read_mla(bl_config *c, struct reader *r)
{
    const uint32_t many = 1 << 20;
    /* Before the split of kv_b the plain keys were those of a head. */
    const bool whole = !find(r, "attention.key_length_mla");
    uint32_t key_length;

    c->kv_lora_rank = get_u32(r, "attention.kv_lora_rank", 1, many, REQUIRED);
    c->q_lora_rank = get_u32(r, "attention.q_lora_rank", 0, many, 0);
    c->qk_rope_head_dim = get_u32(r, "rope.dimension_count", 2, 1 << 14, REQUIRED);
    key_length = get_u32(r, whole ? "attention.key_length" : "attention.key_length_mla",
                         c->qk_rope_head_dim + 1, 1 << 15, REQUIRED);
    c->qk_nope_head_dim = key_length - c->qk_rope_head_dim;
    c->v_head_dim = get_u32(r, whole ? "attention.value_length" : "attention.value_length_mla", 1,
                            1 << 14, REQUIRED);
    c->n_kv_heads = c->n_heads;
    c->latent_norm_eps = 1e-6; /* not in the metadata; llama.cpp takes rms_norm_eps for all */
}

static void read_experts(bl_config *c, struct reader *r)
{
    uint32_t gating;

    c->n_experts = get_u32(r, "expert_count", 0, 1 << 16, 0);
    if (c->n_experts == 0)
        return;
    c->n_experts_used = get_u32(r, "expert_used_count", 1, c->n_experts, REQUIRED);
    c->n_shared_experts = get_u32(r, "expert_shared_count", 0, 1 << 10, 0);
    c->moe_intermediate_size = get_u32(r, "expert_feed_forward_length", 1, 1 << 22, REQUIRED);
    c->first_k_dense = get_u32(r, "leading_dense_block_count", 0, 1 << 12, 0);
    c->moe_layer_freq = 1;
    c->n_group = get_u32(r, "expert_group_count", 0, c->n_experts, 1);
    c->topk_group = get_u32(r, "expert_group_used_count", 0, c->n_experts, 1);
    if (c->n_group <= 1)
        c->n_group = c->topk_group = 1;
    c->routed_scaling_factor = get_f32(r, "expert_weights_scale", 1);
    if (c->routed_scaling_factor == 0)
        c->routed_scaling_factor = 1; /* llama.cpp: 0 means none */
    c->norm_topk_prob = get_bool(r, "expert_weights_norm", false);
    gating = get_u32(r, "expert_gating_func", 0, 16, 1);
    if (gating > 2)
        complain(r, BL_E_UNSUPPORTED, "is neither softmax (1) nor sigmoid (2)");
    c->scoring = gating == 2 ? BL_ROUTER_SIGMOID : BL_ROUTER_SOFTMAX;
    if (c->n_experts % c->n_group || c->topk_group < 1 || c->topk_group > c->n_group ||
        c->n_experts_used > c->n_experts / c->n_group * c->topk_group)
        complain(r, BL_E_FORMAT, "does not fit the groups of experts");
}

static bool has_tensor(const bl_container *gguf, const char *name)
{
    size_t i;

    return bl_container_find(&i, gguf, name);
}

/* rope_freqs.weight: a divisor for each frequency, instead of what it follows from. */
static bl_status read_divisors(bl_config *c, bl_arena *arena, const bl_container *gguf,
                               struct bl_err *err)
{
    const uint32_t n = c->head_dim / 2;
    const bl_stored *t;
    float *divisor;
    bl_status rc;
    size_t i;

    if (!bl_container_find(&i, gguf, BL_ROPE_TENSOR))
        return BL_OK;
    t = &gguf->stored[i];
    if (!c->arch->rope_divisors || c->rope_scaling != BL_ROPE_PLAIN)
        return bl_container_fail(err, BL_E_UNSUPPORTED, gguf, i,
                                 "rotary divisors in this family, or beside another scaling, are "
                                 "not handled");
    if (t->dtype != BL_F32 || t->ndim != 1 || t->dim[0] != n)
        return bl_container_fail(err, BL_E_FORMAT, gguf, i, "is not F32 [%" PRIu32 "]", n);
    divisor = bl_arena_alloc(arena, n, sizeof(*divisor));
    if (!divisor)
        return bl_fail_nomem(err, gguf->path);
    rc = bl_container_read(gguf, i, 0, divisor, n * sizeof(*divisor), err);
    for (uint32_t k = 0; k < n && rc == BL_OK; k++)
        if (!isfinite(divisor[k]) || divisor[k] <= 0)
            rc = bl_container_fail(err, BL_E_FORMAT, gguf, i,
                                   "value %" PRIu32 " is no divisor of a frequency", k);
    c->rope_scaling = BL_ROPE_DIVISORS;
    c->rope_divisors = divisor;
    return rc;
}

static void read_rope(bl_config *c, struct reader *r)
{
    const bl_gguf_kv *type = find(r, "rope.scaling.type");

    c->rope_theta = get_f32(r, "rope.freq_base", 10000);
    if (type && string_is(r, type, "none"))
        return;
    c->rope_original_context = get_u32(r, "rope.scaling.original_context_length", 0, UINT32_MAX,
                                       c->max_position_embeddings);
    c->rope_factor = get_f32(r, "rope.scale_linear", 0); /* the old name */
    c->rope_factor = get_f32(r, "rope.scaling.factor", c->rope_factor);
    if (c->rope_factor == 0)
        c->rope_factor = 1;                      /* llama.cpp: 0 means none */
    if (!type || string_is(r, type, "linear")) { /* linear where it does not say */
        c->rope_scaling = c->rope_factor == 1 ? BL_ROPE_PLAIN : BL_ROPE_LINEAR;
    } else if (string_is(r, type, "yarn")) {
        c->rope_scaling = BL_ROPE_YARN;
        c->yarn_beta_fast = get_f32(r, "rope.scaling.yarn_beta_fast", 32);
        c->yarn_beta_slow = get_f32(r, "rope.scaling.yarn_beta_slow", 1);
        c->yarn_mscale_all_dim =
            round(get_f32(r, "rope.scaling.yarn_log_multiplier", 0) / 0.1 * 1e6) / 1e6;
        c->yarn_mscale = c->yarn_mscale_all_dim;
        if (find(r, "rope.scaling.attn_factor"))
            complain(r, BL_E_UNSUPPORTED, "is not handled");
    } else {
        complain(r, BL_E_UNSUPPORTED, "is neither 'none', 'linear' nor 'yarn'");
    }
    if (r->rc == BL_OK && c->rope_factor < 1)
        complain(r, BL_E_FORMAT, "has a factor below 1");
}

static void read_gqa(bl_config *c, struct reader *r)
{
    /* What llama.cpp computes with where it is there, and this program does not. */
    static const char *const ignored[] = { "blk.0.attn_output.bias",   "blk.0.ffn_gate.bias",
                                           "blk.0.ffn_up.bias",        "blk.0.ffn_down.bias",
                                           "blk.0.attn_q_norm.weight", "output.bias",
                                           "rope_factors_long.weight" };
    uint32_t by_default = c->n_heads ? c->hidden_size / c->n_heads : 0;
    size_t at;

    c->n_kv_heads = get_u32(r, "attention.head_count_kv", 1, c->n_heads, c->n_heads);
    c->head_dim = get_u32(r, "attention.key_length", 2, 1 << 14, by_default);
    if (c->n_heads % c->n_kv_heads || c->head_dim % 2 || c->head_dim == 0)
        complain(r, BL_E_FORMAT, "does not fit the number of heads");
    if (get_u32(r, "attention.value_length", 1, 1 << 14, c->head_dim) != c->head_dim ||
        get_u32(r, "rope.dimension_count", 1, 1 << 14, c->head_dim) != c->head_dim)
        complain(r, BL_E_UNSUPPORTED, "is not the head dimension");
    if (get_u32(r, "expert_count", 0, 1 << 16, 0) > 0)
        complain(r, BL_E_UNSUPPORTED, "is not 0: experts of this family are not handled");
    c->qkv_bias = has_tensor(r->gguf, "blk.0.attn_q.bias");
    for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
        if (r->rc == BL_OK && bl_container_find(&at, r->gguf, ignored[i]))
            r->rc = bl_container_fail(r->err, BL_E_UNSUPPORTED, r->gguf, at, "is not handled");
}

static void read_vocabulary(bl_config *c, struct reader *r)
{
    const bl_gguf_kv *tokens = bl_gguf_find(r->meta, "tokenizer.ggml.tokens");
    const bl_gguf_kv *bos = bl_gguf_find(r->meta, "tokenizer.ggml.bos_token_id");
    const bl_gguf_kv *eos = bl_gguf_find(r->meta, "tokenizer.ggml.eos_token_id");
    int64_t from_tokens = tokens && tokens->n <= 1 << 24 ? (int64_t)tokens->n : REQUIRED;
    uint32_t id = 0;

    c->vocab_size = get_u32(r, "vocab_size", 1, 1 << 24, from_tokens);
    c->bos_token_id = c->eos_token_id = -1;
    if (bos && r->rc == BL_OK) {
        r->rc = bl_gguf_kv_u32(&id, bos, r->err);
        c->bos_token_id = id;
    }
    if (eos && r->rc == BL_OK) {
        r->rc = bl_gguf_kv_u32(&id, eos, r->err);
        c->eos_token_id = id;
    }
}

static void read_sizes(bl_config *c, struct reader *r)
{
    uint32_t blocks;

    c->max_position_embeddings = get_u32(r, "context_length", 1, UINT32_MAX, REQUIRED);
    c->hidden_size = get_u32(r, "embedding_length", 1, 1 << 20, REQUIRED);
    c->intermediate_size = get_u32(r, "feed_forward_length", 1, 1 << 22, REQUIRED);
    c->n_mtp_layers = get_u32(r, "nextn_predict_layers", 0, 16, 0);
    blocks = get_u32(r, "block_count", c->n_mtp_layers + 1, 1 << 12, REQUIRED);
    c->n_layers = blocks - c->n_mtp_layers;
    c->n_heads = get_u32(r, "attention.head_count", 1, 1 << 16, REQUIRED);
    if (!find(r, "attention.layer_norm_rms_epsilon"))
        complain(r, BL_E_FORMAT, "is missing");
    c->rms_norm_eps = get_f32(r, "attention.layer_norm_rms_epsilon", 0);
}

bl_status bl_gguf_read_config(bl_config *out, bl_arena *arena, const bl_container *gguf,
                              struct bl_err *err)
{
    struct reader r = { .gguf = gguf, .meta = bl_gguf_meta_of(gguf), .rc = BL_OK, .err = err };
    const bl_gguf_kv *architecture = bl_gguf_find(r.meta, "general.architecture");
    bl_gguf_string name = { "", 0 };
    bl_config c = { 0 };
    char arch[64];

    if (!architecture)
        return bl_fail(err, BL_E_FORMAT, "%s: 'general.architecture' is missing", gguf->path);
    r.rc = bl_gguf_kv_string(&name, architecture, err);
    if (r.rc != BL_OK)
        return r.rc;
    snprintf(arch, sizeof(arch), "%.*s", (int)(name.n < sizeof(arch) ? name.n : 0), name.bytes);
    c.arch = bl_arch_by_gguf_name(arch);
    if (!c.arch)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: the architecture '%s' is not handled",
                       gguf->path, arch);
    r.arch = arch;
    c.rope_interleaved = c.arch->rope_interleaved;
    read_sizes(&c, &r);
    read_vocabulary(&c, &r);
    c.tie_word_embeddings = !has_tensor(gguf, "output.weight");
    if (c.arch->mla) {
        read_mla(&c, &r);
        read_experts(&c, &r);
        c.router_bias = false;
        for (uint32_t layer = 0; c.n_experts > 0 && layer < c.n_layers; layer++) {
            char bias[48];

            snprintf(bias, sizeof(bias), "blk.%" PRIu32 ".exp_probs_b.bias", layer);
            c.router_bias = c.router_bias || has_tensor(gguf, bias);
        }
    } else {
        read_gqa(&c, &r);
    }
    read_rope(&c, &r);
    if (r.rc == BL_OK)
        r.rc = read_divisors(&c, arena, gguf, err);
    if (r.rc == BL_OK)
        *out = c;
    return r.rc;
}
