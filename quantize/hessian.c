/* hessian.c - see hessian.h. */
#include "quantize/hessian.h"

#include "base/alloc.h"
#include "base/cholesky.h"
#include "base/linalg.h"
#include "base/par.h"
#include "base/size.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { TILE = 512, RUN = BL_HESSIAN_RUN, LAYER_TOKENS = 256, ROWS_EACH = 16 };

uint64_t bl_hessian_bytes(size_t n_cols, unsigned want)
{
    return (uint64_t)n_cols *
               (want & BL_HESSIAN_SUM ? sizeof(float) * (n_cols + RUN) : sizeof(double)) +
           (want & BL_HESSIAN_HOLD ? (uint64_t)n_cols * sizeof(float) * BL_HESSIAN_HELD : 0);
}

uint64_t bl_gptq_factor_bytes(size_t n_cols)
{
    return (uint64_t)n_cols * (sizeof(float) * (n_cols + 1) + sizeof(uint32_t));
}

void bl_hessian_release(bl_hessian *h)
{
    bl_free(h->sum);
    bl_free(h->diagonal);
    bl_free(h->run);
    bl_free(h->held);
    *h = (bl_hessian){ 0 };
}

bl_status bl_hessian_init(bl_hessian *out, size_t n_cols, unsigned want, struct bl_err *err)
{
    bl_hessian h = { .n_cols = n_cols };
    bool complete;

    if (want & BL_HESSIAN_SUM) {
        h.sum = bl_calloc(n_cols, n_cols * sizeof(*h.sum));
        h.run = bl_alloc(RUN, n_cols * sizeof(*h.run));
        complete = h.sum && h.run;
    } else {
        h.diagonal = bl_calloc(n_cols, sizeof(*h.diagonal));
        complete = h.diagonal != NULL;
    }
    if (want & BL_HESSIAN_HOLD) {
        h.held = bl_alloc(BL_HESSIAN_HELD, n_cols * sizeof(*h.held));
        complete = complete && h.held;
    }
    if (!complete) {
        bl_hessian_release(&h);
        return bl_fail_nomem(err, "second moments");
    }
    *out = h;
    return BL_OK;
}

void bl_hessian_reset(bl_hessian *h)
{
    if (h->sum)
        memset(h->sum, 0, h->n_cols * h->n_cols * sizeof(*h->sum));
    else
        memset(h->diagonal, 0, h->n_cols * sizeof(*h->diagonal));
    h->n_run = h->n_held = 0;
    h->n_summed = h->n_seen = 0;
}

/* Tile i of the square of tiles: the lower ones get their share of X^T X. */
static bl_status add_tile(void *context, size_t i, int i_thread, struct bl_err *err)
{
    bl_hessian *h = context;
    size_t n = h->n_cols, n_tiles = (size_t)bl_ceil_div_u64(n, TILE);
    size_t row = i / n_tiles * TILE, col = i % n_tiles * TILE;

    (void)i_thread;
    (void)err;
    if (col <= row)
        bl_sgemm_tn((size_t)bl_min_u64(TILE, n - row), (size_t)bl_min_u64(TILE, n - col), h->n_run,
                    1.0f, h->run + row, n, h->run + col, n, 1.0f, h->sum + row * n + col, n);
    return BL_OK;
}

static bl_status add_run(bl_hessian *h, int n_threads, struct bl_err *err)
{
    size_t n_tiles = (size_t)bl_ceil_div_u64(h->n_cols, TILE);
    bl_status rc = bl_par_for(n_tiles * n_tiles, n_threads, add_tile, h, err);

    h->n_summed += h->n_run;
    h->n_run = 0;
    return rc;
}

static void add_squares(bl_hessian *h, const float *x)
{
    for (size_t j = 0; j < h->n_cols; j++)
        h->diagonal[j] += (double)x[j] * (double)x[j];
    h->n_summed++;
}

bl_status bl_hessian_add(bl_hessian *h, const float *x, size_t ld, size_t n, int n_threads,
                         struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t i = 0; i < n && rc == BL_OK; i++, x += ld, h->n_seen++) {
        bool hold = h->held && h->n_held < BL_HESSIAN_HELD &&
                    h->n_seen % BL_HESSIAN_PERIOD >= BL_HESSIAN_PERIOD - BL_HESSIAN_STRIPE;

        if (hold)
            memcpy(h->held + h->n_held++ * h->n_cols, x, h->n_cols * sizeof(*x));
        else if (h->sum)
            memcpy(h->run + h->n_run++ * h->n_cols, x, h->n_cols * sizeof(*x));
        else
            add_squares(h, x);
        if (h->n_run == RUN)
            rc = add_run(h, n_threads, err);
    }
    return rc;
}

bl_status bl_hessian_finish(bl_hessian *h, int n_threads, struct bl_err *err)
{
    const size_t n = h->n_cols;
    bl_status rc = h->n_run > 0 ? add_run(h, n_threads, err) : BL_OK;

    for (size_t i = 0; i < n && h->sum && rc == BL_OK;
         i += ROWS_EACH) /* in small squares, for the cache */
        for (size_t j = 0; j <= i; j += ROWS_EACH)
            for (size_t a = i; a < i + ROWS_EACH && a < n; a++)
                for (size_t b = j; b < j + ROWS_EACH && b < a; b++)
                    h->sum[b * n + a] = h->sum[a * n + b];
    return rc;
}

double bl_hessian_share(uint64_t n_tokens, size_t n_cols)
{
    double share = 0.2 + 0.55 * exp(-(double)n_tokens / (4.0 * (double)n_cols));

    if (n_tokens == 0)
        return 1;
    return share > 0.75 ? 0.75 : share;
}

double bl_hessian_damping(uint64_t n_tokens, size_t n_cols)
{
    if (n_tokens >= 8 * (uint64_t)n_cols)
        return 0.01;
    return n_tokens >= n_cols ? 0.05 : 0.1;
}

/* Sum over all tokens of x_j^2. */
static double square_sum(const bl_hessian *h, size_t j)
{
    double sum = h->sum ? (double)h->sum[j * h->n_cols + j] : h->diagonal[j];

    for (size_t i = 0; i < h->n_held; i++)
        sum += (double)h->held[i * h->n_cols + j] * (double)h->held[i * h->n_cols + j];
    return sum;
}

void bl_hessian_importance(float *importance, const bl_hessian *h, const bl_hessian *layer)
{
    const size_t n_cols = h ? h->n_cols : layer->n_cols;
    const double k = layer && layer->n_seen > 0 ? LAYER_TOKENS : 0;
    const double n = (h ? (double)h->n_seen : 0) + k;

    for (size_t j = 0; j < n_cols; j++) {
        double sum = h ? square_sum(h, j) : 0;

        if (layer && layer->n_seen > 0)
            sum += k * square_sum(layer, j) / (double)layer->n_seen;
        importance[j] = n > 0 ? (float)(sum / n) : 0;
    }
}

bl_status bl_gptq_factor_init(bl_gptq_factor *out, size_t n, struct bl_err *err)
{
    bl_gptq_factor f = { .n = n };

    f.order = bl_alloc(n, sizeof(*f.order));
    f.unit = bl_alloc(n, n * sizeof(*f.unit));
    f.diagonal = bl_alloc(n, sizeof(*f.diagonal));
    if (!f.order || !f.unit || !f.diagonal) {
        bl_gptq_factor_release(&f);
        return bl_fail_nomem(err, "a factor");
    }
    *out = f;
    return BL_OK;
}

void bl_gptq_factor_release(bl_gptq_factor *factor)
{
    bl_free(factor->order);
    bl_free(factor->unit);
    bl_free(factor->diagonal);
    *factor = (bl_gptq_factor){ 0 };
}

/* H' = own_weight * X^T X + layer_weight * (X^T X of the layer). */
struct blend {
    bl_gptq_factor *factor;
    const float *own, *layer; /* NULL: not there */
    double own_weight, layer_weight;
};

static double blended(const struct blend *b, size_t at)
{
    return (b->own ? b->own_weight * (double)b->own[at] : 0) +
           (b->layer ? b->layer_weight * (double)b->layer[at] : 0);
}

/* Row i in activation order: its diagonal, and what is right of it. */
static bl_status blend_row(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct blend *b = context;
    bl_gptq_factor *f = b->factor;
    size_t row = (size_t)f->order[i] * f->n;

    (void)i_thread;
    (void)err;
    f->diagonal[i] = (float)blended(b, row + f->order[i]);
    for (size_t j = i + 1; j < f->n; j++)
        f->unit[i * f->n + j] = (float)blended(b, row + f->order[j]);
    return BL_OK;
}

/* Merge sort of columns by key, ascending; equal ones stay in order. */
static void sort_columns(uint32_t *order, uint32_t *other, const float *key, size_t n)
{
    size_t half = n / 2, a = 0, b = half;

    if (n < 2)
        return;
    sort_columns(order, other, key, half);
    sort_columns(order + half, other, key, n - half);
    for (size_t i = 0; i < n; i++)
        other[i] = b == n || (a < half && key[order[a]] <= key[order[b]]) ? order[a++] : order[b++];
    memcpy(order, other, n * sizeof(*order));
}

bl_status bl_gptq_factor_set(bl_gptq_factor *out, const bl_hessian *h, const bl_hessian *layer,
                             double share, int n_threads, struct bl_err *err)
{
    struct blend b = { .factor = out };
    uint32_t *other = bl_alloc(out->n, sizeof(*other));

    if (!other)
        return bl_fail_nomem(err, "a factor");
    assert(h->n_cols == out->n && (!layer || layer->n_cols == out->n));
    if (h->n_summed > 0 && share < 1) {
        b.own = h->sum;
        b.own_weight = (layer ? 1 - share : 1) / (double)h->n_summed;
    }
    if (layer && layer->n_summed > 0 && share > 0) {
        b.layer = layer->sum;
        b.layer_weight = share / (double)layer->n_summed;
    }
    for (size_t j = 0; j < out->n; j++) {
        out->diagonal[j] = (float)blended(&b, j * out->n + j);
        out->order[j] = (uint32_t)j;
    }
    sort_columns(out->order, other, out->diagonal, out->n);
    bl_free(other);
    return bl_par_for(out->n, n_threads, blend_row, &b, err);
}

/* The lower triangle and the damped diagonal, as they are to be factored. */
static void fill_lower(bl_gptq_factor *f, double damping)
{
    const size_t n = f->n;
    double mean = 0;

    for (size_t i = 0; i < n; i++)
        mean += (double)f->diagonal[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        f->unit[i * n + i] = mean > 0 ? (float)((double)f->diagonal[i] + damping * mean) : 1.0f;
    for (size_t i = 0; i < n; i += ROWS_EACH)
        for (size_t j = 0; j <= i; j += ROWS_EACH)
            for (size_t a = i; a < i + ROWS_EACH && a < n; a++)
                for (size_t b = j; b < j + ROWS_EACH && b < a; b++)
                    f->unit[a * n + b] = f->unit[b * n + a];
}

/* U_jk = L_jk / L_kk, row j. */
static bl_status divide_row(void *context, size_t j, int i_thread, struct bl_err *err)
{
    bl_gptq_factor *f = context;
    float *row = f->unit + j * f->n;

    (void)i_thread;
    (void)err;
    for (size_t k = 0; k < j; k++)
        row[k] /= f->diagonal[k];
    return BL_OK;
}

bl_status bl_gptq_factor_make(int *tries, bl_gptq_factor *factor, double damping, int n_threads,
                              struct bl_err *err)
{
    bool positive = false;
    int n = 0;
    bl_status rc = BL_OK;

    while (rc == BL_OK && !positive && n < 3) {
        fill_lower(factor, ++n == 1 ? damping : 10 * damping);
        rc = n < 3 ? bl_cholesky(&positive, factor->unit, factor->n, n_threads, err)
                   : bl_cholesky_f64(&positive, factor->unit, factor->n, err);
    }
    *tries = positive ? n : 0;
    for (size_t i = 0; i < factor->n && positive; i++)
        factor->diagonal[i] = factor->unit[i * factor->n + i];
    if (rc == BL_OK && positive)
        rc = bl_par_for(factor->n, n_threads, divide_row, factor, err);
    return rc;
}
