/* measures.c - see measures.h. */
#include "verify/measures.h"

#include <math.h>

static bl_measure with_error(const char *key, const char *name, double value, double error)
{
    return (bl_measure){ .key = key,
                         .name = name,
                         .value = value,
                         .error = error,
                         .interval = bl_interval_of(value, error) };
}

/* The interval is that of the logarithm: it is no wider below than above. */
static bl_measure ratio_of(const bl_ppl_result *p)
{
    bl_interval ln = bl_interval_of(p->ln_ratio, p->ln_ratio_error);
    double ratio = exp(p->ln_ratio);

    return (bl_measure){ .key = "perplexity_ratio",
                         .name = "ratio of perplexities",
                         .value = ratio,
                         .error = ratio * p->ln_ratio_error,
                         .interval = { exp(ln.low), exp(ln.high) } };
}

static bl_measure same_top_of(const bl_ppl_result *p)
{
    bl_share share = bl_share_of(p->n_same_top, p->n_scored);

    return (bl_measure){ .key = "same_top",
                         .name = "same top token",
                         .is_fraction = true,
                         .value = p->same_top,
                         .error = p->same_top_error,
                         .interval = { share.low, share.high } };
}

size_t bl_measures_list(bl_measure out[BL_MAX_MEASURES], const bl_ppl_result *p)
{
    const bl_ppl_score *test = &p->model[p->n_models - 1];
    size_t n = 0;

    out[n++] = with_error("perplexity", "perplexity", test->perplexity, test->error);
    if (p->n_models == 1)
        return n;
    out[n++] = with_error("reference_perplexity", "reference perplexity", p->model[0].perplexity,
                          p->model[0].error);
    out[n++] = ratio_of(p);
    out[n++] = with_error("ln_ratio", "ln of that ratio", p->ln_ratio, p->ln_ratio_error);
    out[n++] = with_error("mean_kld", "mean KL divergence, nats", p->kl_mean, p->kl_error);
    out[n++] = same_top_of(p);
    out[n] = with_error("rms_probability_change", "RMS change of the right token's probability",
                        p->rms_dp, p->rms_dp_error);
    out[n++].is_fraction = true;
    return n;
}

void bl_measures_kl(bl_kl_quantile out[BL_N_KL_QUANTILES], const bl_ppl_result *p)
{
    out[0] = (bl_kl_quantile){ "median_kld", "median", 0.5, p->kl_median };
    out[1] = (bl_kl_quantile){ "kld_90", "90 %", 0.9, p->kl_p90 };
    out[2] = (bl_kl_quantile){ "kld_95", "95 %", 0.95, p->kl_p95 };
    out[3] = (bl_kl_quantile){ "kld_99", "99 %", 0.99, p->kl_p99 };
    out[4] = (bl_kl_quantile){ "kld_99_9", "99.9 %", 0.999, p->kl_p999 };
    out[5] = (bl_kl_quantile){ "max_kld", "max", 1, p->kl_max };
}
