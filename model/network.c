/*
 * network.c - frequencies of the rotary scalings, the softmax scale, and the checks.
 *
 * Sources: YaRN (arXiv 2309.00071) with DeepSeek's mscale_all_dim; the others are formats/arch/rope.h.
 * Frequencies are computed in double and stay so: the angle is rounded once, after sin and cos.
 */
#include "model/network.h"

#include "base/size.h"
#include "formats/arch/rope.h"

#include <inttypes.h>
#include <math.h>

enum { MAX_DIM = 1 << 24 }; /* products of two fit 48 bits, and BLAS takes int */

static const double pi = 3.14159265358979323846;

double bl_yarn_mscale(double factor, double m)
{
    return factor > 1.0 ? 0.1 * m * log(factor) + 1.0 : 1.0;
}

/* The pair (as a real number) that turns `rotations` times over the original context. */
static double yarn_pair(const bl_config *c, uint32_t dim, double rotations)
{
    return dim * log(c->rope_original_context / (rotations * 2 * pi)) / (2 * log(c->rope_theta));
}

/* Fast pairs keep their frequency, slow ones are divided by the factor, a ramp lies between. */
static void scale_yarn(double *f, const bl_config *c, uint32_t dim)
{
    double low = fmax(floor(yarn_pair(c, dim, c->yarn_beta_fast)), 0);
    double high = fmin(ceil(yarn_pair(c, dim, c->yarn_beta_slow)), dim - 1);

    if (high <= low)
        high = low + 0.001;
    for (uint32_t i = 0; i < dim / 2; i++) {
        double ramp = fmin(fmax((i - low) / (high - low), 0), 1);

        f[i] = f[i] / c->rope_factor * ramp + f[i] * (1 - ramp);
    }
}

static void set_rope(bl_network *net, const bl_config *c)
{
    uint32_t dim = net->rope_dim;
    double *f = net->inv_freq;

    for (uint32_t i = 0; i < dim / 2; i++)
        f[i] = bl_rope_frequency(c, i, dim) / bl_rope_divisor(c, i, dim);
    net->rope_magnitude = 1.0;
    if (c->rope_scaling != BL_ROPE_YARN)
        return;
    scale_yarn(f, c, dim);
    /* Without both constants the temperature is the plain one of the paper. */
    if (c->yarn_mscale > 0 && c->yarn_mscale_all_dim > 0)
        net->rope_magnitude = bl_yarn_mscale(c->rope_factor, c->yarn_mscale) /
                              bl_yarn_mscale(c->rope_factor, c->yarn_mscale_all_dim);
    else
        net->rope_magnitude = bl_yarn_mscale(c->rope_factor, 1.0);
}

/* qk_dim^-1/2, times the square of the YaRN temperature that acts on all dimensions. */
static double softmax_scale(const bl_config *c, uint32_t qk_dim)
{
    double scale = 1.0 / sqrt(qk_dim);

    if (c->rope_scaling == BL_ROPE_YARN && c->yarn_mscale_all_dim > 0) {
        double m = bl_yarn_mscale(c->rope_factor, c->yarn_mscale_all_dim);

        scale *= m * m;
    }
    return scale;
}

static bl_status check_dim(const char *name, uint64_t value, uint64_t least, struct bl_err *err)
{
    if (value >= least && value <= MAX_DIM)
        return BL_OK;
    return bl_fail(err, BL_E_UNSUPPORTED, "%s is %" PRIu64 ", this program runs %" PRIu64 " to %d",
                   name, value, least, MAX_DIM);
}

static bl_status check_sizes(const bl_config *c, struct bl_err *err)
{
    const struct {
        const char *name;
        uint64_t value, least;
    } sizes[] = {
        { "vocab_size", c->vocab_size, 1 },
        { "hidden_size", c->hidden_size, 1 },
        { "num_hidden_layers", c->n_layers, 1 },
        { "num_nextn_predict_layers", c->n_mtp_layers, 0 },
        { "intermediate_size", c->intermediate_size, 0 },
        { "num_attention_heads", c->n_heads, 1 },
        { "num_key_value_heads", c->n_kv_heads, 1 },
        { "head_dim", c->head_dim, c->kv_lora_rank == 0 },
        { "q_lora_rank", c->q_lora_rank, 0 },
        { "kv_lora_rank", c->kv_lora_rank, 0 },
        { "qk_nope_head_dim", c->qk_nope_head_dim, 0 },
        { "qk_rope_head_dim", c->qk_rope_head_dim, 0 },
        { "v_head_dim", c->v_head_dim, c->kv_lora_rank > 0 },
        { "n_routed_experts", c->n_experts, 0 },
        { "moe_intermediate_size", c->moe_intermediate_size, c->n_experts > 0 },
        { "heads times width",
          (uint64_t)c->n_heads *
              (c->head_dim + c->qk_nope_head_dim + c->qk_rope_head_dim + c->v_head_dim),
          1 },
        { "shared experts times moe_intermediate_size",
          (uint64_t)c->n_shared_experts * c->moe_intermediate_size, 0 },
    };

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        bl_status rc = check_dim(sizes[i].name, sizes[i].value, sizes[i].least, err);

        if (rc != BL_OK)
            return rc;
    }
    return BL_OK;
}

static bl_status check_router(const bl_config *c, struct bl_err *err)
{
    if (c->n_experts == 0)
        return BL_OK;
    if (c->n_group == 0 || c->n_experts % c->n_group != 0)
        return bl_fail(err, BL_E_UNSUPPORTED, "%u experts do not divide into %u groups",
                       c->n_experts, c->n_group);
    if (c->topk_group == 0 || c->topk_group > c->n_group)
        return bl_fail(err, BL_E_UNSUPPORTED, "topk_group %u of %u expert groups", c->topk_group,
                       c->n_group);
    if (c->n_experts_used == 0 || c->n_experts_used > c->n_experts / c->n_group * c->topk_group)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "num_experts_per_tok %u, but %u of %u groups hold %u experts",
                       c->n_experts_used, c->topk_group, c->n_group,
                       c->n_experts / c->n_group * c->topk_group);
    if (!isfinite(c->routed_scaling_factor))
        return bl_fail(err, BL_E_UNSUPPORTED, "routed_scaling_factor is not a number");
    return BL_OK;
}

static bl_status check_rope(const bl_config *c, uint32_t dim, struct bl_err *err)
{
    bool by_context = c->rope_scaling == BL_ROPE_YARN || c->rope_scaling == BL_ROPE_LLAMA3;
    bool by_factor = by_context || c->rope_scaling == BL_ROPE_LINEAR;

    if (dim % 2 != 0 || dim == 0 || dim / 2 > BL_ROPE_MAX_PAIRS)
        return bl_fail(err, BL_E_UNSUPPORTED, "%u rotated dimensions: even, 2 to %d, are run", dim,
                       2 * BL_ROPE_MAX_PAIRS);
    if (!isfinite(c->rope_theta) || c->rope_theta <= 1)
        return bl_fail(err, BL_E_UNSUPPORTED, "rope_theta %g makes no rotation", c->rope_theta);
    if (by_factor && !(isfinite(c->rope_factor) && c->rope_factor > 0))
        return bl_fail(err, BL_E_UNSUPPORTED, "rope scaling factor %g", c->rope_factor);
    if (by_context && !(isfinite(c->rope_original_context) && c->rope_original_context > 0))
        return bl_fail(err, BL_E_UNSUPPORTED, "rope scaling from a context of %g positions",
                       c->rope_original_context);
    if (c->rope_scaling == BL_ROPE_YARN && !(c->yarn_beta_fast > 0 && c->yarn_beta_slow > 0))
        return bl_fail(err, BL_E_UNSUPPORTED, "yarn with beta_fast %g and beta_slow %g",
                       c->yarn_beta_fast, c->yarn_beta_slow);
    if (c->rope_scaling == BL_ROPE_LLAMA3 &&
        !(c->llama3_low_freq_factor < c->llama3_high_freq_factor))
        return bl_fail(err, BL_E_UNSUPPORTED, "llama3 rope scaling between %g and %g",
                       c->llama3_low_freq_factor, c->llama3_high_freq_factor);
    return BL_OK;
}

bl_status bl_network_init(bl_network *out, const bl_config *config, struct bl_err *err)
{
    const bl_config *c = config;
    bool mla = c->kv_lora_rank > 0;
    bl_network net = { .config = c, .mla = mla };
    bl_status rc = check_sizes(c, err);

    if (rc == BL_OK)
        rc = check_router(c, err);
    net.rope_dim = mla ? c->qk_rope_head_dim : c->head_dim;
    if (rc == BL_OK)
        rc = check_rope(c, net.rope_dim, err);
    if (rc != BL_OK)
        return rc;
    net.n_heads = c->n_heads;
    net.n_kv_heads = mla ? c->n_heads : c->n_kv_heads;
    if (net.n_heads % net.n_kv_heads != 0)
        return bl_fail(err, BL_E_UNSUPPORTED, "%u query heads do not divide among %u key heads",
                       net.n_heads, net.n_kv_heads);
    net.heads_per_kv = net.n_heads / net.n_kv_heads;
    net.qk_dim = mla ? c->qk_nope_head_dim + c->qk_rope_head_dim : c->head_dim;
    net.v_dim = mla ? c->v_head_dim : c->head_dim;
    net.softmax_scale = (float)softmax_scale(c, net.qk_dim);
    net.norm_eps = (float)c->rms_norm_eps;
    net.latent_norm_eps = (float)c->latent_norm_eps;
    set_rope(&net, c);
    *out = net;
    return BL_OK;
}
