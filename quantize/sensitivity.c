/* sensitivity.c - which variants there are, what they cost, priors, and how shares are dealt out. */
#include "quantize/sensitivity.h"

#include "base/alloc.h"
#include "base/size.h"
#include "quantize/sensitivity_run.h"

#include <assert.h>

bool bl_sensitivity_is_role(const bl_arch_row *row)
{
    if (row->cols == BL_DIM_1 || row->where == BL_MTP_LAYERS)
        return false;
    return !bl_role_is_exact(row->role) && row->role != BL_ROLE_MTP;
}

static bool is_mlp(const bl_arch_row *row)
{
    return row->role == BL_ROLE_DENSE_MLP || row->role == BL_ROLE_SHARED_EXPERT ||
           row->role == BL_ROLE_EXPERT;
}

/* down_proj: from the width of the MLP to the residual stream. */
static bool is_down(const bl_arch_row *row)
{
    return is_mlp(row) && row->rows == BL_DIM_HIDDEN;
}

double bl_sensitivity_prior(const bl_config *config, const bl_arch_row *row, uint32_t layer)
{
    const uint64_t n = config->n_layers;
    double prior = 1;

    if (row->role == BL_ROLE_HEAD)
        return 40;
    if (row->role == BL_ROLE_EMBEDDING)
        return config->tie_word_embeddings ? 46 : 6;
    if (row->role == BL_ROLE_SHARED_EXPERT && layer + 1 == n)
        prior = 6;
    else if (row->layout == BL_LAYOUT_KV_B)
        prior = 1.3;
    else if (row->role == BL_ROLE_EXPERT && is_down(row))
        prior = 1.1;
    /* layers 23 to 50 of the 61 that were measured */
    return layer * UINT64_C(61) >= 23 * n && layer * UINT64_C(61) <= 50 * n ? 1.1 * prior : prior;
}

double bl_sensitivity_kl(const bl_sensitivity *s, const bl_arch_row *row, uint32_t layer)
{
    const size_t line = row->where == BL_ONCE ? s->n_layers : layer;

    assert(line <= s->n_layers);
    return s->kl[line * s->arch->n_rows + (size_t)(row - s->arch->row)];
}

/* Rows of the same group are perturbed together. */
static uint32_t group_of(const bl_arch_row *row, size_t i, bool grouped)
{
    enum { ATTENTION = 1 << 16, WIDE, DOWN, WIDE_EXPERTS, DOWN_EXPERTS };

    if (!grouped || !(is_mlp(row) || row->role == BL_ROLE_ATTENTION))
        return (uint32_t)i;
    if (row->role == BL_ROLE_ATTENTION)
        return ATTENTION;
    if (row->role == BL_ROLE_EXPERT)
        return is_down(row) ? DOWN_EXPERTS : WIDE_EXPERTS;
    return is_down(row) ? DOWN : WIDE;
}

static bool exists_in(const bl_arch_row *row, const bl_config *c, const bl_probe *p)
{
    if (p->once != (row->where == BL_ONCE))
        return false;
    for (uint32_t layer = p->first; layer < p->end; layer++)
        if (bl_arch_row_applies(row, c, layer))
            return true;
    return p->once && bl_arch_row_applies(row, c, 0);
}

bool bl_probe_covers(const bl_probe *p, const bl_arch_row *row, uint32_t layer)
{
    const bl_arch *arch = p->config->arch;

    if (!bl_sensitivity_is_role(row) || p->once != (row->where == BL_ONCE) ||
        group_of(row, (size_t)(row - arch->row), p->grouped) != p->group)
        return false;
    return p->once || (layer >= p->first && layer < p->end);
}

static bl_status add_probe(bl_probes *probes, size_t *room, const bl_probe *p, struct bl_err *err)
{
    if (probes->n == *room) {
        size_t more = *room ? 2 * *room : 64;
        bl_probe *grown = bl_realloc(probes->probe, more, sizeof(*grown));

        if (!grown)
            return bl_fail_nomem(err, "probes of sensitivity");
        probes->probe = grown;
        *room = more;
    }
    probes->probe[probes->n++] = *p;
    return BL_OK;
}

/* All groups of rows that exist in these layers. */
static bl_status add_groups(bl_probes *probes, size_t *room, const bl_probe *layers,
                            struct bl_err *err)
{
    const bl_config *c = layers->config;
    bl_status rc = BL_OK;

    for (size_t i = 0; i < c->arch->n_rows && rc == BL_OK; i++) {
        const bl_arch_row *row = &c->arch->row[i];
        bl_probe p = *layers;
        bool known = false;

        if (!bl_sensitivity_is_role(row) || !exists_in(row, c, layers))
            continue;
        p.group = group_of(row, i, p.grouped);
        p.role = row->role;
        for (size_t k = 0; k < probes->n; k++)
            known |= probes->probe[k].group == p.group && probes->probe[k].first == p.first &&
                     probes->probe[k].once == p.once;
        if (!known)
            rc = add_probe(probes, room, &p, err);
    }
    return rc;
}

bl_status bl_probes_make(bl_probes *out, const bl_config *config,
                         const bl_sensitivity_options *options, struct bl_err *err)
{
    const uint32_t step = options->layers_together > 1 ? options->layers_together : 1;
    bl_probe p = { .config = config, .grouped = options->grouped, .once = true };
    bl_probes probes = { 0 };
    size_t room = 0;
    bl_status rc = add_groups(&probes, &room, &p, err);

    p.once = false;
    for (uint32_t layer = 0; layer < config->n_layers && rc == BL_OK; layer += step) {
        p.first = layer;
        p.end = (uint32_t)bl_min_u64((uint64_t)layer + step, config->n_layers);
        rc = add_groups(&probes, &room, &p, err);
    }
    if (rc == BL_OK)
        *out = probes;
    else
        bl_free(probes.probe);
    return rc;
}

void bl_probes_release(bl_probes *probes)
{
    bl_free(probes->probe);
    *probes = (bl_probes){ 0 };
}

bl_status bl_sensitivity_plan_make(bl_sensitivity_plan *out, const bl_config *config,
                                   const bl_sensitivity_options *options, struct bl_err *err)
{
    bl_sensitivity_plan plan = { .layer_passes = config->n_layers };
    bl_probes probes = { 0 };
    bl_status rc = bl_probes_make(&probes, config, options, err);

    if (rc != BL_OK)
        return rc;
    plan.n_variants = probes.n;
    for (size_t i = 0; i < probes.n; i++)
        if (probes.probe[i].role != BL_ROLE_HEAD)
            plan.layer_passes += config->n_layers - probes.probe[i].first;
    plan.head_passes = probes.n + bl_ceil_div_u64(probes.n, BL_PROBES_AT_HEAD);
    plan.steps = plan.layer_passes + plan.head_passes;
    bl_probes_release(&probes);
    *out = plan;
    return BL_OK;
}

/* What was measured of a probe, to the tensors that it covers, by their priors. */
static void deal_out(bl_sensitivity *s, const bl_probe *p, double kl)
{
    const bl_arch *arch = s->arch;
    const uint32_t end = p->once ? 1 : p->end;
    double sum = 0;

    for (int pass = 0; pass < 2; pass++)
        for (uint32_t layer = p->first; layer < end; layer++)
            for (size_t i = 0; i < arch->n_rows; i++) {
                const bl_arch_row *row = &arch->row[i];
                double prior;

                if (!bl_probe_covers(p, row, layer) || !bl_arch_row_applies(row, p->config, layer))
                    continue;
                prior = bl_sensitivity_prior(p->config, row, layer);
                if (pass == 0)
                    sum += prior;
                else
                    s->kl[(p->once ? s->n_layers : layer) * arch->n_rows + i] = kl * prior / sum;
            }
}

bl_status bl_sensitivity_measure(bl_sensitivity *out, const bl_ckpt *ckpt, const int32_t *tokens,
                                 uint32_t n_seqs, uint32_t n_positions,
                                 const bl_sensitivity_options *options, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(ckpt);
    bl_sensitivity s = { .arch = c->arch,
                         .n_layers = c->n_layers,
                         .reference = options->reference->dtype };
    const size_t n = ((size_t)c->n_layers + 1) * c->arch->n_rows;
    bl_probes probes = { 0 };
    double *kl = NULL;
    bl_status rc = bl_probes_make(&probes, c, options, err);

    if (rc == BL_OK) {
        s.kl = bl_alloc(n, sizeof(*s.kl));
        kl = bl_alloc(probes.n + 1, sizeof(*kl));
        rc = s.kl && kl ? BL_OK : bl_fail_nomem(err, "sensitivities");
    }
    if (rc == BL_OK)
        rc = bl_probes_run(kl, &probes, ckpt, tokens, n_seqs, n_positions, options, err);
    if (rc == BL_OK) {
        for (size_t i = 0; i < n; i++)
            s.kl[i] = -1;
        for (size_t i = 0; i < probes.n; i++)
            deal_out(&s, &probes.probe[i], kl[i]);
        *out = s;
    } else {
        bl_free(s.kl);
    }
    bl_free(kl);
    bl_probes_release(&probes);
    return rc;
}

void bl_sensitivity_release(bl_sensitivity *sensitivity)
{
    bl_free(sensitivity->kl);
    *sensitivity = (bl_sensitivity){ 0 };
}
