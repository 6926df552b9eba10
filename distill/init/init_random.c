/*
 * init_random.c - a network of random numbers.
 *
 * Value i of a tensor is one of the two normal numbers that Box and Muller make of two uniform ones, which are
 * hashes (the finalizer of splitmix64) of seed, name and i: any part of it can be computed alone, by any thread.
 * log, cos and sin are the C library's in double: libraries differ in the last bit of a double, of which
 * rounding to F32 or BF16 leaves a difference once in some hundred million values or more.
 */
#include "base/alloc.h"
#include "base/hash.h"
#include "distill/counter.h"
#include "distill/init/init.h"
#include "distill/init/init_view.h"
#include "formats/arch/config_write.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define DEVIATION 0.02

/* One tensor. deviation 0: all values are `constant`. */
struct numbers {
    uint64_t key, n_cols;
    double deviation;
    float constant;
};

/* In (0, 1]. */
static double uniform(uint64_t key, uint64_t counter)
{
    return (double)((bl_counter_at(key ^ bl_counter_at(counter, 0), 0) >> 11) + 1) * 0x1p-53;
}

static void make_pair(double out[2], uint64_t key, uint64_t pair)
{
    const double radius = sqrt(-2 * log(uniform(key, 2 * pair)));
    const double angle = 2 * 3.14159265358979323846 * uniform(key, 2 * pair + 1);

    out[0] = radius * cos(angle);
    out[1] = radius * sin(angle);
}

static bl_status read_numbers(const void *context, const void *tensor, uint64_t row,
                              uint64_t n_rows, float *out, struct bl_err *err)
{
    const struct numbers *t = tensor;
    const uint64_t begin = row * t->n_cols, end = begin + n_rows * t->n_cols;
    double pair[2] = { 0 };

    (void)context, (void)err;
    for (uint64_t i = begin; i < end; i++) {
        if (t->deviation > 0 && (i == begin || i % 2 == 0))
            make_pair(pair, t->key, i / 2);
        out[i - begin] = t->deviation > 0 ? (float)(t->deviation * pair[i % 2]) : t->constant;
    }
    return BL_OK;
}

struct random {
    bl_init_view *view;
    const bl_config *config;
    uint64_t seed;
};

static bl_status rows_of(bl_rows *out, void *context, const bl_arch_row *row, uint32_t layer,
                         const char *name, struct bl_err *err)
{
    const struct random *r = context;
    struct numbers *t = bl_arena_alloc(&r->view->arena, 1, sizeof(*t));

    (void)layer;
    if (!t)
        return bl_fail_nomem(err, name);
    t->key = bl_counter_at(r->seed ^ bl_hash64(name, strlen(name)), 0);
    t->n_cols = bl_arch_dim(r->config, row->cols == BL_DIM_1 ? row->rows : row->cols);
    if (row->cols == BL_DIM_1)
        t->constant = row->role == BL_ROLE_NORM ? 1 : 0;
    else
        t->deviation = DEVIATION;
    if (t->deviation > 0 && row->where != BL_ONCE && row->rows == BL_DIM_HIDDEN)
        t->deviation /= sqrt(2.0 * r->config->n_layers);
    *out = (bl_rows){ .read = read_numbers, .tensor = t };
    return BL_OK;
}

/* A number of the shape, in [1, most]; 0: the fallback, of which 0 means that it must be given. */
static bl_status take(uint32_t *out, uint64_t given, uint64_t fallback, uint64_t most,
                      const char *what, struct bl_err *err)
{
    const uint64_t value = given > 0 ? given : fallback;

    if (value == 0)
        return bl_fail(err, BL_E_USAGE, "%s is missing", what);
    if (value > most)
        return bl_fail(err, BL_E_USAGE, "%s is at most %" PRIu64 ", not %" PRIu64, what, most,
                       value);
    *out = (uint32_t)value;
    return BL_OK;
}

struct number {
    uint32_t *out;
    uint64_t given, fallback, most;
    const char *what;
};

static bl_status take_all(const struct number *number, size_t n, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t i = 0; i < n && rc == BL_OK; i++)
        rc = take(number[i].out, number[i].given, number[i].fallback, number[i].most,
                  number[i].what, err);
    return rc;
}

static bl_status set_latent_attention(bl_config *c, const bl_init_shape *s, struct bl_err *err)
{
    const struct number number[] = {
        { &c->kv_lora_rank, s->kv_lora, 0, 1 << 20, "--kv-lora" },
        { &c->qk_nope_head_dim, s->nope, 0, 1 << 14, "--nope" },
        { &c->qk_rope_head_dim, s->rope, 0, 1 << 14, "--rope" },
        { &c->v_head_dim, s->v, 0, 1 << 14, "--v" },
    };

    if (s->n_kv_heads > 0 || s->head_dim > 0)
        return bl_fail(err, BL_E_USAGE,
                       "--kv-heads and --head-dim are not for this family: --kv-lora, --nope, "
                       "--rope and --v are");
    if (s->q_lora > 1 << 20)
        return bl_fail(err, BL_E_USAGE, "--q-lora is at most %d", 1 << 20);
    c->q_lora_rank = (uint32_t)s->q_lora;
    c->n_kv_heads = c->n_heads;
    /* What loaders want to see of experts that no layer has. */
    c->first_k_dense = c->n_layers;
    c->n_experts = c->n_experts_used = c->n_shared_experts = c->moe_layer_freq = 1;
    c->n_group = c->topk_group = 1;
    c->moe_intermediate_size = c->intermediate_size;
    c->routed_scaling_factor = 1;
    c->norm_topk_prob = c->router_bias = true;
    c->scoring = BL_ROUTER_SIGMOID;
    return take_all(number, sizeof(number) / sizeof(*number), err);
}

static bl_status set_grouped_attention(bl_config *c, const bl_init_shape *s, struct bl_err *err)
{
    const struct number number[] = {
        { &c->n_kv_heads, s->n_kv_heads, c->n_heads, 1 << 16, "--kv-heads" },
        { &c->head_dim, s->head_dim, c->hidden_size / c->n_heads, 1 << 14, "--head-dim" },
    };

    if (s->q_lora > 0 || s->kv_lora > 0 || s->nope > 0 || s->rope > 0 || s->v > 0)
        return bl_fail(err, BL_E_USAGE,
                       "--q-lora, --kv-lora, --nope, --rope and --v are not for this family: "
                       "--kv-heads and --head-dim are");
    if (c->hidden_size % c->n_heads != 0)
        return bl_fail(err, BL_E_USAGE,
                       "--hidden %" PRIu32 " is no multiple of the %" PRIu32
                       " heads, which transformers insists on",
                       c->hidden_size, c->n_heads);
    c->qkv_bias = c->arch->qkv_bias;
    return take_all(number, sizeof(number) / sizeof(*number), err);
}

static bl_status set_config(bl_config *c, const bl_init_shape *s, const bl_ckpt *model,
                            struct bl_err *err)
{
    const bl_config *from = bl_ckpt_config(model);
    const struct number number[] = {
        { &c->hidden_size, s->hidden, 0, 1 << 20, "--hidden" },
        { &c->n_layers, s->n_layers, 0, 1 << 12, "--layers" },
        { &c->n_heads, s->n_heads, 0, 1 << 16, "--heads" },
        { &c->intermediate_size, s->intermediate, 0, 1 << 22, "--intermediate" },
        { &c->max_position_embeddings, s->max_positions, 4096, 1 << 30, "--positions" },
    };
    bl_status rc;

    *c = (bl_config){ .arch = bl_arch_by_family(s->family),
                      .vocab_size = from->vocab_size,
                      .rms_norm_eps = 1e-6,
                      .tie_word_embeddings = s->tied,
                      .bos_token_id = from->bos_token_id,
                      .eos_token_id = from->eos_token_id,
                      .rope_theta = s->rope_theta > 0 ? s->rope_theta : 10000 };
    if (!c->arch)
        return bl_fail(err, BL_E_USAGE, "--family: '%s' is not known", s->family);
    rc = take_all(number, sizeof(number) / sizeof(*number), err);
    if (rc == BL_OK)
        rc = c->arch->mla ? set_latent_attention(c, s, err) : set_grouped_attention(c, s, err);
    return rc;
}

bl_status bl_init_random_open(bl_ckpt **out, const bl_init_shape *shape, uint64_t seed,
                              const bl_ckpt *model, struct bl_err *err)
{
    bl_config config;
    bl_text text = { 0 };
    struct random r = { .config = &config, .seed = seed };
    bl_status rc = set_config(&config, shape, model, err);

    if (rc == BL_OK)
        rc = bl_config_write(&text, &config, "float32", err);
    if (rc == BL_OK)
        rc = bl_init_view_new(&r.view, "a random student", err);
    if (rc == BL_OK)
        rc = bl_init_view_add_all(r.view, &config, rows_of, &r, err);
    if (rc == BL_OK)
        rc = bl_init_view_add_side_file(r.view, "config.json", text.bytes, text.n, err);
    if (rc == BL_OK)
        rc = bl_init_view_add_tokenizer(r.view, model, err);
    bl_text_release(&text);
    if (rc == BL_OK)
        return bl_init_view_open(out, r.view, err);
    bl_init_view_free(r.view);
    return rc;
}
