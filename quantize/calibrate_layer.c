/* calibrate_layer.c - see calibrate_layer.h. */
#include "quantize/calibrate_layer.h"

#include "base/alloc.h"
#include "base/size.h"
#include "formats/stats/stats_writer.h"
#include "model/matrix.h"
#include "model/rows.h"
#include "quantize/calibrate_moments.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

/* One token's outcome of an expert: its weight by the length of what the expert said. */
struct pair {
    uint32_t token, expert;
    double gate_norm;
};

struct bl_layer_sums {
    const bl_config *config;
    int n_threads;
    uint32_t layer;
    size_t n_tokens, hidden;
    bl_stats_shape shape[BL_SITE_COUNT];
    double *sum[BL_SITE_COUNT];     /* [n_rows][n_cols] */
    uint64_t *count[BL_SITE_COUNT]; /* [n_rows] */
    bl_stats_saliency *saliency;    /* [experts] */
    struct pair *pair;              /* [n_tokens * experts used] */
    size_t n_pairs, pair_room;
    bl_matrix before_layer, before_moe; /* [n_tokens][hidden] */
    float *kept;                        /* [chunk][hidden] where these are spilled */
    double *row;                        /* [chunk]: one number a row */
    float *row_max;                     /* [chunk] */
    double *turn;                       /* [n_tokens]: 1 - cos(h, h + r), not below zero */
    double angle;
};

/* Rows that are worked on together. */
static size_t chunk_rows(int n_threads)
{
    return (size_t)BL_ROWS_BLOCK * (size_t)n_threads;
}

static void release_layer(bl_layer_sums *s)
{
    for (int i = 0; i < BL_SITE_COUNT; i++) {
        bl_free(s->sum[i]);
        bl_free(s->count[i]);
        s->sum[i] = NULL;
        s->count[i] = NULL;
    }
    bl_free(s->saliency);
    s->saliency = NULL;
}

void bl_layer_sums_free(bl_layer_sums *s)
{
    if (!s)
        return;
    release_layer(s);
    bl_matrix_release(&s->before_layer);
    bl_matrix_release(&s->before_moe);
    bl_free(s->pair);
    bl_free(s->kept);
    bl_free(s->row);
    bl_free(s->row_max);
    bl_free(s->turn);
    bl_free(s);
}

static bl_status allocate(bl_layer_sums *s, const bl_state *state, struct bl_err *err)
{
    const char *scratch = state->room.scratch;
    const size_t chunk = chunk_rows(s->n_threads);
    const bool moe = s->config->n_experts > 0;
    bl_status rc = bl_matrix_init(&s->before_layer, s->n_tokens, s->hidden, scratch, err);

    if (rc == BL_OK && moe)
        rc = bl_matrix_init(&s->before_moe, s->n_tokens, s->hidden, scratch, err);
    if (rc != BL_OK)
        return rc;
    s->pair_room = moe ? s->n_tokens * s->config->n_experts_used : 0;
    s->pair = bl_alloc(s->pair_room, sizeof(*s->pair));
    s->turn = bl_alloc(moe ? s->n_tokens : 0, sizeof(*s->turn));
    s->kept = bl_alloc(scratch ? chunk : 0, s->hidden * sizeof(*s->kept));
    s->row = bl_alloc(chunk, sizeof(*s->row));
    s->row_max = bl_alloc(chunk, sizeof(*s->row_max));
    return s->pair && s->turn && s->kept && s->row && s->row_max
               ? BL_OK
               : bl_fail_nomem(err, "calibration");
}

bl_status bl_layer_sums_new(bl_layer_sums **out, const bl_config *config, const bl_state *state,
                            int n_threads, struct bl_err *err)
{
    bl_layer_sums *s = bl_calloc(1, sizeof(*s));
    bl_status rc;

    if (!s)
        return bl_fail_nomem(err, "calibration");
    s->config = config;
    s->n_threads = n_threads;
    s->n_tokens = state->n_tokens;
    s->hidden = config->hidden_size;
    rc = allocate(s, state, err);
    if (rc == BL_OK)
        *out = s;
    else
        bl_layer_sums_free(s);
    return rc;
}

bl_status bl_layer_sums_begin(bl_layer_sums *s, uint32_t layer, struct bl_err *err)
{
    bool ok = true;

    release_layer(s);
    s->layer = layer;
    s->n_pairs = 0;
    s->angle = 0;
    for (int i = 0; i < BL_SITE_COUNT && ok; i++) {
        const bl_stats_shape shape = bl_stats_site_shape(s->config, (bl_stats_site)i, layer);

        s->shape[i] = shape;
        s->sum[i] = bl_calloc((size_t)shape.n_rows, (size_t)shape.n_cols * sizeof(**s->sum));
        s->count[i] = bl_calloc((size_t)shape.n_rows, sizeof(**s->count));
        ok = s->sum[i] && s->count[i];
    }
    s->saliency = bl_calloc((size_t)s->shape[BL_SITE_EXPERT_INPUT].n_rows, sizeof(*s->saliency));
    return ok && s->saliency ? BL_OK : bl_fail_nomem(err, "calibration");
}

static bl_status add(bl_layer_sums *s, bl_stats_site site, size_t row, const bl_activation *a,
                     struct bl_err *err)
{
    assert(row < s->shape[site].n_rows && a->n_cols == s->shape[site].n_cols);
    s->count[site][row] += a->n_rows;
    return bl_moments_add(s->sum[site] + row * a->n_cols, a->value, a->n_rows, a->n_cols, a->ld,
                          s->n_threads, err);
}

/* Queries of a group of heads: of each the part that is not rotated. */
static bl_status add_queries(bl_layer_sums *s, const bl_activation *a, struct bl_err *err)
{
    const size_t nope = s->config->qk_nope_head_dim, qk = nope + s->config->qk_rope_head_dim;
    bl_status rc = BL_OK;

    if (a->head == 0)
        s->count[BL_SITE_QUERY_NOPE][0] += a->n_rows;
    for (size_t h = 0; h < a->n_cols / qk && rc == BL_OK; h++)
        rc = bl_moments_add(s->sum[BL_SITE_QUERY_NOPE] + (a->head + h) * nope, a->value + h * qk,
                            a->n_rows, nope, a->ld, s->n_threads, err);
    return rc;
}

/* Of one head. */
static bl_status add_value_latent(bl_layer_sums *s, const bl_activation *a, struct bl_err *err)
{
    if (a->head == 0)
        s->count[BL_SITE_VALUE_LATENT][0] += a->n_rows;
    return bl_moments_add(s->sum[BL_SITE_VALUE_LATENT] + a->head * a->n_cols, a->value, a->n_rows,
                          a->n_cols, a->ld, s->n_threads, err);
}

/* What is done with each row of a chunk. */
struct chunk {
    bl_layer_sums *sums;
    const float *a, *b; /* [n][hidden], ld apart */
    size_t lda, ldb;
};

static void compare_rows(void *context, size_t row, size_t n_rows, int i_thread)
{
    const struct chunk *c = context;

    (void)i_thread;
    for (size_t r = row; r < row + n_rows; r++) {
        const bl_products p = bl_products_of(c->a + r * c->lda, c->b + r * c->ldb, c->sums->hidden);

        c->sums->row[r] = bl_cosine(&p);
    }
}

/* Cosines of rows [at, at + n) of the activation with what was kept of the same tokens, to s->row. */
static bl_status compare(bl_layer_sums *s, const bl_matrix *kept, const bl_activation *a, size_t at,
                         size_t n, struct bl_err *err)
{
    struct chunk c = { .sums = s, .b = a->value + at * a->ld, .lda = s->hidden, .ldb = a->ld };
    bl_status rc = BL_OK;

    c.a = kept->file ? s->kept : kept->values + (a->first + at) * s->hidden;
    if (kept->file)
        rc = bl_matrix_read(s->kept, kept, a->first + at, n, err);
    return rc == BL_OK ? bl_rows_for(n, s->n_threads, compare_rows, &c, err) : rc;
}

static bl_status end_layer(bl_layer_sums *s, const bl_activation *a, struct bl_err *err)
{
    const size_t step = chunk_rows(s->n_threads);
    bl_status rc = BL_OK;

    for (size_t at = 0; at < a->n_rows && rc == BL_OK; at += step) {
        const size_t n = (size_t)bl_min_u64(step, a->n_rows - at);

        rc = compare(s, &s->before_layer, a, at, n, err);
        for (size_t r = 0; r < n && rc == BL_OK; r++)
            s->angle += acos(s->row[r]) / pi;
    }
    return rc;
}

/* The routed experts have spoken: how far did they turn each token? */
static bl_status end_routed(bl_layer_sums *s, const bl_activation *a, struct bl_err *err)
{
    const size_t step = chunk_rows(s->n_threads);
    bl_status rc = BL_OK;

    for (size_t at = 0; at < a->n_rows && rc == BL_OK; at += step) {
        const size_t n = (size_t)bl_min_u64(step, a->n_rows - at);

        rc = compare(s, &s->before_moe, a, at, n, err);
        for (size_t r = 0; r < n && rc == BL_OK; r++)
            s->turn[a->first + at + r] = fmax(0, 1 - s->row[r]);
    }
    return rc;
}

static void measure_rows(void *context, size_t row, size_t n_rows, int i_thread)
{
    const struct chunk *c = context;

    (void)i_thread;
    for (size_t r = row; r < row + n_rows; r++) {
        const float *x = c->a + r * c->lda;
        const bl_products p = bl_products_of(x, x, c->sums->hidden);
        float most = 0;

        for (size_t i = 0; i < c->sums->hidden; i++)
            most = fmaxf(most, fabsf(x[i]));
        c->sums->row[r] = p.aa;
        c->sums->row_max[r] = most;
    }
}

/* An expert's answers to some of its tokens, and the router's weights. */
static bl_status add_answers(bl_layer_sums *s, const bl_activation *a, struct bl_err *err)
{
    const size_t step = chunk_rows(s->n_threads);
    bl_stats_saliency *e = &s->saliency[a->expert];
    bl_status rc = BL_OK;

    assert(a->n_rows <= s->pair_room - s->n_pairs);
    for (size_t at = 0; at < a->n_rows && rc == BL_OK; at += step) {
        const size_t n = (size_t)bl_min_u64(step, a->n_rows - at);
        struct chunk c = { .sums = s, .a = a->value + at * a->ld, .lda = a->ld };

        rc = bl_rows_for(n, s->n_threads, measure_rows, &c, err);
        for (size_t r = 0; r < n && rc == BL_OK; r++) {
            const double gate = (double)a->weight[at + r], norm = sqrt(s->row[r]);

            e->gate += gate;
            e->norm += norm;
            e->norm2 += s->row[r];
            e->gate_norm += gate * norm;
            e->max_abs = fmax(e->max_abs, (double)s->row_max[r]);
            s->pair[s->n_pairs++] =
                (struct pair){ a->token[at + r], (uint32_t)a->expert, gate * norm };
        }
    }
    return rc;
}

uint32_t bl_layer_sums_wanted(void)
{
    return 1u << BL_TAP_LAYER_INPUT | 1u << BL_TAP_ATTENTION_INPUT | 1u << BL_TAP_QUERY_LATENT |
           1u << BL_TAP_KEY_LATENT | 1u << BL_TAP_QUERY_HEADS | 1u << BL_TAP_VALUE_LATENT |
           1u << BL_TAP_ATTENTION_HEADS | 1u << BL_TAP_MOE_RESIDUAL | 1u << BL_TAP_FFN_INPUT |
           1u << BL_TAP_EXPERT_INPUT | 1u << BL_TAP_FFN_INNER | 1u << BL_TAP_EXPERT_OUTPUT |
           1u << BL_TAP_MOE_ROUTED | 1u << BL_TAP_HIDDEN;
}

bl_status bl_layer_sums_see(void *context, const bl_activation *a, struct bl_err *err)
{
    bl_layer_sums *s = context;

    switch (a->tap) {
    case BL_TAP_LAYER_INPUT:
        return bl_matrix_write(&s->before_layer, a->first, a->n_rows, a->value, err);
    case BL_TAP_MOE_RESIDUAL:
        return bl_matrix_write(&s->before_moe, a->first, a->n_rows, a->value, err);
    case BL_TAP_ATTENTION_INPUT:
        return add(s, BL_SITE_ATTENTION_INPUT, 0, a, err);
    case BL_TAP_QUERY_LATENT:
        return add(s, BL_SITE_QUERY_LATENT, 0, a, err);
    case BL_TAP_KEY_LATENT:
        return add(s, BL_SITE_KEY_LATENT, 0, a, err);
    case BL_TAP_QUERY_HEADS:
        return add_queries(s, a, err);
    case BL_TAP_VALUE_LATENT:
        return add_value_latent(s, a, err);
    case BL_TAP_ATTENTION_HEADS:
        return add(s, BL_SITE_ATTENTION_HEADS, 0, a, err);
    case BL_TAP_FFN_INPUT:
        return add(s, BL_SITE_FFN_INPUT, 0, a, err);
    case BL_TAP_EXPERT_INPUT:
        return add(s, BL_SITE_EXPERT_INPUT, (size_t)a->expert, a, err);
    case BL_TAP_FFN_INNER:
        return a->expert >= 0 ? add(s, BL_SITE_EXPERT_INNER, (size_t)a->expert, a, err)
                              : add(s, BL_SITE_FFN_INNER, 0, a, err);
    case BL_TAP_EXPERT_OUTPUT:
        return add_answers(s, a, err);
    case BL_TAP_MOE_ROUTED:
        return end_routed(s, a, err);
    case BL_TAP_HIDDEN:
        return end_layer(s, a, err);
    default:
        return BL_OK;
    }
}

bl_status bl_layer_sums_see_final(bl_layer_sums *s, const float *x, size_t n_rows,
                                  struct bl_err *err)
{
    s->count[BL_SITE_FINAL][0] += n_rows;
    return bl_moments_add(s->sum[BL_SITE_FINAL], x, n_rows, s->hidden, s->hidden, s->n_threads,
                          err);
}

static void pack_row(bl_text *out, const double *sum, uint64_t n, uint64_t n_cols)
{
    for (uint64_t c = 0; c < n_cols; c++) {
        const float mean = n > 0 ? (float)(sum[c] / (double)n) : 0.0f;

        bl_stats_pack_f32(out, &mean, 1);
    }
}

/* Over all pairs of a token and an expert: the experts' sums in ascending id. */
static bl_status pack_all_experts(bl_text *out, const bl_layer_sums *s, bl_stats_site one,
                                  struct bl_err *err)
{
    const bl_stats_shape shape = s->shape[one];
    double *sum = bl_calloc((size_t)shape.n_cols, sizeof(*sum));
    uint64_t n = 0;

    if (!sum)
        return bl_fail_nomem(err, "calibration");
    for (uint64_t e = 0; e < shape.n_rows; e++) {
        n += s->count[one][e];
        for (uint64_t c = 0; c < shape.n_cols; c++)
            sum[c] += s->sum[one][e * shape.n_cols + c];
    }
    pack_row(out, sum, n, shape.n_cols);
    bl_stats_pack_counts(out, &n, 1);
    bl_free(sum);
    return BL_OK;
}

static bl_status pack_site(bl_text *out, const bl_layer_sums *s, bl_stats_site site,
                           struct bl_err *err)
{
    const bl_stats_shape shape = s->shape[site];

    if (shape.n_rows == 0)
        return BL_OK;
    if (site == BL_SITE_EXPERTS_INPUT)
        return pack_all_experts(out, s, BL_SITE_EXPERT_INPUT, err);
    if (site == BL_SITE_EXPERTS_INNER)
        return pack_all_experts(out, s, BL_SITE_EXPERT_INNER, err);
    for (uint64_t row = 0; row < shape.n_rows; row++)
        pack_row(out, s->sum[site] + row * shape.n_cols, s->count[site][row], shape.n_cols);
    bl_stats_pack_counts(out, s->count[site], (size_t)shape.n_rows);
    return BL_OK;
}

bl_status bl_layer_sums_pack(bl_text *out, bl_layer_sums *s, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (int i = 0; i < BL_SITE_COUNT && rc == BL_OK; i++)
        rc = pack_site(out, s, (bl_stats_site)i, err);
    if (rc != BL_OK)
        return rc;
    for (size_t i = 0; i < s->n_pairs; i++) {
        const struct pair *p = &s->pair[i];

        s->saliency[p->expert].gate_norm_turn += p->gate_norm * s->turn[p->token];
    }
    s->n_pairs = 0;
    bl_stats_pack_saliency(out, s->saliency, (size_t)s->shape[BL_SITE_EXPERT_INPUT].n_rows);
    if (s->layer < s->config->n_layers)
        bl_stats_pack_f64(out, &s->angle, 1);
    return bl_text_check(out, err);
}

uint64_t bl_layer_sums_packed_bytes(const bl_config *c, uint32_t layer)
{
    const uint64_t n_experts = bl_stats_site_shape(c, BL_SITE_EXPERT_INPUT, layer).n_rows;
    uint64_t sum = (uint64_t)8 * BL_STATS_SALIENCY_COLS * n_experts + (layer < c->n_layers ? 8 : 0);

    for (int i = 0; i < BL_SITE_COUNT; i++) {
        const bl_stats_shape shape = bl_stats_site_shape(c, (bl_stats_site)i, layer);

        sum += shape.n_rows * (4 * shape.n_cols + 8);
    }
    return sum;
}

uint64_t bl_layer_sums_bytes(const bl_config *c, uint64_t n_tokens, int n_threads)
{
    const uint64_t pairs = c->n_experts > 0 ? n_tokens * c->n_experts_used : 0;
    uint64_t most = 0;

    for (uint32_t layer = 0; layer <= c->n_layers; layer++)
        most = bl_max_u64(most, bl_layer_sums_packed_bytes(c, layer));
    /* the sums are twice as wide as what is packed, whose text grows by doubling */
    return 4 * most + pairs * sizeof(struct pair) + 8 * n_tokens +
           chunk_rows(n_threads) * (4 * (uint64_t)c->hidden_size + 12);
}
