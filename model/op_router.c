/* op_router.c - see op_router.h. A disabled or masked expert has the selection score -inf. */
#include "model/op_router.h"

#include "model/op_exp.h"
#include "model/op_softmax.h"

#include <assert.h>
#include <math.h>
#include <string.h>

uint32_t bl_router_n_variants(const bl_router_policy *policy)
{
    return policy && policy->variant ? policy->n_variants : 1;
}

const bl_router_policy *bl_router_variant(const bl_router_policy *policy, uint32_t i)
{
    if (!policy || !policy->variant)
        return policy;
    assert(i < policy->n_variants);
    assert(!policy->variant[i].variant);
    return &policy->variant[i];
}

bl_status bl_router_init(bl_router *out, const bl_config *config, const bl_router_policy *policy,
                         const float *bias, struct bl_err *err)
{
    const bl_router_policy none = { 0 }, *p = policy ? policy : &none;
    uint32_t n_used = p->experts_per_token ? p->experts_per_token : config->n_experts_used;
    uint32_t n_left = 0;

    assert(!p->variant);
    for (uint32_t e = 0; e < config->n_experts; e++)
        n_left += !p->disabled || !p->disabled[e];
    if (n_used > config->n_experts)
        return bl_fail(err, BL_E_USAGE, "%u experts per token, the model has %u", n_used,
                       config->n_experts);
    if (p->experts_per_token > n_left)
        return bl_fail(err, BL_E_USAGE, "%u experts per token, %u of %u are left enabled", n_used,
                       n_left, config->n_experts);
    *out = (bl_router){
        .n_experts = config->n_experts,
        .n_used = n_used,
        .n_group = p->ungrouped ? 1 : config->n_group,
        .topk_group = p->ungrouped ? 1 : config->topk_group,
        .scoring = config->scoring,
        .normalise = config->norm_topk_prob,
        .scale = (float)config->routed_scaling_factor,
        .bias = bias,
        .disabled = p->disabled,
    };
    return BL_OK;
}

static void score(float *s, float *b, const bl_router *r, const float *logits)
{
    if (r->scoring == BL_ROUTER_SOFTMAX) {
        memcpy(s, logits, r->n_experts * sizeof(*s));
        bl_softmax(s, r->n_experts);
    } else {
        for (uint32_t e = 0; e < r->n_experts; e++)
            s[e] = bl_sigmoid(logits[e]);
    }
    for (uint32_t e = 0; e < r->n_experts; e++) {
        b[e] = r->bias ? s[e] + r->bias[e] : s[e];
        if (r->disabled && r->disabled[e])
            b[e] = -INFINITY;
    }
}

/* The largest of x[n] that is not -inf, the lowest index among equals; n when there is none. */
static uint32_t find_largest(const float *x, uint32_t n)
{
    uint32_t best = n;

    for (uint32_t i = 0; i < n; i++)
        if (x[i] > (best < n ? x[best] : -INFINITY))
            best = i;
    return best;
}

/* Sum of the two largest; with one enabled expert its own score, with none -inf. */
static float group_score(const bl_router *r, const float *b, uint32_t n)
{
    uint32_t first = find_largest(b, n);
    float second = -INFINITY;

    if (first == n || !r->bias)
        return first == n ? -INFINITY : b[first];
    for (uint32_t i = 0; i < n; i++)
        if (i != first && b[i] > second)
            second = b[i];
    return second > -INFINITY ? b[first] + second : b[first];
}

static void mask_groups(float *b, const bl_router *r, float *group)
{
    uint32_t size = r->n_experts / r->n_group, best;

    for (uint32_t g = 0; g < r->n_group; g++)
        group[g] = group_score(r, b + (size_t)g * size, size);
    for (uint32_t k = 0; k < r->topk_group; k++) {
        best = find_largest(group, r->n_group);
        if (best == r->n_group)
            break;
        group[best] = NAN; /* kept: compares with nothing any more */
    }
    for (uint32_t g = 0; g < r->n_group; g++)
        for (uint32_t e = 0; e < size && !isnan(group[g]); e++)
            b[g * size + e] = -INFINITY;
}

static void sort_ascending(uint32_t *expert, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t j = i; j > 0 && expert[j] < expert[j - 1]; j--) {
            uint32_t swap = expert[j];

            expert[j] = expert[j - 1];
            expert[j - 1] = swap;
        }
}

void bl_router_choose(uint32_t *expert, float *weight, const bl_router *router, const float *logits,
                      float *scratch)
{
    float *s = scratch, *b = s + router->n_experts, *group = b + router->n_experts;
    float sum = 0;

    score(s, b, router, logits);
    if (router->topk_group < router->n_group)
        mask_groups(b, router, group);
    for (uint32_t k = 0; k < router->n_used; k++) {
        uint32_t best = find_largest(b, router->n_experts);

        expert[k] = best < router->n_experts ? best : BL_ROUTER_NONE;
        if (best < router->n_experts)
            b[best] = -INFINITY;
    }
    sort_ascending(expert, router->n_used);
    for (uint32_t k = 0; k < router->n_used; k++) {
        weight[k] = expert[k] == BL_ROUTER_NONE ? 0.0f : s[expert[k]];
        sum += weight[k];
    }
    for (uint32_t k = 0; k < router->n_used; k++)
        weight[k] = (router->normalise ? weight[k] / (sum + 1e-20f) : weight[k]) * router->scale;
}
