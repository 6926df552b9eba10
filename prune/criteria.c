/* criteria.c - see criteria.h. No exp, log or pow: the same choice on every machine. */
#include "prune/criteria.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/le.h"
#include "base/par.h"
#include "base/size.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 256, PIECE_VALUES = 1 << 18 };

static const struct {
    const char *name;
    bool wants_stats;
} methods[BL_PRUNE_METHOD_COUNT] = {
    [BL_PRUNE_REAP] = { "reap", true },       [BL_PRUNE_MSAN] = { "msan", true },
    [BL_PRUNE_EASY_EP] = { "easy-ep", true }, [BL_PRUNE_FREQUENCY] = { "frequency", true },
    [BL_PRUNE_AIMER] = { "aimer", false },    [BL_PRUNE_RANDOM] = { "random", false }
};

const char *bl_prune_method_name(bl_prune_method method)
{
    return methods[method].name;
}

bool bl_prune_method_by_name(bl_prune_method *out, const char *name)
{
    for (int i = 0; i < BL_PRUNE_METHOD_COUNT; i++)
        if (strcmp(methods[i].name, name) == 0) {
            *out = (bl_prune_method)i;
            return true;
        }
    return false;
}

bool bl_prune_wants_stats(bl_prune_method method)
{
    return methods[method].wants_stats;
}

void bl_prune_scores_release(bl_prune_scores *scores)
{
    bl_free(scores->score);
    bl_free(scores->super);
    *scores = (bl_prune_scores){ 0 };
}

/* A sum over tokens as their mean, completed to BL_PRUNE_FEW tokens by the mean of the layer. */
static double mean_of(double sum, uint64_t n, double layer_mean)
{
    const uint64_t missing = n < BL_PRUNE_FEW ? BL_PRUNE_FEW - n : 0;

    return (sum + (double)missing * layer_mean) / (double)(n + missing);
}

static double sum_of(const bl_stats_saliency *s, bl_prune_method method)
{
    switch (method) {
    case BL_PRUNE_REAP:
        return s->gate_norm;
    case BL_PRUNE_MSAN:
        return s->norm2;
    case BL_PRUNE_EASY_EP:
        return s->gate_norm_turn;
    default:
        return (double)s->n;
    }
}

/* The criterion of one layer on one text, its sum 1. */
static void score_layer(double *score, const bl_stats_saliency *s, uint32_t n_experts,
                        bl_prune_method method)
{
    const bool is_mean = method == BL_PRUNE_REAP || method == BL_PRUNE_MSAN;
    double all = 0, total = 0;
    uint64_t n = 0;

    for (uint32_t e = 0; e < n_experts; e++) {
        n += s[e].n;
        all += sum_of(&s[e], method);
    }
    for (uint32_t e = 0; e < n_experts; e++) {
        score[e] = sum_of(&s[e], method);
        if (is_mean)
            score[e] = mean_of(score[e], s[e].n, n > 0 ? all / (double)n : 0);
        total += score[e];
    }
    for (uint32_t e = 0; e < n_experts && total > 0; e++)
        score[e] /= total;
}

static bl_status add_domain(bl_prune_scores *s, const bl_config *c, bl_prune_method method,
                            const bl_prune_domain *domain, bool counts_few, struct bl_err *err)
{
    bl_stats_saliency *saliency = bl_alloc(s->n_experts, sizeof(*saliency));
    double *score = bl_alloc(s->n_experts, sizeof(*score));
    bl_status rc = saliency && score ? BL_OK : bl_fail_nomem(err, "experts");

    for (uint32_t layer = 0; layer < c->n_layers && rc == BL_OK; layer++) {
        double *to = s->score + (size_t)layer * s->n_experts;

        if (!bl_config_layer_is_moe(c, layer))
            continue;
        if (!bl_stats_has_saliency(domain->stats, layer)) {
            rc = bl_fail(err, BL_E_FORMAT,
                         "%s: says nothing of the experts of layer %" PRIu32
                         ": pruning needs statistics of 'baleen calibrate'",
                         bl_stats_path(domain->stats), layer);
            break;
        }
        rc = bl_stats_read_saliency(saliency, domain->stats, layer, err);
        if (rc == BL_OK)
            score_layer(score, saliency, s->n_experts, method);
        for (uint32_t e = 0; e < s->n_experts && rc == BL_OK; e++) {
            to[e] += domain->weight * score[e];
            s->n_few += counts_few && saliency[e].n < BL_PRUNE_FEW;
        }
    }
    bl_free(saliency);
    bl_free(score);
    return rc;
}

/* MTP layers have no statistics: what was best in the last layer before them. */
static void copy_to_mtp(bl_prune_scores *s, const bl_config *c)
{
    const double *last = s->score + (size_t)(c->n_layers - 1) * s->n_experts;

    for (uint32_t l = c->n_layers; l < s->n_layers; l++)
        memcpy(s->score + (size_t)l * s->n_experts, last, s->n_experts * sizeof(*last));
}

static void score_random(bl_prune_scores *s, uint64_t seed)
{
    for (uint32_t l = 0; l < s->n_layers; l++)
        for (uint32_t e = 0; e < s->n_experts; e++) {
            unsigned char place[8];

            bl_put_u32(place, l);
            bl_put_u32(place + 4, e);
            s->score[(size_t)l * s->n_experts + e] =
                (double)(bl_hash64_seeded(place, sizeof(place), seed) >> 11);
        }
}

/* Sums over the weights of experts, one after the other on many threads. */
struct weighing {
    const bl_ckpt *ckpt;
    bl_prune_scores *scores;
};

static bl_status add_weights(double *abs_sum, double *square_sum, uint64_t *n, const bl_ckpt *ckpt,
                             const bl_tensor *t, struct bl_err *err)
{
    const uint64_t step = bl_max_u64(PIECE_VALUES / bl_max_u64(t->n_cols, 1), 1);
    float *x = bl_alloc((size_t)step, (size_t)t->n_cols * sizeof(*x));
    bl_status rc = x ? BL_OK : bl_fail_nomem(err, t->name);

    for (uint64_t row = 0; row < t->n_rows && rc == BL_OK; row += step) {
        const uint64_t rows = bl_min_u64(step, t->n_rows - row);
        double a = 0, b = 0;

        rc = bl_ckpt_read_rows(ckpt, t, row, rows, x, err);
        for (uint64_t i = 0; i < rows * t->n_cols && rc == BL_OK; i++) {
            a += fabs((double)x[i]);
            b += (double)x[i] * (double)x[i];
        }
        *abs_sum += a;
        *square_sum += b;
    }
    *n += t->n_values;
    bl_free(x);
    return rc;
}

static bl_status weigh_expert(void *context, size_t i, int i_thread, struct bl_err *err)
{
    static const char *const parts[] = { "gate_proj", "up_proj", "down_proj" };
    const struct weighing *w = context;
    const uint32_t layer = (uint32_t)(i / w->scores->n_experts);
    const uint32_t e = (uint32_t)(i % w->scores->n_experts);
    double abs_sum = 0, square_sum = 0;
    uint64_t n = 0;
    bl_status rc = BL_OK;

    (void)i_thread;
    if (!bl_config_layer_is_moe(bl_ckpt_config(w->ckpt), layer))
        return BL_OK;
    for (int k = 0; k < 3 && rc == BL_OK; k++) {
        char name[NAME_BYTES];
        const bl_tensor *t;

        snprintf(name, sizeof(name), "model.layers.%" PRIu32 ".mlp.experts.%" PRIu32 ".%s.weight",
                 layer, e, parts[k]);
        t = bl_ckpt_find(w->ckpt, name);
        rc = t ? add_weights(&abs_sum, &square_sum, &n, w->ckpt, t, err)
               : bl_fail(err, BL_E_FORMAT, "%s: tensor '%s' is missing", bl_ckpt_path(w->ckpt),
                         name);
    }
    /* weights that are all zero are worth nothing: the highest ratio there is */
    w->scores->score[i] =
        square_sum > 0 ? -(abs_sum / (double)n) / sqrt(square_sum / (double)n) : -1;
    return rc;
}

static bl_status allocate(bl_prune_scores *out, const bl_config *c, struct bl_err *err)
{
    const size_t n = (size_t)(c->n_layers + c->n_mtp_layers) * c->n_experts;

    *out = (bl_prune_scores){ .n_layers = c->n_layers + c->n_mtp_layers,
                              .n_experts = c->n_experts,
                              .score = bl_calloc(n, sizeof(*out->score)),
                              .super = bl_calloc(n, sizeof(*out->super)) };
    return out->score && out->super ? BL_OK : bl_fail_nomem(err, "experts");
}

bl_status bl_prune_score(bl_prune_scores *out, const bl_ckpt *ckpt, bl_prune_method method,
                         const bl_prune_domain *domain, size_t n_domains, uint64_t seed,
                         int n_threads, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(ckpt);
    bl_prune_scores s = { 0 };
    struct weighing weighing = { ckpt, &s };
    bl_status rc;

    if (!bl_ckpt_has_config(ckpt) || c->n_experts == 0)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: a model without experts", bl_ckpt_path(ckpt));
    if (bl_prune_wants_stats(method) && n_domains == 0)
        return bl_fail(err, BL_E_USAGE,
                       "%s judges experts by what they do with a text: --stats FILE, made by "
                       "'baleen calibrate' (or --method aimer, which looks at weights only)",
                       bl_prune_method_name(method));
    rc = allocate(&s, c, err);
    if (rc == BL_OK && method == BL_PRUNE_RANDOM)
        score_random(&s, seed);
    else if (rc == BL_OK && method == BL_PRUNE_AIMER)
        rc = bl_par_for((size_t)s.n_layers * s.n_experts, n_threads, weigh_expert, &weighing, err);
    else
        for (size_t d = 0; d < n_domains && rc == BL_OK; d++)
            rc = add_domain(&s, c, method, &domain[d], d == 0, err);
    if (rc == BL_OK && bl_prune_wants_stats(method))
        copy_to_mtp(&s, c);
    if (rc == BL_OK)
        *out = s;
    else
        bl_prune_scores_release(&s);
    return rc;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The largest output of every expert over all domains: most[n_layers][n_experts]. */
static bl_status read_largest(double *most, const bl_prune_scores *s, const bl_config *c,
                              const bl_prune_domain *domain, size_t n_domains, struct bl_err *err)
{
    bl_stats_saliency *saliency = bl_alloc(s->n_experts, sizeof(*saliency));
    bl_status rc = saliency ? BL_OK : bl_fail_nomem(err, "experts");

    for (size_t d = 0; d < n_domains && rc == BL_OK; d++)
        for (uint32_t l = 0; l < c->n_layers && rc == BL_OK; l++) {
            if (!bl_stats_has_saliency(domain[d].stats, l))
                continue;
            rc = bl_stats_read_saliency(saliency, domain[d].stats, l, err);
            for (uint32_t e = 0; e < s->n_experts && rc == BL_OK; e++) {
                double *m = &most[(size_t)l * s->n_experts + e];

                *m = fmax(*m, saliency[e].max_abs);
            }
        }
    bl_free(saliency);
    return rc;
}

bl_status bl_prune_find_super(bl_prune_scores *s, const bl_ckpt *ckpt,
                              const bl_prune_domain *domain, size_t n_domains, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(ckpt);
    const size_t room = (size_t)c->n_layers * s->n_experts;
    double *most = bl_calloc(room, sizeof(*most)), *sorted = bl_alloc(room, sizeof(*sorted));
    bl_status rc = most && sorted ? read_largest(most, s, c, domain, n_domains, err)
                                  : bl_fail_nomem(err, "experts");
    size_t n = 0;

    for (uint32_t l = 0; l < c->n_layers && rc == BL_OK; l++)
        for (uint32_t e = 0; e < s->n_experts && bl_config_layer_is_moe(c, l); e++)
            sorted[n++] = most[(size_t)l * s->n_experts + e];
    if (rc == BL_OK && n > 0 && n_domains > 0) {
        double limit;

        qsort(sorted, n, sizeof(*sorted), compare_doubles);
        limit = fmax(sorted[(size_t)(0.995 * (double)(n - 1))], 0.1 * sorted[n - 1]);
        for (size_t i = 0; i < (size_t)(3 * c->n_layers / 4) * s->n_experts; i++) {
            s->super[i] = most[i] > limit;
            s->n_super += s->super[i];
        }
    }
    bl_free(most);
    bl_free(sorted);
    return rc;
}

bl_status bl_prune_judge(bl_prune_scores *out, const bl_ckpt *ckpt, bl_prune_method method,
                         const bl_prune_domain *domain, size_t n_domains, uint64_t seed,
                         bool protect, int n_threads, struct bl_err *err)
{
    bl_status rc = bl_prune_score(out, ckpt, method, domain, n_domains, seed, n_threads, err);

    if (rc != BL_OK || !protect || !bl_prune_wants_stats(method))
        return rc;
    rc = bl_prune_find_super(out, ckpt, domain, n_domains, err);
    if (rc != BL_OK)
        bl_prune_scores_release(out);
    return rc;
}
