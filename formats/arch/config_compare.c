/* config_compare.c - see config_compare.h: one table of fields, and where each of them matters. */
#include "formats/arch/config_compare.h"

#include "formats/arch/arch.h"
#include "formats/arch/rope.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef enum field_kind { U32, F64, BOOL, SCALING, DIVISORS, SCORING } field_kind;

/* Where a field matters: both configurations must agree that it does. */
typedef enum relevance {
    ALWAYS,
    GQA,
    MLA,
    SCALED,   /* a rotary scaling other than none */
    TYPED,    /* ... that is told apart by its type */
    DIVIDED,  /* ... by what it divides each frequency by, as one of the two tells nothing else */
    EXTENDED, /* one that knows the original context */
    YARN,
    YARN_BOTH_MSCALES, /* the ratio of both scales the rotation */
    LLAMA3,
    EXPERTS,
    GROUPS /* not all groups are chosen */
} relevance;

typedef struct config_field {
    const char *name;
    size_t offset;
    field_kind kind;
    relevance where;
} config_field;

/* One row: a member of bl_config and its name in config.json. */
#define FIELD(name, member, kind, where)                                                           \
    {                                                                                              \
        name, offsetof(bl_config, member), kind, where                                             \
    }

static const config_field fields[] = {
    FIELD("vocab_size", vocab_size, U32, ALWAYS),
    FIELD("hidden_size", hidden_size, U32, ALWAYS),
    FIELD("num_hidden_layers", n_layers, U32, ALWAYS),
    FIELD("intermediate_size", intermediate_size, U32, ALWAYS),
    FIELD("rms_norm_eps", rms_norm_eps, F64, ALWAYS),
    FIELD("tie_word_embeddings", tie_word_embeddings, BOOL, ALWAYS),
    FIELD("num_attention_heads", n_heads, U32, ALWAYS),
    FIELD("num_key_value_heads", n_kv_heads, U32, GQA),
    FIELD("head_dim", head_dim, U32, GQA),
    FIELD("attention_bias", qkv_bias, BOOL, GQA),
    FIELD("q_lora_rank", q_lora_rank, U32, MLA),
    FIELD("kv_lora_rank", kv_lora_rank, U32, MLA),
    FIELD("qk_nope_head_dim", qk_nope_head_dim, U32, MLA),
    FIELD("qk_rope_head_dim", qk_rope_head_dim, U32, MLA),
    FIELD("v_head_dim", v_head_dim, U32, MLA),
    FIELD("rope_theta", rope_theta, F64, ALWAYS),
    FIELD("rope_scaling.type", rope_scaling, SCALING, TYPED),
    FIELD("rope_scaling", rope_divisors, DIVISORS, DIVIDED),
    FIELD("rope_scaling.factor", rope_factor, F64, SCALED),
    FIELD("rope_scaling.original_max_position_embeddings", rope_original_context, F64, EXTENDED),
    FIELD("rope_scaling.beta_fast", yarn_beta_fast, F64, YARN),
    FIELD("rope_scaling.beta_slow", yarn_beta_slow, F64, YARN),
    FIELD("rope_scaling.mscale", yarn_mscale, F64, YARN_BOTH_MSCALES),
    FIELD("rope_scaling.mscale_all_dim", yarn_mscale_all_dim, F64, YARN),
    FIELD("rope_scaling.low_freq_factor", llama3_low_freq_factor, F64, LLAMA3),
    FIELD("rope_scaling.high_freq_factor", llama3_high_freq_factor, F64, LLAMA3),
    FIELD("n_routed_experts", n_experts, U32, ALWAYS),
    FIELD("num_experts_per_tok", n_experts_used, U32, EXPERTS),
    FIELD("n_shared_experts", n_shared_experts, U32, EXPERTS),
    FIELD("moe_intermediate_size", moe_intermediate_size, U32, EXPERTS),
    FIELD("first_k_dense_replace", first_k_dense, U32, EXPERTS),
    FIELD("moe_layer_freq", moe_layer_freq, U32, EXPERTS),
    FIELD("scoring_func", scoring, SCORING, EXPERTS),
    FIELD("topk_method", router_bias, BOOL, EXPERTS),
    FIELD("n_group", n_group, U32, GROUPS),
    FIELD("topk_group", topk_group, U32, GROUPS),
    FIELD("routed_scaling_factor", routed_scaling_factor, F64, EXPERTS),
    FIELD("norm_topk_prob", norm_topk_prob, BOOL, EXPERTS),
};

enum { N_FIELDS = sizeof(fields) / sizeof(fields[0]) };

static_assert((int)N_FIELDS < (int)BL_CONFIG_MAX_DIFFERENCES, "every field can differ");

static bool same_scaling(const bl_config *a, const bl_config *b, bl_rope_scaling scaling)
{
    return a->rope_scaling == scaling && b->rope_scaling == scaling;
}

/* YaRN divides by no one number. */
static bool by_divisors(const bl_config *a, const bl_config *b)
{
    return (a->rope_scaling == BL_ROPE_DIVISORS || b->rope_scaling == BL_ROPE_DIVISORS) &&
           a->rope_scaling != BL_ROPE_YARN && b->rope_scaling != BL_ROPE_YARN;
}

static bool matters(relevance where, const bl_config *a, const bl_config *b)
{
    bool yarn = same_scaling(a, b, BL_ROPE_YARN), divided = by_divisors(a, b);

    switch (where) {
    case ALWAYS:
        return true;
    case GQA:
        return !a->arch->mla;
    case MLA:
        return a->arch->mla;
    case SCALED:
        return a->rope_scaling != BL_ROPE_PLAIN && b->rope_scaling != BL_ROPE_PLAIN && !divided;
    case TYPED:
        return !divided;
    case DIVIDED:
        return divided;
    case EXTENDED:
        return yarn || same_scaling(a, b, BL_ROPE_LLAMA3);
    case YARN:
        return yarn;
    case YARN_BOTH_MSCALES:
        return yarn && a->yarn_mscale_all_dim > 0 && b->yarn_mscale_all_dim > 0;
    case LLAMA3:
        return same_scaling(a, b, BL_ROPE_LLAMA3);
    case EXPERTS:
        return a->n_experts > 0 && b->n_experts > 0;
    case GROUPS: /* all of 4 groups is what one group of one is */
        return a->n_experts > 0 && b->n_experts > 0 &&
               (a->topk_group < a->n_group || b->topk_group < b->n_group);
    }
    return false;
}

/* GGUF keeps an F32; a value that was computed with may be off by some more. */
static bool close_enough(double a, double b)
{
    return fabs(a - b) <= 1e-6 * fmax(fabs(a), fabs(b));
}

static const char *scaling_name(bl_rope_scaling scaling)
{
    static const char *const names[] = { [BL_ROPE_PLAIN] = "none",
                                         [BL_ROPE_LINEAR] = "linear",
                                         [BL_ROPE_YARN] = "yarn",
                                         [BL_ROPE_LLAMA3] = "llama3",
                                         [BL_ROPE_DIVISORS] = "divisors" };

    return names[scaling];
}

static void describe(char *out, size_t n, const config_field *f, const bl_config *c)
{
    const char *at = (const char *)c + f->offset;
    bool is_method = f->offset == offsetof(bl_config, router_bias), flag;

    switch (f->kind) {
    case U32:
        snprintf(out, n, "%" PRIu32, *(const uint32_t *)(const void *)at);
        break;
    case F64:
        snprintf(out, n, "%.9g", *(const double *)(const void *)at);
        break;
    case BOOL:
        flag = *(const bool *)(const void *)at;
        if (is_method)
            snprintf(out, n, "%s", flag ? "noaux_tc" : "greedy");
        else
            snprintf(out, n, "%s", flag ? "true" : "false");
        break;
    case SCALING:
        snprintf(out, n, "%s", scaling_name(c->rope_scaling));
        break;
    case DIVISORS: /* differs() compares them, pair by pair */
        break;
    case SCORING:
        snprintf(out, n, "%s", c->scoring == BL_ROUTER_SIGMOID ? "sigmoid" : "softmax");
        break;
    }
}

static bool divisors_differ(bl_config_difference *d, const bl_config *test,
                            const bl_config *reference)
{
    const uint32_t dim =
        test->head_dim < reference->head_dim ? test->head_dim : reference->head_dim;

    for (uint32_t i = 0; i < dim / 2; i++) {
        double a = bl_rope_divisor(test, i, test->head_dim);
        double b = bl_rope_divisor(reference, i, reference->head_dim);

        if (close_enough(a, b))
            continue;
        snprintf(d->test, sizeof(d->test), "%.9g for pair %" PRIu32, a, i);
        snprintf(d->reference, sizeof(d->reference), "%.9g for pair %" PRIu32, b, i);
        return true;
    }
    return false;
}

/* Values that read the same to a person differ only where they are not numbers in F64. */
static bool differs(bl_config_difference *d, const config_field *f, const bl_config *test,
                    const bl_config *reference)
{
    double a, b;

    d->test[0] = d->reference[0] = '\0';
    describe(d->test, sizeof(d->test), f, test);
    describe(d->reference, sizeof(d->reference), f, reference);
    d->field = f->name;
    if (f->kind == DIVISORS)
        return divisors_differ(d, test, reference);
    if (f->kind != F64)
        return strcmp(d->test, d->reference) != 0;
    memcpy(&a, (const char *)test + f->offset, sizeof(a));
    memcpy(&b, (const char *)reference + f->offset, sizeof(b));
    return !close_enough(a, b);
}

size_t bl_config_compare(bl_config_difference out[BL_CONFIG_MAX_DIFFERENCES], const bl_config *test,
                         const bl_config *reference)
{
    size_t n = 0;

    if (test->arch != reference->arch) { /* nothing else can be compared */
        out[0].field = "model_type";
        snprintf(out[0].test, sizeof(out[0].test), "%s", test->arch->model_type);
        snprintf(out[0].reference, sizeof(out[0].reference), "%s", reference->arch->model_type);
        return 1;
    }
    for (size_t i = 0; i < N_FIELDS; i++)
        if (matters(fields[i].where, test, reference) &&
            differs(&out[n], &fields[i], test, reference))
            n++;
    return n;
}
