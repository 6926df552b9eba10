/* moe.c - route, gather each expert's tokens, run it, add what it says. */
#include "model/moe.h"

#include "base/alloc.h"
#include "base/size.h"
#include "model/linear.h"
#include "model/mlp.h"
#include "model/rows.h"

#include <stdio.h>
#include <string.h>

struct moe {
    bl_state *state;
    uint32_t layer;
    const float *x;
    const bl_weights *weights;
    const bl_taps *taps;
    const bl_config *config;
    bl_router router;
    float *bias;          /* [E], or NULL */
    float *logits;        /* [T][E] */
    float *scratch;       /* [n_threads][2 E + n_group] */
    uint32_t *choice;     /* [T][k] */
    float *choice_weight; /* [T][k] */
    size_t *start;        /* [E + 1]: where each expert's rows begin in token and weight */
    uint32_t *token;      /* rows by expert, ascending token within */
    float *weight;
    size_t most; /* rows of the busiest expert */
    float *gathered, *result, *inner;
};

static void release(struct moe *m)
{
    bl_free(m->bias);
    bl_free(m->logits);
    bl_free(m->scratch);
    bl_free(m->choice);
    bl_free(m->choice_weight);
    bl_free(m->start);
    bl_free(m->token);
    bl_free(m->weight);
    bl_free(m->gathered);
    bl_free(m->result);
    bl_free(m->inner);
}

static bl_status set_router(struct moe *m, const bl_router_policy *policy, struct bl_err *err)
{
    const bl_config *c = m->config;
    uint32_t n_used =
        policy && policy->experts_per_token ? policy->experts_per_token : c->n_experts_used;

    m->router = (bl_router){
        .n_experts = c->n_experts,
        .n_used = n_used,
        .n_group = c->n_group,
        .topk_group = c->topk_group,
        .scoring = c->scoring,
        .normalise = c->norm_topk_prob,
        .scale = (float)c->routed_scaling_factor,
        .disabled = policy ? policy->disabled : NULL,
    };
    if (n_used > c->n_experts)
        return bl_fail(err, BL_E_USAGE, "%u experts per token, the model has %u", n_used,
                       c->n_experts);
    if (c->router_bias) {
        bl_status rc = bl_weights_vector(&m->bias, m->weights, m->layer,
                                         "mlp.gate.e_score_correction_bias", c->n_experts, err);

        if (rc != BL_OK)
            return rc;
        m->router.bias = m->bias;
    }
    return BL_OK;
}

static void choose_rows(void *context, size_t row, size_t n_rows, int i_thread)
{
    struct moe *m = context;
    size_t k = m->router.n_used, e = m->router.n_experts;
    float *scratch = m->scratch + (size_t)i_thread * (2 * e + m->router.n_group);

    for (size_t t = row; t < row + n_rows; t++)
        bl_router_choose(m->choice + t * k, m->choice_weight + t * k, &m->router, m->logits + t * e,
                         scratch);
}

static bl_status show_routing(const struct moe *m, bl_tap tap, struct bl_err *err)
{
    bool logits = tap == BL_TAP_ROUTER_LOGITS;
    size_t n = logits ? m->router.n_experts : m->router.n_used;
    const bl_activation seen = { .tap = tap,
                                 .layer = m->layer,
                                 .expert = -1,
                                 .n_rows = m->state->n_tokens,
                                 .n_cols = n,
                                 .ld = n,
                                 .value = logits ? m->logits : m->choice_weight,
                                 .choice = logits ? NULL : m->choice };

    return bl_taps_show(m->taps, &seen, err);
}

static bl_status route(struct moe *m, struct bl_err *err)
{
    const size_t n_tokens = m->state->n_tokens, e = m->router.n_experts, k = m->router.n_used;
    const int n_threads = m->weights->n_threads;
    bl_linear gate = {
        .ldy = e, .x = m->x, .ldx = m->state->hidden_size, .n_tokens = n_tokens, .n_rows = e
    };
    bl_status rc =
        bl_weights_find(&gate.weight, m->weights, m->layer, "mlp.gate.weight", e, gate.ldx, err);

    if (rc != BL_OK)
        return rc;
    m->logits = bl_alloc(n_tokens, e * sizeof(*m->logits));
    m->scratch = bl_alloc((size_t)n_threads, (2 * e + m->router.n_group) * sizeof(*m->scratch));
    m->choice = bl_alloc(n_tokens, k * sizeof(*m->choice));
    m->choice_weight = bl_alloc(n_tokens, k * sizeof(*m->choice_weight));
    if (!m->logits || !m->scratch || !m->choice || !m->choice_weight)
        return bl_fail_nomem(err, "router");
    gate.y = m->logits;
    rc = bl_linear_run(&gate, m->weights, err);
    if (rc == BL_OK)
        rc = show_routing(m, BL_TAP_ROUTER_LOGITS, err);
    if (rc == BL_OK)
        rc = bl_rows_for(n_tokens, n_threads, choose_rows, m, err);
    if (rc == BL_OK)
        rc = show_routing(m, BL_TAP_ROUTER_CHOICE, err);
    return rc;
}

/* Sort the (token, expert) pairs by expert: a counting sort, so tokens stay in order. */
static bl_status sort_by_expert(struct moe *m, struct bl_err *err)
{
    const size_t k = m->router.n_used, n = m->state->n_tokens * k, e = m->router.n_experts;
    size_t *next;

    m->start = bl_calloc(e + 2, sizeof(*m->start)); /* one spare: next[] is start shifted by one */
    m->token = bl_alloc(n, sizeof(*m->token));
    m->weight = bl_alloc(n, sizeof(*m->weight));
    if (!m->start || !m->token || !m->weight)
        return bl_fail_nomem(err, "router");
    next = m->start + 1;
    for (size_t i = 0; i < n; i++)
        if (m->choice[i] != BL_ROUTER_NONE)
            next[m->choice[i] + 1]++;
    for (size_t i = 0; i < e; i++) {
        m->most = (size_t)bl_max_u64(m->most, next[i + 1]);
        next[i + 1] += next[i];
    }
    for (size_t i = 0; i < n; i++)
        if (m->choice[i] != BL_ROUTER_NONE) {
            size_t at = next[m->choice[i]]++;

            m->token[at] = (uint32_t)(i / k);
            m->weight[at] = m->choice_weight[i];
        }
    return BL_OK;
}

/* The rows of one expert: gather its tokens' x, add its weighted result to their hidden states. */
struct expert_rows {
    const struct moe *m;
    const uint32_t *token;
    const float *weight;
};

static void gather_rows(void *context, size_t row, size_t n_rows, int i_thread)
{
    const struct expert_rows *r = context;
    size_t hidden = r->m->state->hidden_size;

    (void)i_thread;
    for (size_t i = row; i < row + n_rows; i++)
        memcpy(r->m->gathered + i * hidden, r->m->x + r->token[i] * hidden, hidden * sizeof(float));
}

static void add_rows(void *context, size_t row, size_t n_rows, int i_thread)
{
    const struct expert_rows *r = context;
    size_t hidden = r->m->state->hidden_size;

    (void)i_thread;
    for (size_t i = row; i < row + n_rows; i++) {
        float *to = r->m->state->hidden + r->token[i] * hidden;
        const float *from = r->m->result + i * hidden, w = r->weight[i];

        for (size_t j = 0; j < hidden; j++)
            to[j] += w * from[j];
    }
}

static bl_status run_expert(struct moe *m, uint32_t expert, struct bl_err *err)
{
    const size_t n = m->start[expert + 1] - m->start[expert], hidden = m->state->hidden_size;
    const int n_threads = m->weights->n_threads;
    struct expert_rows rows = { m, m->token + m->start[expert], m->weight + m->start[expert] };
    char prefix[32];
    bl_activation seen = { .tap = BL_TAP_EXPERT_INPUT,
                           .layer = m->layer,
                           .expert = (int32_t)expert,
                           .n_rows = n,
                           .n_cols = hidden,
                           .ld = hidden,
                           .value = m->gathered,
                           .token = rows.token,
                           .weight = rows.weight };
    bl_mlp mlp = { .prefix = prefix,
                   .layer = m->layer,
                   .width = m->config->moe_intermediate_size,
                   .x = m->gathered,
                   .y = m->result,
                   .n_tokens = n,
                   .inner = m->inner,
                   .seen = seen };
    bl_status rc;

    snprintf(prefix, sizeof(prefix), "mlp.experts.%u.", expert);
    rc = bl_rows_for(n, n_threads, gather_rows, &rows, err);
    if (rc == BL_OK)
        rc = bl_taps_show(m->taps, &seen, err);
    if (rc == BL_OK)
        rc = bl_mlp_run(&mlp, m->weights, m->taps, err);
    seen.tap = BL_TAP_EXPERT_OUTPUT;
    seen.value = m->result;
    if (rc == BL_OK)
        rc = bl_taps_show(m->taps, &seen, err);
    return rc == BL_OK ? bl_rows_for(n, n_threads, add_rows, &rows, err) : rc;
}

static bl_status run_experts(struct moe *m, struct bl_err *err)
{
    size_t hidden = m->state->hidden_size, width = m->config->moe_intermediate_size;
    bl_status rc = BL_OK;

    m->gathered = bl_alloc(m->most, hidden * sizeof(*m->gathered));
    m->result = bl_alloc(m->most, hidden * sizeof(*m->result));
    m->inner = bl_alloc(m->most, 2 * width * sizeof(*m->inner));
    if (!m->gathered || !m->result || !m->inner)
        return bl_fail_nomem(err, "experts");
    for (uint32_t e = 0; e < m->router.n_experts && rc == BL_OK; e++)
        if (m->start[e + 1] > m->start[e])
            rc = run_expert(m, e, err);
    return rc;
}

static bl_status run_shared(struct moe *m, struct bl_err *err)
{
    bl_mlp mlp = { .prefix = "mlp.shared_experts.",
                   .layer = m->layer,
                   .x = m->x,
                   .y = m->state->hidden,
                   .n_tokens = m->state->n_tokens,
                   .add = true,
                   .seen = { .expert = -1 } };
    float *inner;
    bl_status rc;

    if (m->config->n_shared_experts == 0)
        return BL_OK;
    mlp.width = m->config->n_shared_experts * m->config->moe_intermediate_size;
    inner = bl_alloc(mlp.n_tokens, 2 * (size_t)mlp.width * sizeof(*inner));
    if (!inner)
        return bl_fail_nomem(err, "shared expert");
    mlp.inner = inner;
    rc = bl_mlp_run(&mlp, m->weights, m->taps, err);
    bl_free(inner);
    return rc;
}

bl_status bl_moe_run(bl_state *state, uint32_t layer, const float *x, const bl_weights *weights,
                     const bl_router_policy *policy, const bl_taps *taps, struct bl_err *err)
{
    struct moe m = { .state = state,
                     .layer = layer,
                     .x = x,
                     .weights = weights,
                     .taps = taps,
                     .config = weights->network->config };
    bl_status rc = set_router(&m, policy, err);

    if (rc == BL_OK)
        rc = route(&m, err);
    if (rc == BL_OK)
        rc = sort_by_expert(&m, err);
    if (rc == BL_OK)
        rc = run_experts(&m, err);
    if (rc == BL_OK)
        rc = run_shared(&m, err);
    release(&m);
    return rc;
}
