/* recipe.c - the tables, and the first rule that matches. */
#include "quantize/recipe.h"

#include <stdlib.h>
#include <string.h>

/* Kinds of tensors, by their GGUF names. */
enum kind {
    EMBEDDING = 1 << 0,
    HEAD = 1 << 1,
    VALUE = 1 << 2,     /* attn_v */
    LATENT = 1 << 3,    /* attn_kv_a_mqa, attn_k_b, attn_v_b */
    ATT_OUT = 1 << 4,   /* attn_output */
    DOWN = 1 << 5,      /* of the dense MLP and of shared experts */
    DOWN_EXPS = 1 << 6, /* of routed experts */
    WIDE_EXPS = 1 << 7, /* gate and up of routed experts */
    OTHER = 1 << 8,
    ANY_DOWN = DOWN | DOWN_EXPS
};

static const struct {
    const char *part; /* of the name; the first that is found */
    enum kind kind;
} kinds[] = {
    { "token_embd.", EMBEDDING },
    { "attn_output.", ATT_OUT },
    { "attn_v.", VALUE },
    { "attn_kv_a_mqa.", LATENT },
    { "attn_k_b.", LATENT },
    { "attn_v_b.", LATENT },
    { "output.weight", HEAD },
    { "ffn_down_exps.", DOWN_EXPS },
    { "ffn_gate_exps.", WIDE_EXPS },
    { "ffn_up_exps.", WIDE_EXPS },
    { "ffn_down", DOWN },
};

/* Layers of n, i counted from 0. */
enum layers {
    EVERY,
    FIRST_2,
    FIRST_4,
    FIRST_16TH, /* i < n / 16 */
    FIRST_8TH,  /* i < n / 8 */
    MORE_BITS,  /* the first and last eighth, and every third between */
    MOE_FIRST_2,
    MOE_EVERY_5TH /* of the layers with experts the third, the eighth, ... */
};

enum when { ALWAYS, WITH_IMPORTANCE, WITHOUT_IMPORTANCE, SHARED_VALUES, EIGHT_EXPERTS };

/* F16, BF16 and F32 need no rules: everything takes their type. */
static const bl_recipe recipes[] = {
    { "f32", BL_F32, BL_GGUF_FILE_F32 },          { "f16", BL_F16, BL_GGUF_FILE_F16 },
    { "bf16", BL_BF16, BL_GGUF_FILE_BF16 },       { "q8_0", BL_Q8_0, BL_GGUF_FILE_Q8_0 },
    { "q4_0", BL_Q4_0, BL_GGUF_FILE_Q4_0 },       { "q4_1", BL_Q4_1, BL_GGUF_FILE_Q4_1 },
    { "q5_0", BL_Q5_0, BL_GGUF_FILE_Q5_0 },       { "q5_1", BL_Q5_1, BL_GGUF_FILE_Q5_1 },
    { "q2_k", BL_Q2_K, BL_GGUF_FILE_Q2_K },       { "q3_k_s", BL_Q3_K, BL_GGUF_FILE_Q3_K_S },
    { "q3_k_m", BL_Q3_K, BL_GGUF_FILE_Q3_K_M },   { "q3_k_l", BL_Q3_K, BL_GGUF_FILE_Q3_K_L },
    { "q4_k_s", BL_Q4_K, BL_GGUF_FILE_Q4_K_S },   { "q4_k_m", BL_Q4_K, BL_GGUF_FILE_Q4_K_M },
    { "q5_k_s", BL_Q5_K, BL_GGUF_FILE_Q5_K_S },   { "q5_k_m", BL_Q5_K, BL_GGUF_FILE_Q5_K_M },
    { "q6_k", BL_Q6_K, BL_GGUF_FILE_Q6_K },       { "iq4_nl", BL_IQ4_NL, BL_GGUF_FILE_IQ4_NL },
    { "iq4_xs", BL_IQ4_XS, BL_GGUF_FILE_IQ4_XS }, { "mxfp4", BL_MXFP4, BL_GGUF_FILE_MXFP4 },
    { "dq3_k_m", BL_Q4_K, BL_GGUF_FILE_Q3_K_M },
};

/* The first rule of a recipe that matches a tensor gives its type. */
static const struct rule {
    const char *recipe;
    unsigned kinds;
    enum layers layers;
    enum when when;
    bl_dtype type;
} rules[] = {
    { "q4_0", ANY_DOWN, FIRST_8TH, WITH_IMPORTANCE, BL_Q4_1 },
    { "q5_0", ANY_DOWN, FIRST_8TH, WITH_IMPORTANCE, BL_Q5_1 },

    { "q2_k", VALUE, EVERY, SHARED_VALUES, BL_Q4_K },
    { "q2_k", VALUE, EVERY, ALWAYS, BL_Q3_K },
    { "q2_k", ATT_OUT, EVERY, EIGHT_EXPERTS, BL_Q5_K },
    { "q2_k", ATT_OUT | ANY_DOWN, EVERY, ALWAYS, BL_Q3_K },

    { "q3_k_s", ATT_OUT, EVERY, EIGHT_EXPERTS, BL_Q5_K },

    { "q3_k_m", VALUE, FIRST_2, ALWAYS, BL_Q5_K },
    { "q3_k_m", ANY_DOWN, FIRST_16TH, ALWAYS, BL_Q5_K },
    { "q3_k_m", ATT_OUT, EVERY, EIGHT_EXPERTS, BL_Q5_K },
    { "q3_k_m", VALUE | ATT_OUT | ANY_DOWN, EVERY, ALWAYS, BL_Q4_K },

    { "q3_k_l", ATT_OUT, EVERY, EIGHT_EXPERTS, BL_Q3_K },
    { "q3_k_l", VALUE | ATT_OUT | ANY_DOWN, EVERY, ALWAYS, BL_Q5_K },

    { "q4_k_s", VALUE, FIRST_4, ALWAYS, BL_Q5_K },
    { "q4_k_s", ANY_DOWN, FIRST_8TH, ALWAYS, BL_Q5_K },
    { "q4_k_s", ATT_OUT, EVERY, EIGHT_EXPERTS, BL_Q5_K },

    { "q4_k_m", VALUE | ANY_DOWN, MORE_BITS, ALWAYS, BL_Q6_K },
    { "q4_k_m", ATT_OUT, EVERY, EIGHT_EXPERTS, BL_Q5_K },

    { "q5_k_m", VALUE | ANY_DOWN, MORE_BITS, ALWAYS, BL_Q6_K },

    { "iq4_nl", VALUE, EVERY, SHARED_VALUES, BL_Q5_K },
    { "iq4_nl", ANY_DOWN, FIRST_8TH, WITHOUT_IMPORTANCE, BL_Q5_K },
    { "iq4_nl", ATT_OUT, EVERY, EIGHT_EXPERTS, BL_Q5_K },

    { "iq4_xs", VALUE, EVERY, SHARED_VALUES, BL_Q5_K },
    { "iq4_xs", ANY_DOWN, FIRST_8TH, WITHOUT_IMPORTANCE, BL_Q5_K },
    { "iq4_xs", ATT_OUT, EVERY, EIGHT_EXPERTS, BL_Q5_K },

    { "dq3_k_m", LATENT | DOWN, EVERY, ALWAYS, BL_Q6_K },
    { "dq3_k_m", DOWN_EXPS, MOE_FIRST_2, ALWAYS, BL_Q6_K },
    { "dq3_k_m", DOWN_EXPS, MOE_EVERY_5TH, ALWAYS, BL_Q4_K },
    { "dq3_k_m", DOWN_EXPS | WIDE_EXPS, EVERY, ALWAYS, BL_Q3_K },
};

const bl_recipe *bl_recipe_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof(recipes) / sizeof(*recipes); i++)
        if (strcmp(recipes[i].name, name) == 0)
            return &recipes[i];
    return NULL;
}

const bl_recipe *bl_recipe_at(size_t i)
{
    return i < sizeof(recipes) / sizeof(*recipes) ? &recipes[i] : NULL;
}

bool bl_recipe_may_quantize(const bl_choice *choice)
{
    const bl_role role = choice->row ? choice->row->role : BL_ROLE_OTHER;

    return choice->ndim > 1 && !bl_role_is_exact(role);
}

static bool divides(bl_dtype type, uint64_t n_cols)
{
    return n_cols > 0 && n_cols % bl_dtype_traits_of(type)->block_len == 0;
}

bl_dtype bl_recipe_fallback(bl_dtype type, uint64_t n_cols)
{
    static const bl_dtype smaller[BL_DTYPE_COUNT] = {
        [BL_Q2_K] = BL_Q4_0, [BL_Q3_K] = BL_Q4_0, [BL_Q4_K] = BL_Q5_0,
        [BL_Q5_K] = BL_Q5_1, [BL_Q6_K] = BL_Q8_0, [BL_IQ4_XS] = BL_IQ4_NL,
    };

    if (divides(type, n_cols))
        return type;
    type = smaller[type];
    return type != 0 && divides(type, n_cols) ? type : BL_F16;
}

static enum kind kind_of(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (strstr(name, kinds[i].part))
            return kinds[i].kind;
    return OTHER;
}

/* "blk.7.attn_v.weight": 7; 0 for what is in no layer. */
static uint32_t layer_of(const char *name)
{
    return strncmp(name, "blk.", 4) == 0 ? (uint32_t)strtoul(name + 4, NULL, 10) : 0;
}

static bool is_among(enum layers layers, uint32_t i, const bl_config *c)
{
    const uint32_t n = c->n_layers, moe = i - c->first_k_dense;

    switch (layers) {
    case EVERY:
        return true;
    case FIRST_2:
        return i < 2;
    case FIRST_4:
        return i < 4;
    case FIRST_16TH:
        return i < n / 16;
    case FIRST_8TH:
        return i < n / 8;
    case MORE_BITS:
        return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
    case MOE_FIRST_2:
        return moe < 2;
    case MOE_EVERY_5TH:
        return moe % 5 == 2;
    }
    return false;
}

static bool holds(enum when when, const bl_config *c, bool has_importance)
{
    switch (when) {
    case ALWAYS:
        return true;
    case WITH_IMPORTANCE:
        return has_importance;
    case WITHOUT_IMPORTANCE:
        return !has_importance;
    case SHARED_VALUES:
        return c->n_kv_heads > 0 && c->n_heads / c->n_kv_heads >= 4;
    case EIGHT_EXPERTS:
        return c->n_experts == 8;
    }
    return false;
}

static bl_dtype by_rule(const bl_recipe *recipe, const bl_config *c, bool has_importance,
                        enum kind kind, uint32_t layer)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
        const struct rule *r = &rules[i];

        if (strcmp(r->recipe, recipe->name) == 0 && (r->kinds & (unsigned)kind) &&
            is_among(r->layers, layer, c) && holds(r->when, c, has_importance))
            return r->type;
    }
    return recipe->base;
}

/* The output head, or the embedding that is it. */
static bl_dtype of_head(const bl_recipe *recipe, uint64_t n_cols)
{
    if (recipe->base == BL_MXFP4 || !divides(recipe->base, n_cols))
        return BL_Q8_0;
    return recipe->base == BL_Q8_0 ? BL_Q8_0 : BL_Q6_K;
}

bl_dtype bl_recipe_type(const bl_recipe *recipe, const bl_config *config, bool has_importance,
                        const bl_choice *choice)
{
    const enum kind kind = kind_of(choice->name);
    bl_dtype type;

    if (!bl_recipe_may_quantize(choice))
        return BL_F32;
    if (bl_dtype_traits_of(recipe->base)->block_len == 1)
        return recipe->base;
    if (kind == HEAD || (kind == EMBEDDING && config->tie_word_embeddings))
        type = of_head(recipe, choice->n_cols);
    else if (recipe->base == BL_MXFP4) /* stacks of matrices, the others keep 8 bits */
        type = choice->ndim == 3 ? BL_MXFP4 : BL_Q8_0;
    else
        type = by_rule(recipe, config, has_importance, kind, layer_of(choice->name));
    /* eight heads of 70B share attn_v, which is small and feels it */
    if (kind == VALUE && config->n_layers == 80 && config->n_heads != config->n_kv_heads &&
        (type == BL_Q3_K || type == BL_Q4_K))
        type = BL_Q5_K;
    return bl_recipe_fallback(type, choice->n_cols);
}
