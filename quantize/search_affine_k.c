/* search_affine_k.c - see the header. */
#include "quantize/search_affine_k.h"

#include "base/clones.h"
#include "formats/dtype/float_bits.h"

#include <assert.h>

enum { LANES = BL_AFFINE_LANES, LEN = BL_AFFINE_K_LEN };

/*
 * How far from the first guess the integers of a group are tried. One unit of a scale or a minimum
 * moves an end of the range by about a third of a step (Q4_K, Q2_K) or more (Q5_K): three reach a
 * whole step, after which the codes repeat.
 */
enum { REACH = 3, LAST_REACH = 1 };

/* Of search_affine.h; 3 leaves 0.1 to 0.3 % less error and takes a quarter longer. */
enum { TRIAL_REACH = 2 };

enum { N_UNITS = 17 }; /* trials of d and of dmin */

/* The numbers of each group as they will be stored, in multiples of the superblock's unit. */
typedef struct choice {
    bl_affine_lanes d, dmin;        /* the same in all groups of a superblock */
    bl_affine_lanes scale, minimum; /* integers */
    bl_affine_lanes error;
} choice;

/* Superblocks side by side: as many as fill the lanes, fewer at the end of a row. */
typedef struct batch {
    const bl_affine_k_type *type;
    const bl_affine_kernels *kernels;
    size_t n_blocks;
    bl_affine_unit unit[LANES / 8];
    bl_affine_groups groups;
} batch;

static void load(batch *b, const float *x, const float *importance)
{
    bl_affine_groups *g = &b->groups;
    const size_t n_groups = b->type->n_groups;

    g->len = LEN / n_groups;
    g->top = b->type->top;
    g->trial_reach = TRIAL_REACH;
    g->trial_step = b->type->trial_step;
    g->least_to_zero = true;
    g->high_to_zero = false;
    g->by_magnitude = true;
    g->known = importance != NULL;
    if (b->n_blocks * n_groups < LANES)
        bl_affine_clear(g);
    for (size_t k = 0; k < LANES; k++)
        g->sigma2.v[k] = 1.0f;
    for (size_t i = 0; i < b->n_blocks; i++, x += LEN) {
        bl_affine_unit unit = bl_affine_unit_of(x, LEN);
        float sigma2 = 2.0f * bl_affine_mean_square(x, LEN, unit.to), h_unit = 1.0f;

        if (importance)
            h_unit = bl_affine_unit_of(importance + i * LEN, LEN).to;
        bl_affine_load(g, i * n_groups, n_groups, x, unit.to,
                       importance ? importance + i * LEN : NULL, h_unit);
        for (size_t k = i * n_groups; k < (i + 1) * n_groups; k++)
            g->sigma2.v[k] = sigma2;
        b->unit[i] = unit;
    }
    b->kernels->prepare(g);
}

/* A number of superblock i as F16 stores it. */
static float as_stored(float v, const batch *b, size_t i)
{
    float real = v * b->unit[i].from;

    real = real < 65504.0f ? real : 65504.0f;
    return bl_f32_from_f16(bl_f16_from_f32(real)) * b->unit[i].to;
}

static void set_block(bl_affine_lanes *lanes, const batch *b, size_t i, float v)
{
    for (size_t k = i * b->type->n_groups; k < (i + 1) * b->type->n_groups; k++)
        lanes->v[k] = v;
}

/* v to the nearest integer of 0..top, halves to even; NaN to top. */
static inline float nearest(float v, float top)
{
    v = v < 0.0f ? 0.0f : v;
    v = v < top ? v : top;
    return v + 0x1.8p23f - 0x1.8p23f;
}

static inline float divide(float a, float b)
{
    return b > 0.0f ? a / b : 0.0f;
}

/* The unit of each superblock with which its largest wanted number gets the integer `top`. */
static void take_largest(bl_affine_lanes *unit, const batch *b, const bl_affine_lanes *wanted,
                         float top)
{
    for (size_t k = 0; k < LANES; k++)
        unit->v[k] = 0.0f;
    for (size_t i = 0; i < b->n_blocks; i++) {
        float largest = 0.0f;

        for (size_t k = i * b->type->n_groups; k < (i + 1) * b->type->n_groups; k++)
            largest = wanted->v[k] > largest ? wanted->v[k] : largest;
        set_block(unit, b, i, as_stored(largest / top, b, i));
    }
}

/* The nearest multiples of unit, and curvature times the square of what they are off. */
BL_CLONES
static void take_nearest(bl_affine_lanes *restrict integer, bl_affine_lanes *restrict cost,
                         const bl_affine_lanes *restrict wanted,
                         const bl_affine_lanes *restrict curvature,
                         const bl_affine_lanes *restrict unit, float top)
{
    for (size_t k = 0; k < LANES; k++) {
        float q = nearest(divide(wanted->v[k], unit->v[k]), top);
        float off = wanted->v[k] - unit->v[k] * q;

        integer->v[k] = q;
        cost->v[k] = curvature->v[k] * off * off;
    }
}

/*
 * The unit of each superblock (d or dmin) whose multiples cost least, all groups together, and the
 * multiples: the largest wanted number gets from 0.92 to 1.08 times the largest integer (above which
 * it is cut, and the others are finer).
 */
static void search_unit(bl_affine_lanes *unit, bl_affine_lanes *integer, const batch *b,
                        const bl_affine_lanes *wanted, const bl_affine_lanes *curvature)
{
    const float top = b->type->top_integer;
    const size_t n_groups = b->type->n_groups;
    bl_affine_lanes trial, cost;
    float least[LANES / 8];

    for (int t = 0; t < N_UNITS; t++) {
        take_largest(&trial, b, wanted, top * (0.92f + 0.01f * (float)t));
        take_nearest(integer, &cost, wanted, curvature, &trial, top);
        for (size_t i = 0; i < b->n_blocks; i++) {
            float sum = 0.0f;

            for (size_t k = i * n_groups; k < (i + 1) * n_groups; k++)
                sum += cost.v[k];
            if (t == 0 || sum < least[i]) {
                least[i] = sum;
                set_block(unit, b, i, trial.v[i * n_groups]);
            }
        }
    }
    take_nearest(integer, &cost, wanted, curvature, unit, top);
}

BL_CLONES
static void to_line(bl_affine_line *restrict line, const choice *restrict c)
{
    for (size_t k = 0; k < LANES; k++) {
        line->scale.v[k] = c->d.v[k] * c->scale.v[k];
        line->least.v[k] = 0.0f - c->dmin.v[k] * c->minimum.v[k];
    }
}

/*
 * The trial `scale_by`, `minimum_by` integers from `from`. Where the scale changes the line turns
 * about the mean of its group, at code q_mean: that gives the minimum to start from.
 */
BL_CLONES
static void step_aside(choice *restrict trial, bl_affine_line *restrict line,
                       const choice *restrict from, const bl_affine_lanes *restrict q_mean,
                       const bl_affine_lanes *restrict mean, float scale_by, float minimum_by,
                       float top)
{
    for (size_t k = 0; k < LANES; k++) {
        float scale = nearest(from->scale.v[k] + scale_by, top), step = from->d.v[k] * scale;
        float middle = step * q_mean->v[k] - mean->v[k];
        float minimum = nearest(divide(middle, from->dmin.v[k]), top);

        minimum = nearest(minimum + minimum_by, top);
        trial->scale.v[k] = scale;
        trial->minimum.v[k] = minimum;
        line->scale.v[k] = step;
        line->least.v[k] = 0.0f - from->dmin.v[k] * minimum;
    }
}

BL_CLONES
static void keep_better(choice *restrict best, const choice *restrict trial)
{
    for (size_t k = 0; k < LANES; k++) {
        bool better = trial->error.v[k] < best->error.v[k];

        best->scale.v[k] = better ? trial->scale.v[k] : best->scale.v[k];
        best->minimum.v[k] = better ? trial->minimum.v[k] : best->minimum.v[k];
        best->error.v[k] = better ? trial->error.v[k] : best->error.v[k];
    }
}

/* The best integers within `reach` of those in c, for its d and dmin. */
static void search_integers(choice *c, const batch *b, const bl_affine_lanes *q_mean, int reach)
{
    const bl_affine_groups *g = &b->groups;
    bl_affine_line line;
    choice best = *c, trial;

    to_line(&line, c);
    b->kernels->error(&best.error, g, &line);
    for (int s = -reach; s <= reach; s++) {
        for (int m = -reach; m <= reach; m++) {
            step_aside(&trial, &line, c, q_mean, &g->mean, (float)s, (float)m,
                       b->type->top_integer);
            b->kernels->error(&trial.error, g, &line);
            keep_better(&best, &trial);
        }
    }
    *c = best;
}

/*
 * d and dmin of superblock i by least squares, given integers and codes: minimise
 * sum w (x - d a + dmin b)^2, a = scale * code, b = minimum. In F64, in the order of the groups.
 */
static void refit_block(choice *c, const batch *b, const bl_affine_sums *s, size_t i)
{
    const bl_affine_groups *g = &b->groups;
    double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0, d = 0, dmin = 0;

    for (size_t k = i * b->type->n_groups; k < (i + 1) * b->type->n_groups; k++) {
        const double scale = (double)c->scale.v[k], minimum = (double)c->minimum.v[k];
        const double w = (double)g->sum_w.v[k], mean = (double)g->mean.v[k];
        const double q = (double)s->q.v[k];

        aa += scale * scale * (double)s->qq.v[k];
        ab += scale * minimum * q;
        bb += minimum * minimum * w;
        ax += scale * ((double)s->xq.v[k] + mean * q);
        bx += minimum * mean * w;
    }
    if (bb > 0 && aa * bb - ab * ab > 0) {
        d = (ax * bb - ab * bx) / (aa * bb - ab * ab);
        dmin = (d * ab - bx) / bb;
    } else if (aa > 0) {
        d = ax / aa;
    }
    if (d > 0 && dmin >= 0) {
        set_block(&c->d, b, i, as_stored((float)d, b, i));
        set_block(&c->dmin, b, i, as_stored((float)dmin, b, i));
    }
}

/* c becomes, superblock by superblock, whichever has the smaller sum of errors. */
static void keep_better_blocks(choice *c, const choice *other, const batch *b)
{
    for (size_t i = 0; i < b->n_blocks; i++) {
        const size_t from = i * b->type->n_groups, to = from + b->type->n_groups;
        float was = 0.0f, now = 0.0f;

        for (size_t k = from; k < to; k++) {
            was += c->error.v[k];
            now += other->error.v[k];
        }
        for (size_t k = from; k < to && now < was; k++) {
            c->d.v[k] = other->d.v[k];
            c->dmin.v[k] = other->dmin.v[k];
            c->scale.v[k] = other->scale.v[k];
            c->minimum.v[k] = other->minimum.v[k];
            c->error.v[k] = other->error.v[k];
        }
    }
}

/*
 * With the codes of `sums`: the mean code, the minimum for which the line meets the weighted mean
 * of its group, and how fast the error grows with the scale when the minimum follows.
 */
BL_CLONES
static void take_means(bl_affine_lanes *restrict q_mean, bl_affine_lanes *restrict curvature,
                       const bl_affine_sums *restrict s, const bl_affine_groups *restrict g)
{
    for (size_t k = 0; k < LANES; k++) {
        q_mean->v[k] = s->q.v[k] / g->sum_w.v[k];
        curvature->v[k] = s->qq.v[k] - s->q.v[k] * q_mean->v[k];
    }
}

/* d and the scales for the lines of the groups, then dmin and the minima for those scales. */
static void start(choice *c, bl_affine_lanes *q_mean, const batch *b)
{
    const bl_affine_groups *g = &b->groups;
    bl_affine_lanes curvature, minimum;
    bl_affine_line line;
    bl_affine_sums sums;

    for (size_t k = 0; k < LANES; k++)
        c->d.v[k] = c->dmin.v[k] = 0.0f;
    bl_affine_fit(&line, g, b->kernels);
    b->kernels->sums(&sums, g, &line);
    take_means(q_mean, &curvature, &sums, g);
    search_unit(&c->d, &c->scale, b, &line.scale, &curvature);
    for (size_t k = 0; k < LANES; k++)
        minimum.v[k] = c->d.v[k] * c->scale.v[k] * q_mean->v[k] - g->mean.v[k];
    search_unit(&c->dmin, &c->minimum, b, &minimum, &g->sum_w);
}

static void search(choice *c, const batch *b)
{
    const bl_affine_groups *g = &b->groups;
    bl_affine_lanes q_mean, curvature;
    bl_affine_line line;
    bl_affine_sums sums;
    choice again;

    start(c, &q_mean, b);
    search_integers(c, b, &q_mean, REACH);

    to_line(&line, c);
    b->kernels->sums(&sums, g, &line);
    take_means(&q_mean, &curvature, &sums, g);
    again = *c;
    for (size_t i = 0; i < b->n_blocks; i++)
        refit_block(&again, b, &sums, i);
    search_integers(&again, b, &q_mean, LAST_REACH);
    keep_better_blocks(c, &again, b);
}

static void pack(unsigned char *out, const choice *c, const batch *b)
{
    const size_t n_groups = b->type->n_groups, len = b->groups.len;
    uint8_t code[LEN / 8][LANES];
    bl_affine_line line;

    to_line(&line, c);
    b->kernels->codes(code, &b->groups, &line);
    for (size_t i = 0; i < b->n_blocks; i++, out += b->type->block_bytes) {
        bl_affine_k_block block = { 0 };
        const size_t first = i * n_groups;

        block.d = bl_f16_from_f32(c->d.v[first] * b->unit[i].from);
        block.dmin = bl_f16_from_f32(c->dmin.v[first] * b->unit[i].from);
        for (size_t k = 0; k < n_groups; k++) {
            block.scale[k] = (uint8_t)c->scale.v[first + k];
            block.minimum[k] = (uint8_t)c->minimum.v[first + k];
            for (size_t j = 0; j < len; j++)
                block.code[k * len + j] = code[j][first + k];
        }
        b->type->pack(out, &block);
    }
}

/* The next superblocks of n values at x; how many values they hold. */
static size_t next_batch(batch *b, const float *x, const float *importance, size_t n)
{
    const size_t room = LANES / b->type->n_groups;

    b->n_blocks = n / LEN < room ? n / LEN : room;
    load(b, x, importance);
    return b->n_blocks * LEN;
}

void bl_affine_k_plain(void *out, const float *x, size_t n, const bl_affine_k_type *type,
                       const bl_affine_kernels *kernels)
{
    unsigned char *to = out;
    batch b;
    bl_affine_lanes scale, minimum;
    choice c;

    assert(n % LEN == 0);
    b.type = type;
    b.kernels = kernels;
    for (size_t at = 0; at < n; to += b.n_blocks * type->block_bytes) {
        at += next_batch(&b, x + at, NULL, n - at);
        for (size_t k = 0; k < LANES; k++) {
            scale.v[k] = (b.groups.high.v[k] - b.groups.low.v[k]) / type->top;
            minimum.v[k] = -b.groups.low.v[k];
        }
        take_largest(&c.d, &b, &scale, type->top_integer);
        take_largest(&c.dmin, &b, &minimum, type->top_integer);
        take_nearest(&c.scale, &c.error, &scale, &scale, &c.d, type->top_integer);
        take_nearest(&c.minimum, &c.error, &minimum, &minimum, &c.dmin, type->top_integer);
        pack(to, &c, &b);
    }
}

void bl_affine_k_search(void *out, const float *x, const float *importance, size_t n,
                        const bl_affine_k_type *type, const bl_affine_kernels *kernels)
{
    unsigned char *to = out;
    batch b;
    choice c;

    assert(n % LEN == 0);
    b.type = type;
    b.kernels = kernels;
    for (size_t at = 0; at < n; to += b.n_blocks * type->block_bytes) {
        at += next_batch(&b, x + at, importance ? importance + at : NULL, n - at);
        search(&c, &b);
        pack(to, &c, &b);
    }
}
