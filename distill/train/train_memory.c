/* train_memory.c - see train_memory.h. Sums that pass 2^64 are no machine's: they stop there. */
#include "distill/train/train_memory.h"

#include "base/size.h"
#include "distill/train/head_loss.h"
#include "model/network.h"
#include "model/tape.h"

#include <string.h>

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t product;

    return bl_mul_u64(&product, a, b) ? product : UINT64_MAX;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return bl_add_u64(&sum, a, b) ? sum : UINT64_MAX;
}

/* Parameters, and those of the largest matrix. A tied head is the embedding. */
static void count_values(uint64_t *n, uint64_t *largest, const bl_ckpt *student)
{
    const bool tied = bl_ckpt_config(student)->tie_word_embeddings;

    *n = *largest = 0;
    for (size_t i = 0; i < bl_ckpt_n_tensors(student); i++) {
        const bl_tensor *t = bl_ckpt_tensor(student, i);

        if (tied && strcmp(t->name, "lm_head.weight") == 0)
            continue;
        *n = plus(*n, t->n_values);
        *largest = bl_max_u64(*largest, t->n_values);
    }
}

static uint64_t count_activations(const bl_network *net, uint64_t n_tokens, bool recompute)
{
    const bl_config *c = net->config;
    const uint64_t tape = bl_tape_floats(net);
    const uint64_t kept = recompute ? plus(times(2, tape), times(c->n_layers, c->hidden_size))
                                    : times((uint64_t)c->n_layers + 1, tape);

    return times(4 * n_tokens, plus(kept, 5 * (uint64_t)c->hidden_size));
}

static uint64_t count_batch(const bl_recipe *r, uint64_t n_tokens)
{
    const bl_cache_info *c = &r->cache;
    const uint64_t entries = (uint64_t)c->n_draws + c->n_top;

    if (!(r->loss.kd > 0))
        return times(n_tokens, 12);
    return times(n_tokens, 24 + 4 * (uint64_t)c->hidden_size + 8 * entries);
}

bl_status bl_train_memory(bl_train_needs *out, const bl_ckpt *student, const bl_recipe *r,
                          bool recompute, int n_threads, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(student);
    const uint64_t n_tokens = times(r->batch, r->cache.n_positions);
    const uint64_t vocab = c->vocab_size;
    const uint64_t logits = times(bl_min_u64(n_tokens, bl_head_loss_tokens(c->vocab_size)), vocab);
    const bool hidden = r->loss.kd > 0 && r->cache.kind == BL_CACHE_HIDDEN;
    bl_train_needs needs = { 0 };
    bl_network network;
    uint64_t largest;
    bl_status rc = bl_network_init(&network, c, err);

    if (rc != BL_OK)
        return rc;
    count_values(&needs.n_values, &largest, student);
    needs.weights = times(needs.n_values, r->bf16 ? 2 : 4);
    needs.gradients = times(needs.n_values, 4);
    needs.moments = times(needs.n_values, 8);
    needs.activations = count_activations(&network, n_tokens, recompute);
    needs.head = plus(times(logits, hidden ? 8 : 4), 12 * vocab * (uint64_t)n_threads);
    if (r->bf16)
        needs.head = plus(needs.head, times(largest, 4));
    needs.batch = count_batch(r, n_tokens);
    needs.memory = plus(plus(plus(needs.weights, needs.gradients), needs.moments),
                        plus(plus(needs.activations, needs.head), needs.batch));
    needs.checkpoint = plus(needs.weights, needs.moments);
    *out = needs;
    return BL_OK;
}
