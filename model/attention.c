/* attention.c - what both kinds of attention share: the loop over heads, sequences and blocks. */
#include "model/attention.h"

#include "base/alloc.h"
#include "base/par.h"
#include "base/size.h"
#include "model/linear.h"
#include "model/op_attention.h"
#include "model/rows.h"

size_t bl_attention_floats(const bl_network *network)
{
    const bl_config *c = network->config;
    size_t group = (size_t)bl_min_u64(BL_ATTENTION_GROUP, network->n_heads);
    size_t out = network->n_heads * (size_t)network->v_dim, x = c->hidden_size;

    if (network->mla) { /* the latent twice: once more where a tap wants BL_TAP_VALUE_LATENT */
        size_t latent = 2 * (size_t)c->kv_lora_rank + network->rope_dim + c->q_lora_rank;
        size_t heads = group * ((size_t)network->qk_dim + c->qk_nope_head_dim + network->v_dim);

        /* x is dropped when the latents are made, unless q is made from it */
        return latent + (c->q_lora_rank ? bl_max_u64(x, heads + out) : x + heads + out);
    }
    group = (size_t)bl_max_u64(group, network->heads_per_kv);
    return x + out +
           (group + 2 * (size_t)bl_ceil_div_u64(group, network->heads_per_kv)) * network->qk_dim;
}

struct heads_job {
    const bl_attention_heads *heads;
    const bl_block *tokens;
    size_t n_blocks;
    float *scores; /* [n_threads][BL_ATTENTION_BLOCK][n_positions] */
};

/* The end of the run of queries from i on that see keys from the same place, *start. */
size_t bl_attention_run_end(size_t *start, const uint32_t *starts, size_t i, size_t end)
{
    size_t j = i + 1;

    *start = starts ? starts[i] : 0;
    while (starts && j < end && starts[j] == starts[i])
        j++;
    return starts ? j : end;
}

bl_attention_head bl_attention_head_of(const bl_attention_heads *g, size_t head, size_t row)
{
    const float *q = g->q + row * g->ldq + head * (g->own_dim + g->shared_dim);
    const size_t kv = head / g->heads_per_kv;
    bl_attention_head h = {
        .part[0] = { q, g->k + row * g->ldk + kv * g->k_stride, g->ldq, g->ldk, g->own_dim },
        .n_parts = 1,
        .v = g->v + row * g->ldv + kv * g->v_stride,
        .ldv = g->ldv,
        .v_dim = g->v_dim,
        .out = g->out + row * g->ldout + head * g->v_dim,
        .ldout = g->ldout,
        .scale = g->scale,
    };

    if (g->shared_k)
        h.part[h.n_parts++] = (bl_attention_part){ q + g->own_dim, g->shared_k + row * g->ld_shared,
                                                   g->ldq, g->ld_shared, g->shared_dim };
    return h;
}

static bl_status attend_block(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct heads_job *job = context;
    const bl_attention_heads *g = job->heads;
    const bl_block *b = job->tokens;
    size_t per_block = g->n_heads * (size_t)b->n_seqs;
    size_t block = job->n_blocks - 1 - i / per_block; /* the longest first: threads end together */
    size_t row = i % per_block / g->n_heads * b->n_positions;
    size_t first = block * BL_ATTENTION_BLOCK, start;
    size_t end = (size_t)bl_min_u64(first + BL_ATTENTION_BLOCK, b->n_positions);
    const bl_attention_head h = bl_attention_head_of(g, i % g->n_heads, row);

    (void)err;
    for (size_t query = first, next; query < end; query = next) {
        next = bl_attention_run_end(&start, b->start ? b->start + row : NULL, query, end);
        bl_attention(&h, start, query, next - query,
                     job->scores + (size_t)i_thread * BL_ATTENTION_BLOCK * b->n_positions);
    }
    return BL_OK;
}

bl_status bl_attention_heads_run(const bl_attention_heads *heads, const bl_block *block,
                                 int n_threads, struct bl_err *err)
{
    const size_t n_positions = block->n_positions;
    struct heads_job job = { .heads = heads, .tokens = block };
    bl_status rc;

    job.n_blocks = (size_t)bl_ceil_div_u64(n_positions, BL_ATTENTION_BLOCK);
    job.scores =
        bl_alloc((size_t)n_threads * BL_ATTENTION_BLOCK, n_positions * sizeof(*job.scores));
    if (!job.scores)
        return bl_fail_nomem(err, "attention scores");
    rc = bl_par_for(heads->n_heads * (size_t)block->n_seqs * job.n_blocks, n_threads, attend_block,
                    &job, err);
    bl_free(job.scores);
    return rc;
}

struct rotate_job {
    void (*turn)(float *x, size_t n_heads, size_t head_stride, const bl_rope *rope,
                 size_t position);
    float *x;
    size_t ldx, n_heads, head_stride, n_positions;
    const bl_rope *rope;
};

static void rotate_rows(void *context, size_t row, size_t n_rows, int i_thread)
{
    const struct rotate_job *job = context;

    (void)i_thread;
    for (size_t t = row; t < row + n_rows; t++)
        job->turn(job->x + t * job->ldx, job->n_heads, job->head_stride, job->rope,
                  t % job->n_positions);
}

bl_status bl_attention_rotate(float *x, size_t ldx, size_t n_heads, size_t head_stride,
                              const bl_rope *rope, const bl_block *block, int n_threads,
                              struct bl_err *err)
{
    struct rotate_job job = {
        bl_rope_rotate, x, ldx, n_heads, head_stride, block->n_positions, rope
    };

    return bl_rows_for(block->n_tokens, n_threads, rotate_rows, &job, err);
}

bl_status bl_attention_rotate_backward(float *dx, size_t lddx, size_t n_heads, size_t head_stride,
                                       const bl_rope *rope, const bl_block *block, int n_threads,
                                       struct bl_err *err)
{
    struct rotate_job job = { bl_rope_rotate_backward, dx,  lddx, n_heads, head_stride,
                              block->n_positions,      rope };

    return bl_rows_for(block->n_tokens, n_threads, rotate_rows, &job, err);
}

bl_status bl_attention_output(bl_block *block, const float *out, uint32_t layer,
                              const bl_weights *weights, const bl_taps *taps, struct bl_err *err)
{
    const bl_network *net = weights->network;
    size_t n = net->n_heads * (size_t)net->v_dim, hidden = block->hidden_size;
    bl_linear l = { .y = block->hidden,
                    .ldy = hidden,
                    .x = out,
                    .ldx = n,
                    .n_tokens = block->n_tokens,
                    .n_rows = hidden,
                    .add = true };
    bl_status rc = bl_taps_show_block(taps, BL_TAP_ATTENTION_HEADS, layer, block, out, n, err);

    if (rc == BL_OK)
        rc = bl_weights_find(&l.weight, weights, layer, "self_attn.o_proj.weight", hidden, n, err);
    return rc == BL_OK ? bl_linear_run(&l, weights, err) : rc;
}
