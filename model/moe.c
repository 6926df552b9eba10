/* moe.c - route, gather each expert's tokens, run it, add what it says. */
#include "model/moe.h"

#include "base/alloc.h"
#include "base/size.h"
#include "model/hold.h"
#include "model/linear.h"
#include "model/mlp.h"
#include "model/norm.h"
#include "model/rows.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { PREFIX_BYTES = 32, SUFFIX_BYTES = 64 };

struct bl_moe {
    bl_state *state;
    uint32_t layer;
    bl_weights weights; /* its hold is for the blocks of router and shared expert */
    bl_hold hold;
    const bl_taps *taps;
    const bl_config *config;
    bl_router *router;    /* one for each variant of the policy */
    size_t router_tokens; /* router[i] is for the tokens from i * router_tokens on */
    size_t n_slots;       /* k: experts of a token, with the router that takes most */
    float *bias;          /* [E], or NULL */
    bl_matrix x;          /* [T][hidden]: the normalised input */
    float *block_x;       /* [block][hidden] where x is spilled */
    float *logits;        /* [block][E] */
    float *scratch;       /* [n_threads][2 E + n_group] */
    float *inner;         /* [2][block][shared width] */
    uint32_t *choice;     /* [T][k] */
    float *choice_weight; /* [T][k] */
    size_t *start;        /* [E + 1]: where each expert's rows begin in token and weight */
    uint32_t *token;      /* rows by expert, ascending token within */
    float *weight;
    size_t most; /* rows of the busiest expert */
};

void bl_moe_end(bl_moe *m)
{
    if (!m)
        return;
    bl_hold_release(&m->hold);
    bl_matrix_release(&m->x);
    bl_free(m->router);
    bl_free(m->bias);
    bl_free(m->block_x);
    bl_free(m->logits);
    bl_free(m->scratch);
    bl_free(m->inner);
    bl_free(m->choice);
    bl_free(m->choice_weight);
    bl_free(m->start);
    bl_free(m->token);
    bl_free(m->weight);
    bl_free(m);
}

static bl_status set_routers(bl_moe *m, const bl_router_policy *policy, struct bl_err *err)
{
    const uint32_t n = bl_router_n_variants(policy);
    bl_status rc = BL_OK;

    assert(n > 0 && m->state->n_seqs % n == 0);
    m->router_tokens = m->state->n_tokens / n;
    m->router = bl_calloc(n, sizeof(*m->router));
    if (!m->router)
        return bl_fail_nomem(err, "router");
    if (m->config->router_bias)
        rc = bl_weights_vector(&m->bias, &m->weights, m->layer, "mlp.gate.e_score_correction_bias",
                               m->config->n_experts, err);
    for (uint32_t i = 0; i < n && rc == BL_OK; i++) {
        rc = bl_router_init(&m->router[i], m->config, bl_router_variant(policy, i), m->bias, err);
        m->n_slots = (size_t)bl_max_u64(m->n_slots, m->router[i].n_used);
    }
    return rc;
}

/* Floats that a thread needs to choose. */
static size_t scratch_floats(const bl_moe *m)
{
    return 2 * (size_t)m->config->n_experts + m->config->n_group;
}

static bl_status allocate(bl_moe *m, struct bl_err *err)
{
    const size_t n_tokens = m->state->n_tokens, n_block = bl_block_tokens(m->state);
    const size_t e = m->config->n_experts, k = m->n_slots, hidden = m->state->hidden_size;
    bl_status rc = bl_matrix_init(&m->x, n_tokens, hidden, m->state->room.scratch, err);

    if (rc != BL_OK)
        return rc;
    if (m->x.file)
        m->block_x = bl_alloc(n_block, hidden * sizeof(*m->block_x));
    m->logits = bl_alloc(n_block, e * sizeof(*m->logits));
    m->scratch = bl_alloc((size_t)m->weights.n_threads, scratch_floats(m) * sizeof(*m->scratch));
    m->choice = bl_alloc(n_tokens, k * sizeof(*m->choice));
    m->choice_weight = bl_alloc(n_tokens, k * sizeof(*m->choice_weight));
    if ((m->x.file && !m->block_x) || !m->logits || !m->scratch || !m->choice || !m->choice_weight)
        return bl_fail_nomem(err, "router");
    return BL_OK;
}

bl_status bl_moe_begin(bl_moe **out, bl_state *state, uint32_t layer, const bl_weights *weights,
                       const bl_router_policy *policy, const bl_taps *taps, struct bl_err *err)
{
    bl_moe *m = bl_calloc(1, sizeof(*m));
    bl_status rc;

    if (!m)
        return bl_fail_nomem(err, "router");
    m->state = state;
    m->layer = layer;
    m->weights = *weights;
    m->weights.hold = bl_block_tokens(state) < state->n_tokens ? &m->hold : NULL;
    m->taps = taps;
    m->config = weights->network->config;
    rc = set_routers(m, policy, err);
    if (rc == BL_OK)
        rc = allocate(m, err);
    if (rc == BL_OK)
        *out = m;
    else
        bl_moe_end(m);
    return rc;
}

/* Where the block's rows of x are, or are made before they go to the file. */
static float *x_of_block(const bl_moe *m, const bl_block *block)
{
    return m->block_x ? m->block_x : m->x.values + block->first * m->x.n_cols;
}

/* The residual stream of a block, before the experts or after the routed ones. */
static bl_status show_hidden(const bl_moe *m, const bl_block *block, bl_tap tap, struct bl_err *err)
{
    return bl_taps_show_block(m->taps, tap, m->layer, block, block->hidden, block->hidden_size,
                              err);
}

static bl_status normalise(bl_moe *m, const bl_block *block, struct bl_err *err)
{
    float *x = x_of_block(m, block);
    bl_status rc = show_hidden(m, block, BL_TAP_MOE_RESIDUAL, err);

    if (rc == BL_OK)
        rc = bl_norm_block(x, block, m->layer, "post_attention_layernorm.weight", &m->weights, err);
    if (rc == BL_OK && m->x.file)
        rc = bl_matrix_write(&m->x, block->first, block->n_tokens, x, err);
    if (rc != BL_OK)
        return rc;
    return bl_taps_show_block(m->taps, BL_TAP_FFN_INPUT, m->layer, block, x, block->hidden_size,
                              err);
}

struct choosing {
    bl_moe *m;
    size_t first; /* the state's token of the block's first */
};

static void choose_rows(void *context, size_t row, size_t n_rows, int i_thread)
{
    const struct choosing *c = context;
    const bl_moe *m = c->m;
    float *scratch = m->scratch + (size_t)i_thread * scratch_floats(m);

    for (size_t t = row; t < row + n_rows; t++) {
        const bl_router *router = &m->router[(c->first + t) / m->router_tokens];
        uint32_t *choice = m->choice + (c->first + t) * m->n_slots;
        float *weight = m->choice_weight + (c->first + t) * m->n_slots;

        bl_router_choose(choice, weight, router, m->logits + t * router->n_experts, scratch);
        for (size_t k = router->n_used; k < m->n_slots; k++) {
            choice[k] = BL_ROUTER_NONE;
            weight[k] = 0;
        }
    }
}

static bl_status show_routing(const bl_moe *m, const bl_block *block, bl_tap tap,
                              struct bl_err *err)
{
    bool logits = tap == BL_TAP_ROUTER_LOGITS;
    size_t n = logits ? m->config->n_experts : m->n_slots, at = block->first * n;
    const bl_activation seen = { .tap = tap,
                                 .layer = m->layer,
                                 .expert = -1,
                                 .first = block->first,
                                 .n_rows = block->n_tokens,
                                 .n_cols = n,
                                 .ld = n,
                                 .value = logits ? m->logits : m->choice_weight + at,
                                 .choice = logits ? NULL : m->choice + at };

    return bl_taps_show(m->taps, &seen, err);
}

bl_status bl_moe_route(bl_moe *m, const bl_block *block, struct bl_err *err)
{
    const size_t e = m->config->n_experts;
    struct choosing choosing = { m, block->first };
    bl_linear gate = { .y = m->logits,
                       .ldy = e,
                       .x = x_of_block(m, block),
                       .ldx = block->hidden_size,
                       .n_tokens = block->n_tokens,
                       .n_rows = e };
    bl_status rc = normalise(m, block, err);

    if (rc == BL_OK)
        rc = bl_weights_find(&gate.weight, &m->weights, m->layer, "mlp.gate.weight", e, gate.ldx,
                             err);
    if (rc == BL_OK)
        rc = bl_linear_run(&gate, &m->weights, err);
    if (rc == BL_OK)
        rc = show_routing(m, block, BL_TAP_ROUTER_LOGITS, err);
    if (rc == BL_OK)
        rc = bl_rows_for(block->n_tokens, m->weights.n_threads, choose_rows, &choosing, err);
    return rc == BL_OK ? show_routing(m, block, BL_TAP_ROUTER_CHOICE, err) : rc;
}

/* Sort the (token, expert) pairs by expert: a counting sort, so tokens stay in order. */
static bl_status sort_by_expert(bl_moe *m, struct bl_err *err)
{
    const size_t k = m->n_slots, n = m->state->n_tokens * k, e = m->config->n_experts;
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

/* Buffers for a run of at most `rows` of an expert's tokens. */
struct expert_run {
    bl_moe *m;
    const bl_weights *weights;
    uint32_t expert;
    size_t rows;
    float *gathered, *result, *inner;
};

/* Tokens [at, at + n) of the sorted list: gather x, compute, add to their hidden states. */
static bl_status run_rows(const struct expert_run *run, size_t at, size_t n, struct bl_err *err)
{
    bl_moe *m = run->m;
    const size_t hidden = m->state->hidden_size;
    const int n_threads = m->weights.n_threads;
    char prefix[PREFIX_BYTES];
    bl_activation seen = { .tap = BL_TAP_EXPERT_INPUT,
                           .layer = m->layer,
                           .expert = (int32_t)run->expert,
                           .n_rows = n,
                           .n_cols = hidden,
                           .ld = hidden,
                           .value = run->gathered,
                           .token = m->token + at,
                           .weight = m->weight + at };
    bl_mlp mlp = { .prefix = prefix,
                   .layer = m->layer,
                   .width = m->config->moe_intermediate_size,
                   .x = run->gathered,
                   .y = run->result,
                   .n_tokens = n,
                   .inner = run->inner,
                   .seen = seen };
    bl_status rc = bl_matrix_gather(run->gathered, &m->x, m->token + at, n, n_threads, err);

    snprintf(prefix, sizeof(prefix), "mlp.experts.%u.", run->expert);
    if (rc == BL_OK)
        rc = bl_taps_show(m->taps, &seen, err);
    if (rc == BL_OK)
        rc = bl_mlp_run(&mlp, run->weights, m->taps, err);
    seen.tap = BL_TAP_EXPERT_OUTPUT;
    seen.value = run->result;
    if (rc == BL_OK)
        rc = bl_taps_show(m->taps, &seen, err);
    if (rc == BL_OK)
        rc = bl_matrix_add(&m->state->hidden, m->token + at, m->weight + at, run->result, n,
                           n_threads, err);
    return rc;
}

/* All tokens of one expert; held where they need several runs. */
static bl_status run_expert(struct expert_run *run, struct bl_err *err)
{
    const bl_moe *m = run->m;
    size_t end = m->start[run->expert + 1];
    bl_weights weights = m->weights;
    bl_hold hold = { 0 };
    bl_status rc = BL_OK;

    weights.hold = end - m->start[run->expert] > run->rows ? &hold : NULL;
    run->weights = &weights;
    for (size_t at = m->start[run->expert]; at < end && rc == BL_OK; at += run->rows)
        rc = run_rows(run, at, (size_t)bl_min_u64(run->rows, end - at), err);
    run->weights = NULL;
    bl_hold_release(&hold);
    return rc;
}

static void prefetch(const bl_moe *m, const char *prefix)
{
    static const char *const names[] = { "gate_proj.weight", "up_proj.weight", "down_proj.weight" };
    char suffix[SUFFIX_BYTES];

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(suffix, sizeof(suffix), "%s%s", prefix, names[i]);
        bl_weights_prefetch(&m->weights, m->layer, suffix);
    }
}

/* The first expert from e on that any token chose. */
static uint32_t next_chosen(const bl_moe *m, uint32_t e)
{
    while (e < m->config->n_experts && m->start[e + 1] == m->start[e])
        e++;
    return e;
}

/* What comes after expert e: the next one with tokens, or the shared one. */
static void prefetch_after(const bl_moe *m, uint32_t e)
{
    uint32_t next = next_chosen(m, e + 1);
    char prefix[PREFIX_BYTES];

    snprintf(prefix, sizeof(prefix), "mlp.experts.%u.", next);
    prefetch(m, next < m->config->n_experts ? prefix : "mlp.shared_experts.");
}

size_t bl_moe_rows(const bl_config *config, size_t n_tokens, size_t block_tokens)
{
    uint64_t pairs = (uint64_t)n_tokens * config->n_experts_used;
    uint64_t tiles = bl_ceil_div_u64(2 * pairs, (uint64_t)config->n_experts * BL_LINEAR_TOKENS);

    return (size_t)bl_min_u64(tiles * BL_LINEAR_TOKENS, block_tokens);
}

bl_status bl_moe_experts(bl_moe *m, struct bl_err *err)
{
    size_t hidden = m->state->hidden_size, width = m->config->moe_intermediate_size;
    struct expert_run run = { .m = m };
    bl_status rc = sort_by_expert(m, err);

    if (rc != BL_OK)
        return rc;
    bl_free(m->choice); /* in token and weight now */
    bl_free(m->choice_weight);
    m->choice = NULL;
    m->choice_weight = NULL;
    run.rows = bl_moe_rows(m->config, m->state->n_tokens, bl_block_tokens(m->state));
    run.rows = (size_t)bl_min_u64(bl_max_u64(m->most, 1), run.rows);
    run.gathered = bl_alloc(run.rows, hidden * sizeof(*run.gathered));
    run.result = bl_alloc(run.rows, hidden * sizeof(*run.result));
    run.inner = bl_alloc(run.rows, 2 * width * sizeof(*run.inner));
    if (!run.gathered || !run.result || !run.inner)
        rc = bl_fail_nomem(err, "experts");
    for (run.expert = next_chosen(m, 0); run.expert < m->config->n_experts && rc == BL_OK;
         run.expert = next_chosen(m, run.expert + 1)) {
        prefetch_after(m, run.expert);
        rc = run_expert(&run, err);
    }
    bl_free(run.gathered);
    bl_free(run.result);
    bl_free(run.inner);
    return rc;
}

bl_status bl_moe_shared(bl_moe *m, bl_block *block, struct bl_err *err)
{
    float *x = x_of_block(m, block);
    bl_mlp mlp = { .prefix = "mlp.shared_experts.",
                   .layer = m->layer,
                   .width = m->config->n_shared_experts * m->config->moe_intermediate_size,
                   .x = x,
                   .y = block->hidden,
                   .n_tokens = block->n_tokens,
                   .add = true,
                   .seen = { .expert = -1, .first = block->first } };
    bl_status rc = show_hidden(m, block, BL_TAP_MOE_ROUTED, err);

    if (rc != BL_OK || m->config->n_shared_experts == 0)
        return rc;
    if (!m->inner)
        m->inner = bl_alloc(bl_block_tokens(m->state), 2 * (size_t)mlp.width * sizeof(*m->inner));
    if (!m->inner)
        return bl_fail_nomem(err, "shared expert");
    mlp.inner = m->inner;
    if (m->x.file)
        rc = bl_matrix_read(x, &m->x, block->first, block->n_tokens, err);
    return rc == BL_OK ? bl_mlp_run(&mlp, &m->weights, m->taps, err) : rc;
}
