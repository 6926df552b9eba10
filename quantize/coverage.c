/* coverage.c - see coverage.h. */
#include "quantize/coverage.h"

#include "base/alloc.h"
#include "base/size.h"

enum { STARVED = 100 /* one part in so many of the mean */ };

void bl_coverage_release(bl_coverage *c)
{
    for (size_t i = 0; i < c->n_layers; i++)
        bl_free(c->layer[i].starved);
    bl_free(c->layer);
    *c = (bl_coverage){ 0 };
}

/* Of an imatrix the down projection may be all there is. */
static bl_stats_site site_of(const bl_stats *stats, uint32_t layer)
{
    return bl_stats_shape_of(stats, BL_SITE_EXPERT_INPUT, layer).n_rows > 0 ? BL_SITE_EXPERT_INPUT
                                                                            : BL_SITE_EXPERT_INNER;
}

static bl_status count(bl_layer_coverage *l, const uint64_t *tokens, struct bl_err *err)
{
    uint64_t sum = 0;

    l->least = UINT64_MAX;
    for (uint32_t e = 0; e < l->n_experts; e++) {
        sum += tokens[e];
        l->least = bl_min_u64(l->least, tokens[e]);
        l->most = bl_max_u64(l->most, tokens[e]);
        l->n_unseen += tokens[e] == 0;
    }
    l->mean = (double)sum / l->n_experts;
    l->starved = bl_alloc(l->n_experts, sizeof(*l->starved));
    if (!l->starved)
        return bl_fail_nomem(err, "coverage");
    for (uint32_t e = 0; e < l->n_experts; e++)
        if (tokens[e] == 0 || (double)tokens[e] < l->mean / STARVED)
            l->starved[l->n_starved++] = e;
    return BL_OK;
}

static bl_status add_layer(bl_coverage *c, const bl_stats *stats, uint32_t layer,
                           struct bl_err *err)
{
    const bl_stats_site site = site_of(stats, layer);
    const uint64_t n = bl_stats_shape_of(stats, site, layer).n_rows;
    bl_layer_coverage *l = &c->layer[c->n_layers];
    uint64_t *tokens;
    bl_status rc;

    if (n == 0)
        return BL_OK;
    tokens = bl_alloc((size_t)n, sizeof(*tokens));
    rc = tokens ? bl_stats_read(NULL, tokens, stats, site, layer, 0, n, err)
                : bl_fail_nomem(err, "coverage");
    if (rc == BL_OK) {
        *l = (bl_layer_coverage){ .layer = layer, .n_experts = (uint32_t)n };
        c->n_layers++;
        rc = count(l, tokens, err);
        c->n_unseen += l->n_unseen;
        c->n_starved += l->n_starved;
    }
    bl_free(tokens);
    return rc;
}

bl_status bl_coverage_of(bl_coverage *out, const bl_stats *stats, struct bl_err *err)
{
    const uint32_t n_layers = bl_stats_info_of(stats)->n_layers;
    bl_coverage c = { .layer = bl_alloc(n_layers, sizeof(*c.layer)) };
    bl_status rc = c.layer ? BL_OK : bl_fail_nomem(err, "coverage");

    for (uint32_t layer = 0; layer < n_layers && rc == BL_OK; layer++)
        rc = add_layer(&c, stats, layer, err);
    if (rc == BL_OK)
        *out = c;
    else
        bl_coverage_release(&c);
    return rc;
}
