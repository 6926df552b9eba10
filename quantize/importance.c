/* importance.c - see importance.h. */
#include "quantize/importance.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <string.h>

/* One row of a site. */
struct place {
    const bl_stats *stats;
    bl_stats_site site;
    uint32_t layer;
    uint64_t row, n_cols;
};

static bl_status read_row(float *out, uint64_t *count, const struct place *p, struct bl_err *err)
{
    const bl_stats_shape shape = bl_stats_shape_of(p->stats, p->site, p->layer);

    if (p->row >= shape.n_rows || shape.n_cols != p->n_cols)
        return bl_fail(err, BL_E_MISMATCH,
                       "%s: layer %" PRIu32 ": '%s' is %" PRIu64 " x %" PRIu64 ", row %" PRIu64
                       " of %" PRIu64 " values is needed",
                       bl_stats_path(p->stats), p->layer, bl_stats_site_name(p->site), shape.n_rows,
                       shape.n_cols, p->row, p->n_cols);
    return bl_stats_read(out, count, p->stats, p->site, p->layer, p->row, 1, err);
}

static bool has(const bl_stats *stats, bl_stats_site site, uint32_t layer)
{
    return layer <= bl_stats_info_of(stats)->n_layers &&
           bl_stats_shape_of(stats, site, layer).n_rows > 0;
}

/* h' = (N_e h_e + k h_layer) / (N_e + k) */
static bl_status read_expert(float *out, bool *known, const struct place *expert,
                             struct bl_err *err)
{
    const double k = BL_IMPORTANCE_SHRINK_TOKENS;
    struct place layer = *expert;
    uint64_t n = 0, n_all = 0;
    float *mean;
    bl_status rc;

    layer.site =
        expert->site == BL_SITE_EXPERT_INPUT ? BL_SITE_EXPERTS_INPUT : BL_SITE_EXPERTS_INNER;
    layer.row = 0;
    mean = bl_alloc((size_t)expert->n_cols, sizeof(*mean));
    rc = mean ? read_row(mean, &n_all, &layer, err) : bl_fail_nomem(err, "importance");
    if (rc == BL_OK && n_all > 0) {
        rc = read_row(out, &n, expert, err);
        for (uint64_t c = 0; c < expert->n_cols && rc == BL_OK; c++)
            out[c] = (float)(((double)n * (double)out[c] + k * (double)mean[c]) / ((double)n + k));
        *known = rc == BL_OK;
    }
    bl_free(mean);
    return rc;
}

static bl_status read_place(float *out, bool *known, const struct place *p, struct bl_err *err)
{
    uint64_t n = 0;
    bl_status rc;

    if (!has(p->stats, p->site, p->layer))
        return BL_OK;
    if (p->site == BL_SITE_EXPERT_INPUT || p->site == BL_SITE_EXPERT_INNER)
        return read_expert(out, known, p, err);
    rc = read_row(out, &n, p, err);
    *known = rc == BL_OK && n > 0;
    return rc;
}

/* The key latent out of what v_b meets: the mean over heads. */
static bl_status read_mean_latent(float *out, bool *known, const struct place *p, uint64_t n_heads,
                                  struct bl_err *err)
{
    const struct place all = { p->stats, BL_SITE_VALUE_LATENT, p->layer, 0, n_heads * p->n_cols };
    float *heads = bl_alloc((size_t)all.n_cols, sizeof(*heads));
    bl_status rc = heads ? read_place(heads, known, &all, err) : bl_fail_nomem(err, "importance");

    for (uint64_t c = 0; c < p->n_cols && *known; c++) {
        double sum = 0;

        for (uint64_t h = 0; h < n_heads; h++)
            sum += (double)heads[h * p->n_cols + c];
        out[c] = (float)(sum / (double)n_heads);
    }
    bl_free(heads);
    return rc;
}

bl_status bl_importance_of_tensor(float *out, bool *known, const bl_stats *stats,
                                  const bl_config *config, const bl_tensor *tensor,
                                  struct bl_err *err)
{
    const uint32_t n_layers = bl_stats_info_of(stats)->n_layers;
    struct place p = { .stats = stats, .n_cols = tensor->n_cols };
    const bl_stats_tensor *row = NULL;
    const bl_arch_row *arch_row;
    int32_t layer, expert;

    *known = false;
    arch_row = bl_arch_match(config->arch, tensor->name, &layer, &expert);
    if (arch_row)
        row = bl_stats_tensor_by_row(arch_row->name);
    if (arch_row && arch_row->role == BL_ROLE_EMBEDDING && layer < 0 && config->tie_word_embeddings)
        row = bl_stats_tensor_by_row("lm_head.weight");
    /* MTP layers lie behind the others, where the file has what is outside the layers. */
    if (!row || (layer >= 0 && (uint32_t)layer >= n_layers))
        return BL_OK;
    p.site = row->site;
    p.layer = layer < 0 ? n_layers : (uint32_t)layer;
    p.row = expert < 0 ? 0 : (uint64_t)expert;
    if (p.site == BL_SITE_KEY_LATENT && !has(stats, p.site, p.layer) &&
        has(stats, BL_SITE_VALUE_LATENT, p.layer))
        return read_mean_latent(out, known, &p, config->n_heads, err);
    return read_place(out, known, &p, err);
}

bl_status bl_importance_of_k_b(float *out, bool *known, const bl_stats *stats,
                               const bl_config *config, uint32_t layer, struct bl_err *err)
{
    const struct place p = { stats, BL_SITE_QUERY_NOPE, layer, 0,
                             (uint64_t)config->n_heads * config->qk_nope_head_dim };

    *known = false;
    return layer < bl_stats_info_of(stats)->n_layers ? read_place(out, known, &p, err) : BL_OK;
}

bl_status bl_importance_of_v_b(float *out, bool *known, const bl_stats *stats,
                               const bl_config *config, uint32_t layer, struct bl_err *err)
{
    const uint64_t lora = config->kv_lora_rank;
    struct place p = { stats, BL_SITE_VALUE_LATENT, layer, 0, config->n_heads * lora };
    bl_status rc;

    *known = false;
    if (layer >= bl_stats_info_of(stats)->n_layers)
        return BL_OK;
    if (has(stats, p.site, layer))
        return read_place(out, known, &p, err);
    p.site = BL_SITE_KEY_LATENT;
    p.n_cols = lora;
    rc = read_place(out, known, &p, err);
    for (uint32_t head = 1; head < config->n_heads && *known; head++)
        memcpy(out + head * lora, out, (size_t)lora * sizeof(*out));
    return rc;
}
