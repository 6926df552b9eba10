/*
 * golden_run.h - a checkpoint run over the tokens of a golden file (tests/data/README.md), with
 * everything that the golden file knows kept for comparison.
 */
#ifndef BL_TESTS_GOLDEN_RUN_H
#define BL_TESTS_GOLDEN_RUN_H

#include "base/alloc.h"
#include "model/embed.h"
#include "model/head.h"
#include "model/layer.h"
#include "model/mtp.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct golden {
    bl_ckpt *ckpt, *values;
    bl_network network;
    bl_weights weights;
    size_t n_tokens;
    int32_t *tokens;
};

static inline bl_status golden_open(struct golden *g, const char *model, const char *values,
                                    struct bl_err *err)
{
    const bl_tensor *ids;
    float *read;
    bl_status rc = bl_ckpt_open(&g->ckpt, model, err);

    if (rc == BL_OK)
        rc = bl_ckpt_open(&g->values, values, err);
    if (rc == BL_OK)
        rc = bl_network_init(&g->network, bl_ckpt_config(g->ckpt), err);
    if (rc != BL_OK)
        return rc;
    g->weights = (bl_weights){ .ckpt = g->ckpt, .network = &g->network, .n_threads = 1 };
    ids = bl_ckpt_find(g->values, "input_ids");
    g->n_tokens = (size_t)ids->n_values;
    g->tokens = bl_alloc(g->n_tokens, sizeof(*g->tokens));
    read = bl_alloc(g->n_tokens, sizeof(*read));
    rc = bl_ckpt_read_rows(g->values, ids, 0, 1, read, err);
    for (size_t i = 0; i < g->n_tokens; i++)
        g->tokens[i] = (int32_t)read[i];
    bl_free(read);
    return rc;
}

static inline void golden_close(struct golden *g)
{
    bl_ckpt_close(g->ckpt);
    bl_ckpt_close(g->values);
    bl_free(g->tokens);
}

/* Largest |value - golden| of a golden tensor; infinite when it is not there or not so large. */
static inline double golden_error(const struct golden *g, const char *name, const float *values,
                                  size_t n)
{
    const bl_tensor *t = bl_ckpt_find(g->values, name);
    double worst = 0;
    float *want;

    if (!t || t->n_values != n)
        return (double)INFINITY;
    want = bl_alloc(n, sizeof(*want));
    if (bl_ckpt_read_rows(g->values, t, 0, t->n_rows, want, NULL) != BL_OK)
        worst = (double)INFINITY;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)values[i] - (double)want[i]);

        worst = d > worst ? d : isnan(d) ? (double)INFINITY : worst;
    }
    bl_free(want);
    return worst;
}

/* A bl_logits_fn that keeps everything, which only a test can afford. */
struct kept_logits {
    float *values; /* [n_tokens][vocab] */
    size_t vocab;
};

static inline bl_status keep_logits(void *context, size_t token, size_t n_tokens, uint64_t row,
                                    uint64_t n_rows, const float *const *logits, struct bl_err *err)
{
    struct kept_logits *kept = context;

    (void)err;
    for (size_t t = 0; t < n_tokens; t++)
        memcpy(kept->values + (token + t) * kept->vocab + row, logits[0] + t * n_rows,
               n_rows * sizeof(float));
    return BL_OK;
}

/* logits[n][vocab] of n rows x that are already normalised. */
static inline bl_status golden_logits(float **out, const float *x, size_t n, const bl_tensor *table,
                                      const bl_weights *weights, struct bl_err *err)
{
    const bl_head head = { .weights = weights, .table = table, .x = x };
    struct kept_logits kept = { bl_alloc(n, (size_t)table->n_rows * sizeof(float)),
                                (size_t)table->n_rows };
    bl_status rc = kept.values ? bl_head_run(&head, 1, n, keep_logits, &kept, err)
                               : bl_fail_nomem(err, "kept logits");

    if (rc == BL_OK)
        *out = kept.values;
    else
        bl_free(kept.values);
    return rc;
}

/* Layers from the state's next one up to (not with) `end`. */
static inline bl_status golden_layers(bl_state *s, uint32_t end, const bl_weights *weights,
                                      const bl_router_policy *policy, const bl_taps *taps,
                                      struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (uint32_t layer = s->n_layers_done; layer < end && rc == BL_OK; layer++)
        rc = bl_layer_step(s, layer, weights, policy, taps, err);
    return rc;
}

/* Final norm and head over every token of the state. */
static inline bl_status golden_finish(float **logits, const bl_state *s, const bl_weights *weights,
                                      struct bl_err *err)
{
    float *x = bl_alloc(s->n_tokens, s->hidden_size * sizeof(*x));
    const bl_tensor *table = NULL;
    bl_status rc =
        x ? bl_final_norm(x, s, NULL, s->n_tokens, weights, err) : bl_fail_nomem(err, "test");

    if (rc == BL_OK)
        rc = bl_head_table(&table, weights, err);
    if (rc == BL_OK)
        rc = golden_logits(logits, x, s->n_tokens, table, weights, err);
    bl_free(x);
    return rc;
}

/* The whole model from tokens to logits. */
static inline bl_status golden_forward(float **logits, const int32_t *tokens, uint32_t n_seqs,
                                       uint32_t n_positions, const bl_weights *weights,
                                       const bl_router_policy *policy, struct bl_err *err)
{
    bl_state s = { 0 };
    bl_status rc = bl_state_init(&s, tokens, n_seqs, n_positions,
                                 weights->network->config->hidden_size, NULL, err);

    if (rc == BL_OK)
        rc = bl_embed(&s, weights, err);
    if (rc == BL_OK)
        rc = golden_layers(&s, weights->network->config->n_layers, weights, policy, NULL, err);
    if (rc == BL_OK)
        rc = golden_finish(logits, &s, weights, err);
    bl_state_release(&s);
    return rc;
}

#endif
