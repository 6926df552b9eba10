/*
 * init_width.c - which channels of the residual stream and of each FFN stay.
 *
 * Minitron (arXiv 2407.14679) keeps those with the largest activations in a text. Of a calibrated channel
 * we know the mean square:
 *     hidden   its share in the energy of what norms give to attention and FFN, added over the layers and the head
 *     FFN      the mean square of the inner activation times the squared norm of its column of down_proj: the
 *              energy that the channel adds to the stream. Of an expert it is that of the tokens that chose it.
 * Without a text, weights stand for activations:
 *     hidden   its share in the squared norm of each matrix that reads or writes the stream, added over matrices
 *     FFN      the product of the squared norms of the channel in gate_proj, up_proj and down_proj
 * Queries, keys and latents stay whole, as heads do: they are few beside these.
 */
#include "base/alloc.h"
#include "base/par.h"
#include "base/size.h"
#include "distill/init/init_plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_VALUES = 1 << 18 };

struct ranked {
    double score;
    uint32_t index;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->score > y->score || x->score < y->score)
        return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static int compare_u32(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* The `keep` of n with the largest scores, ascending; among equals the lower numbers. */
static bl_status take_largest(uint32_t **out, const double *score, uint64_t n, uint64_t keep,
                              struct bl_err *err)
{
    struct ranked *ranked = bl_alloc((size_t)n, sizeof(*ranked));
    uint32_t *kept = bl_alloc((size_t)keep, sizeof(*kept));

    if (!ranked || !kept) {
        bl_free(ranked);
        bl_free(kept);
        return bl_fail_nomem(err, "channels");
    }
    for (uint64_t i = 0; i < n; i++)
        ranked[i] = (struct ranked){ score[i], (uint32_t)i };
    qsort(ranked, (size_t)n, sizeof(*ranked), compare_ranked);
    for (uint64_t i = 0; i < keep; i++)
        kept[i] = ranked[i].index;
    qsort(kept, (size_t)keep, sizeof(*kept), compare_u32);
    bl_free(ranked);
    *out = kept;
    return BL_OK;
}

/* Add squares of a row's values to *row and to col[n]; either may be NULL. */
static void add_row(double *row, double *col, const float *value, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        const double square = (double)value[i] * (double)value[i];

        if (row)
            *row += square;
        if (col)
            col[i] += square;
    }
}

/* Add squares of all values to row[n_rows] and col[n_cols]; either may be NULL. */
static bl_status add_squares(double *row, double *col, const bl_ckpt *ckpt, const bl_tensor *t,
                             struct bl_err *err)
{
    const uint64_t most = bl_max_u64(PIECE_VALUES / bl_max_u64(t->n_cols, 1), 1);
    float *value =
        bl_alloc((size_t)bl_min_u64(most, t->n_rows), (size_t)t->n_cols * sizeof(*value));
    bl_status rc = value ? BL_OK : bl_fail_nomem(err, t->name);

    for (uint64_t r = 0, n; r < t->n_rows && rc == BL_OK; r += n) {
        n = bl_min_u64(most, t->n_rows - r);
        rc = bl_ckpt_read_rows(ckpt, t, r, n, value, err);
        for (uint64_t i = 0; i < n && rc == BL_OK; i++)
            add_row(row ? row + r + i : NULL, col, value + i * t->n_cols, t->n_cols);
    }
    bl_free(value);
    return rc;
}

/* Add x to sum, divided by what x adds up to. */
static void add_shares(double *sum, const double *x, uint64_t n)
{
    double total = 0;

    for (uint64_t i = 0; i < n; i++)
        total += x[i];
    for (uint64_t i = 0; i < n && total > 0; i++)
        sum[i] += x[i] / total;
}

static bl_status read_means(float *mean, const bl_init_plan *plan, bl_stats_site site,
                            uint32_t layer, uint64_t row, uint64_t n_cols, struct bl_err *err)
{
    const bl_stats *stats = plan->cut->stats;
    const bl_stats_shape shape = bl_stats_shape_of(stats, site, layer);

    if (row >= shape.n_rows || shape.n_cols != n_cols)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: has no %s of layer %" PRIu32 ": use statistics of 'baleen calibrate'",
                       bl_stats_path(stats), bl_stats_site_name(site), layer);
    return bl_stats_read(mean, NULL, stats, site, layer, row, 1, err);
}

/* Mean squares of what norm k of the residual stream gives (bl_init_plan.norm). */
static bl_status read_norm(float *mean, const bl_init_plan *plan, size_t k, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(plan->teacher);
    const bool last = k == 2 * (size_t)plan->cut->n_layers;
    const bl_stats_site site = last         ? BL_SITE_FINAL
                               : k % 2 == 0 ? BL_SITE_ATTENTION_INPUT
                                            : BL_SITE_FFN_INPUT;

    return read_means(mean, plan, site, last ? c->n_layers : plan->cut->layer[k / 2], 0,
                      c->hidden_size, err);
}

/* What a text says of the residual stream's channels: score[hidden], zeroed. */
static bl_status measure_hidden(double *score, const bl_init_plan *plan, struct bl_err *err)
{
    const uint64_t n = bl_ckpt_config(plan->teacher)->hidden_size;
    float *mean = bl_alloc((size_t)n, sizeof(*mean));
    double *share = bl_alloc((size_t)n, sizeof(*share));
    bl_status rc = mean && share ? BL_OK : bl_fail_nomem(err, "channels");

    for (size_t k = 0; k <= 2 * (size_t)plan->cut->n_layers && rc == BL_OK; k++) {
        rc = read_norm(mean, plan, k, err);
        for (uint64_t i = 0; i < n && rc == BL_OK; i++)
            share[i] = (double)mean[i];
        if (rc == BL_OK)
            add_shares(score, share, n);
    }
    bl_free(mean);
    bl_free(share);
    return rc;
}

/* Squares of every tensor that reads or writes the residual stream: square[tensors][hidden]. */
struct hidden_weights {
    const bl_ckpt *whole;
    double *square;
    uint64_t hidden;
};

static bl_status weigh_tensor(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct hidden_weights *w = context;
    const bl_tensor *t = bl_ckpt_tensor(w->whole, i);
    double *square = w->square + i * w->hidden;
    int32_t layer, expert;
    const bl_arch_row *row =
        bl_arch_match(bl_ckpt_config(w->whole)->arch, t->name, &layer, &expert);

    (void)i_thread;
    if (!row || t->ndim != 2 || (row->rows != BL_DIM_HIDDEN && row->cols != BL_DIM_HIDDEN))
        return BL_OK;
    return row->cols == BL_DIM_HIDDEN ? add_squares(NULL, square, w->whole, t, err)
                                      : add_squares(square, NULL, w->whole, t, err);
}

static bl_status weigh_hidden(double *score, const bl_init_plan *plan, const bl_ckpt *whole,
                              struct bl_err *err)
{
    const size_t n = bl_ckpt_n_tensors(whole);
    struct hidden_weights w = { whole, NULL, bl_ckpt_config(whole)->hidden_size };
    bl_status rc;

    w.square = bl_calloc(n, (size_t)w.hidden * sizeof(*w.square));
    rc = w.square ? bl_par_for(n, plan->cut->n_threads, weigh_tensor, &w, err)
                  : bl_fail_nomem(err, "channels");
    for (size_t i = 0; i < n && rc == BL_OK; i++)
        add_shares(score, w.square + i * w.hidden, w.hidden);
    bl_free(w.square);
    return rc;
}

/* Which norm of the residual stream a row is: bl_init_plan.norm. */
static size_t norm_number(const bl_init_plan *plan, const bl_arch_row *row, uint32_t l)
{
    if (row->where == BL_ONCE)
        return 2 * (size_t)plan->cut->n_layers;
    return 2 * (size_t)l + (strstr(row->name, ".input_layernorm.") ? 0 : 1);
}

float bl_init_norm_scale(const bl_init_plan *plan, const bl_arch_row *row, uint32_t l)
{
    if (!plan->norm || row->role != BL_ROLE_NORM || row->rows != BL_DIM_HIDDEN)
        return 1;
    return plan->norm[norm_number(plan, row, l)];
}

/*
 * A norm divides by the root mean square of the channels: of those that stay it is another than of all. Of what
 * norm k gave, divided by its weights w, the mean square over all channels is 1; over those that stay it is the
 * square of what w is to be multiplied by.
 */
static bl_status set_norm(bl_init_plan *plan, size_t k, const bl_ckpt *whole, const bl_tensor *t,
                          struct bl_err *err)
{
    const uint64_t n = t->n_cols;
    float *mean = bl_alloc((size_t)n, sizeof(*mean)), *w = bl_alloc((size_t)n, sizeof(*w));
    bl_status rc = mean && w ? read_norm(mean, plan, k, err) : bl_fail_nomem(err, t->name);
    double sum = 0;

    if (rc == BL_OK)
        rc = bl_ckpt_read_rows(whole, t, 0, 1, w, err);
    for (uint64_t i = 0; i < plan->cut->hidden && rc == BL_OK; i++) {
        const uint32_t j = plan->hidden[i];
        const double square = (double)w[j] * (double)w[j];

        sum += square > 0 ? (double)mean[j] / square : 1;
    }
    if (rc == BL_OK)
        plan->norm[k] = (float)sqrt(sum / (double)plan->cut->hidden);
    bl_free(mean);
    bl_free(w);
    return rc;
}

static bl_status set_norms(bl_init_plan *plan, const bl_ckpt *whole, struct bl_err *err)
{
    bl_status rc = BL_OK;

    plan->norm = bl_alloc(2 * (size_t)plan->cut->n_layers + 1, sizeof(*plan->norm));
    if (!plan->norm)
        return bl_fail_nomem(err, "norms");
    for (size_t i = 0; i < bl_ckpt_n_tensors(whole) && rc == BL_OK; i++) {
        const bl_tensor *t = bl_ckpt_tensor(whole, i);
        int32_t layer, expert;
        const bl_arch_row *row =
            bl_arch_match(bl_ckpt_config(whole)->arch, t->name, &layer, &expert);

        if (row && row->role == BL_ROLE_NORM && row->rows == BL_DIM_HIDDEN)
            rc = set_norm(plan, norm_number(plan, row, (uint32_t)layer), whole, t, err);
    }
    return rc;
}

static bl_status choose_hidden(bl_init_plan *plan, const bl_ckpt *whole, struct bl_err *err)
{
    const uint64_t n = bl_ckpt_config(whole)->hidden_size;
    double *score = bl_calloc((size_t)n, sizeof(*score));
    bl_status rc = score ? BL_OK : bl_fail_nomem(err, "channels");

    if (rc == BL_OK)
        rc = plan->cut->stats ? measure_hidden(score, plan, err)
                              : weigh_hidden(score, plan, whole, err);
    if (rc == BL_OK)
        rc = take_largest(&plan->hidden, score, n, plan->cut->hidden, err);
    if (rc == BL_OK && plan->cut->stats)
        rc = set_norms(plan, whole, err);
    bl_free(score);
    return rc;
}

/* Mean squares of the inner activations of a layer, as its FFN is put together: mean[width]. */
static bl_status measure_inner(float *mean, const bl_init_plan *plan, uint32_t l,
                               struct bl_err *err)
{
    const uint32_t layer = plan->cut->layer[l], k = plan->cut->n_experts;
    const uint64_t n_shared = bl_init_shared_width(plan);
    const uint64_t n = bl_ckpt_config(plan->teacher)->moe_intermediate_size;
    bl_status rc = BL_OK;

    if (!bl_init_has_experts(plan, l))
        return read_means(mean, plan, BL_SITE_FFN_INNER, layer, 0, plan->width[l], err);
    if (n_shared > 0)
        rc = read_means(mean, plan, BL_SITE_FFN_INNER, layer, 0, n_shared, err);
    for (uint32_t i = 0; i < k && rc == BL_OK; i++)
        rc = read_means(mean + n_shared + i * n, plan, BL_SITE_EXPERT_INNER, layer,
                        plan->expert[(size_t)l * k + i], n, err);
    return rc;
}

/* Multiply the scores by a matrix's squared norms of the channels, which are its rows or its columns. */
static bl_status multiply_by_norms(double *score, uint64_t width, const bl_ckpt *whole,
                                   const bl_tensor *t, bool by_rows, struct bl_err *err)
{
    double *square = bl_calloc((size_t)bl_max_u64(t->n_rows, t->n_cols), sizeof(*square));
    bl_status rc =
        square ? add_squares(by_rows ? square : NULL, by_rows ? NULL : square, whole, t, err)
               : bl_fail_nomem(err, t->name);

    for (uint64_t i = 0; i < width && rc == BL_OK; i++)
        score[i] *= square[i];
    bl_free(square);
    return rc;
}

/* score[width], all 1. */
static bl_status score_inner(double *score, const bl_init_plan *plan, uint32_t l,
                             const bl_ckpt *whole, struct bl_err *err)
{
    const uint64_t n = plan->width[l];
    float *mean = plan->cut->stats ? bl_alloc((size_t)n, sizeof(*mean)) : NULL;
    bl_status rc = plan->cut->stats && !mean ? bl_fail_nomem(err, "channels") : BL_OK;

    if (rc == BL_OK && mean)
        rc = measure_inner(mean, plan, l, err);
    for (uint64_t i = 0; i < n && rc == BL_OK && mean; i++)
        score[i] *= (double)mean[i];
    for (size_t i = 0; i < bl_ckpt_n_tensors(whole) && rc == BL_OK; i++) {
        const bl_tensor *t = bl_ckpt_tensor(whole, i);
        int32_t layer, expert;
        const bl_arch_row *row =
            bl_arch_match(bl_ckpt_config(whole)->arch, t->name, &layer, &expert);

        if (!row || layer != (int32_t)l)
            continue;
        if (row->cols == BL_DIM_FFN)
            rc = multiply_by_norms(score, n, whole, t, false, err);
        else if (row->rows == BL_DIM_FFN && !mean)
            rc = multiply_by_norms(score, n, whole, t, true, err);
    }
    bl_free(mean);
    return rc;
}

struct inner {
    bl_init_plan *plan;
    const bl_ckpt *whole;
};

static bl_status choose_inner(void *context, size_t l, int i_thread, struct bl_err *err)
{
    const struct inner *in = context;
    bl_init_plan *plan = in->plan;
    const uint64_t n = plan->width[l], keep = plan->cut->intermediate;
    double *score;
    bl_status rc;

    (void)i_thread;
    if (n <= keep)
        return BL_OK;
    score = bl_alloc((size_t)n, sizeof(*score));
    if (!score)
        return bl_fail_nomem(err, "channels");
    for (uint64_t i = 0; i < n; i++)
        score[i] = 1;
    rc = score_inner(score, plan, (uint32_t)l, in->whole, err);
    if (rc == BL_OK)
        rc = take_largest(&plan->inner[l], score, n, keep, err);
    bl_free(score);
    return rc;
}

bl_status bl_init_choose_channels(bl_init_plan *plan, const bl_ckpt *whole, struct bl_err *err)
{
    const bl_init_cut *cut = plan->cut;
    struct inner in = { plan, whole };
    bl_status rc = BL_OK;

    if (cut->hidden > 0 && cut->hidden < bl_ckpt_config(whole)->hidden_size)
        rc = choose_hidden(plan, whole, err);
    if (rc == BL_OK && cut->intermediate > 0)
        rc = bl_par_for(cut->n_layers, cut->n_threads, choose_inner, &in, err);
    return rc;
}
