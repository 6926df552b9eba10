/*
 * room.c - see room.h. The sums follow what layer.c, attention*.c, moe.c, linear.c and head.c
 * allocate; tests/interop/memory_caps.sh holds them against measured sizes.
 */
#include "model/room.h"

#include "base/size.h"
#include "model/attention.h"
#include "model/head.h"
#include "model/linear.h"
#include "model/moe.h"
#include "model/op_attention.h"
#include "model/slab.h"

#include <inttypes.h>

enum {
    F32 = 4,
    BLAS_COLS = 512,           /* columns of a tile that OpenBLAS packs at a time */
    PER_SCORED = 64 + 2 * F32, /* statistics, rows, targets of a scored position */
};

/* One model's share; B and T are tokens. */
struct sum {
    const bl_room_job *job;
    const bl_config *c;
    const bl_network *net;
    uint64_t b, t;
    bool held, spilled;
};

/* Weights of one product while it runs: decoded whole, a slab, or a tile of rows a thread. */
static uint64_t weight_bytes(const struct sum *s, uint64_t rows, uint64_t cols)
{
    uint64_t tiles = (uint64_t)s->job->n_threads * BL_LINEAR_ROWS * cols;

    if (s->held)
        return F32 * rows * cols;
    return bl_min_u64(F32 * rows * cols, bl_max_u64(BL_SLAB_BYTES, F32 * tiles));
}

static uint64_t attention_weights(const struct sum *s)
{
    const bl_config *c = s->c;
    uint64_t h = c->hidden_size, heads = s->net->n_heads, v = s->net->v_dim, qk = s->net->qk_dim;
    uint64_t kv_a = (uint64_t)c->kv_lora_rank + s->net->rope_dim, o = weight_bytes(s, h, heads * v);
    uint64_t q_in = c->q_lora_rank ? c->q_lora_rank : h;

    if (!s->held)
        return bl_max_u64(o, weight_bytes(s, heads * qk, q_in));
    if (!s->net->mla)
        return o + weight_bytes(s, (heads + 2 * (uint64_t)s->net->n_kv_heads) * qk, h);
    return o + weight_bytes(s, heads * qk, q_in) + weight_bytes(s, kv_a, h) +
           (c->q_lora_rank ? weight_bytes(s, c->q_lora_rank, h) : 0) +
           weight_bytes(s, heads * (c->qk_nope_head_dim + v), c->kv_lora_rank);
}

static uint64_t mlp_weights(const struct sum *s, uint64_t width)
{
    uint64_t one = weight_bytes(s, width, s->c->hidden_size);

    return s->held ? 3 * one : one;
}

static uint64_t attention_bytes(const struct sum *s)
{
    uint64_t scores = (uint64_t)s->job->n_threads * BL_ATTENTION_BLOCK * s->job->n_positions;
    uint64_t angles = (uint64_t)s->job->n_positions * s->net->rope_dim;

    return F32 * (s->b * bl_attention_floats(s->net) + scores + angles) + attention_weights(s);
}

static uint64_t dense_bytes(const struct sum *s)
{
    return F32 * s->b * (s->c->hidden_size + 2 * (uint64_t)s->c->intermediate_size) +
           mlp_weights(s, s->c->intermediate_size);
}

static uint64_t moe_bytes(const struct sum *s)
{
    const bl_config *c = s->c;
    uint64_t h = c->hidden_size, e = c->n_experts, k = c->n_experts_used;
    uint64_t w = c->moe_intermediate_size, shared = c->n_shared_experts * w;
    uint64_t rows = bl_moe_rows(c, (size_t)s->t, (size_t)s->b), most;
    struct sum expert = *s;

    expert.held = rows < s->t; /* as one that is busier than that is */
    most = bl_max_u64(F32 * rows * 2 * (h + w) + mlp_weights(&expert, w),
                      F32 * s->b * 2 * shared + mlp_weights(s, shared));
    most = bl_max_u64(most, weight_bytes(s, e, h));
    return most + F32 * s->b * e + 16 * s->t * k + F32 * h * (s->spilled ? s->b : s->t);
}

static uint64_t layer_bytes(const struct sum *s)
{
    const bl_config *c = s->c;
    uint64_t most = attention_bytes(s);

    for (uint32_t layer = 0; layer < c->n_layers; layer++)
        most = bl_max_u64(most, bl_config_layer_is_moe(c, layer) ? moe_bytes(s) : dense_bytes(s));
    return most + (s->spilled ? F32 * s->b * c->hidden_size : 0);
}

static uint64_t tokens_of_block(const bl_room_job *job, const bl_room *room)
{
    uint32_t seqs =
        room->block_seqs ? (uint32_t)bl_min_u64(room->block_seqs, job->n_seqs) : job->n_seqs;

    return (uint64_t)seqs * job->n_positions;
}

/* The model with the hungriest layer. */
static uint64_t layers_bytes(const bl_room_job *job, const bl_room *room)
{
    const uint64_t t = (uint64_t)job->n_seqs * job->n_positions, b = tokens_of_block(job, room);
    uint64_t worst = 0;

    for (size_t m = 0; m < job->n_models; m++) {
        const struct sum s = { .job = job,
                               .c = job->network[m]->config,
                               .net = job->network[m],
                               .b = b,
                               .t = t,
                               .held = b < t,
                               .spilled = room->scratch != NULL };

        worst = bl_max_u64(worst, layer_bytes(&s));
    }
    return worst;
}

/* For each thread what BLAS packs of a tile, and stored bytes and scales on their way. */
static uint64_t thread_bytes(const bl_room_job *job)
{
    uint64_t hidden = 0;

    for (size_t m = 0; m < job->n_models; m++)
        hidden = bl_max_u64(hidden, job->network[m]->config->hidden_size);
    return (uint64_t)job->n_threads * F32 *
           ((BL_LINEAR_TOKENS + BL_LINEAR_ROWS) * bl_min_u64(hidden, BLAS_COLS) +
            BL_LINEAR_ROWS * hidden);
}

/* The heads of all models: what they take once, and for every row. */
static void count_head(uint64_t *once, uint64_t *a_row, const bl_room_job *job)
{
    *once = 0;
    *a_row = 0;
    for (size_t m = 0; m < job->n_models; m++) {
        uint64_t h = job->network[m]->config->hidden_size;
        uint64_t slice = bl_min_u64(BL_HEAD_ROWS, bl_max_u64(BL_SLAB_BYTES / F32 / h, 1));

        slice = bl_min_u64(slice, job->network[m]->config->vocab_size);
        *once += F32 * slice * (h + (uint64_t)job->n_threads * BL_HEAD_TOKENS);
        *a_row += F32 * h;
    }
}

size_t bl_room_head_rows(const bl_room_job *job, const bl_room *room)
{
    uint64_t layers = layers_bytes(job, room), once, a_row, rows;

    count_head(&once, &a_row, job);
    rows = layers > once ? (layers - once) / bl_max_u64(a_row, 1) : 0;
    rows =
        bl_max_u64(rows / BL_HEAD_TOKENS, 1) * BL_HEAD_TOKENS; /* the same blocks, the same bits */
    return (size_t)bl_min_u64(job->n_scored, rows);
}

uint64_t bl_room_bytes(const bl_room_job *job, const bl_room *room, uint64_t *spilled)
{
    const uint64_t t = (uint64_t)job->n_seqs * job->n_positions;
    uint64_t kept = PER_SCORED * (uint64_t)job->n_scored, scratch = 0, once, a_row;
    uint64_t most_experts_input = 0;

    for (size_t m = 0; m < job->n_models; m++) {
        const bl_config *c = job->network[m]->config;
        uint64_t hidden = F32 * t * c->hidden_size * (1 + (uint64_t)job->n_copies);

        kept += F32 * t + (room->scratch ? 0 : hidden);
        scratch += hidden;
        if (c->n_experts)
            most_experts_input = bl_max_u64(most_experts_input, F32 * t * c->hidden_size);
    }
    if (spilled)
        *spilled = room->scratch ? scratch + most_experts_input : 0;
    count_head(&once, &a_row, job);
    return kept + thread_bytes(job) +
           bl_max_u64(layers_bytes(job, room), once + a_row * bl_room_head_rows(job, room));
}

/* Sequences of a block of at most so many, its tokens a multiple of whole tiles where that works. */
static uint32_t round_block(const bl_room_job *job, uint32_t seqs)
{
    uint32_t unit = BL_LINEAR_TOKENS;

    while (unit > 1 && (uint64_t)(unit / 2) * job->n_positions % BL_LINEAR_TOKENS == 0)
        unit /= 2;
    return seqs > unit ? seqs / unit * unit : seqs;
}

/* The most sequences a block may have within `bytes`; 0: not even one. */
static uint32_t largest_block(const bl_room_job *job, uint64_t bytes, const char *scratch)
{
    uint32_t low = 0, high = job->n_seqs;

    while (low < high) {
        uint32_t middle = high - (high - low) / 2;
        const bl_room room = { middle, scratch };

        if (bl_room_bytes(job, &room, NULL) <= bytes)
            low = middle;
        else
            high = middle - 1;
    }
    return low ? round_block(job, low) : 0;
}

bl_room bl_room_least(const bl_room_job *job, const char *scratch)
{
    const bl_room whole = { 0 }, one = { 1, scratch };

    return bl_room_bytes(job, &whole, NULL) < bl_room_bytes(job, &one, NULL) ? whole : one;
}

static bl_status refuse(const bl_room_job *job, uint64_t bytes, const char *scratch,
                        struct bl_err *err)
{
    const bl_room least = bl_room_least(job, scratch);

    return bl_fail(err, BL_E_USAGE,
                   "%" PRIu64 " MB of memory are too few: the pass needs %" PRIu64 " MB%s",
                   bytes / 1000000, bl_room_bytes(job, &least, NULL) / 1000000 + 1,
                   scratch ? "" : ", or less with --scratch DIR");
}

bl_status bl_room_choose(bl_room *out, const bl_room_job *job, uint64_t bytes, const char *scratch,
                         struct bl_err *err)
{
    const bl_room whole = { 0 };
    bl_room room = whole;

    if (bl_room_bytes(job, &whole, NULL) > bytes) {
        room.block_seqs = largest_block(job, bytes, NULL);
        if (room.block_seqs == 0 && scratch) {
            room.block_seqs = largest_block(job, bytes, scratch);
            room.scratch = scratch;
        }
        if (room.block_seqs == 0)
            return refuse(job, bytes, scratch, err);
    }
    *out = room;
    return BL_OK;
}
