/*
 * search_affine.h - the best grid for groups of values with value = scale * code + least.
 *
 * For one group of values x_j with weights w_j, wanted are the scale, the least value and the codes
 * 0..top with the smallest sum_j w_j (x_j - scale * code_j - least)^2. For given codes the best
 * scale and least value are a weighted straight line (2 x 2 least squares); for a given line the
 * best codes are the nearest. Trial ranges, each followed by the line of its codes, find where to
 * begin; from there both steps alternate (Lloyd, "Least squares quantization in PCM", 1982).
 * llama.cpp's k-quants move one end of the range only; moving both finds lines with 2 to 6 % less
 * error at fewer trials (measured on Gaussian, Laplace and outlier-ridden rows).
 *
 * The weight of a value is that of the k-quants of llama.cpp with an importance matrix,
 *     w_j = h_j sqrt(sigma^2 + x_j^2),       h_j = E[input_j^2], sigma^2 a mean square of x,
 * and sqrt(sigma^2) + |x_j| where h is unknown (or h_j and 1, as the caller says). To every h_j 2^-20 of the largest is added, so that
 * columns no input ever met still get codes.
 *
 * Sixteen groups pass side by side, one in each lane: the lane is the innermost index, so every
 * operation is one vector operation, and every sum runs over the values of its own group in their
 * order. No lane sees another. The same bits come from every vector width and from the kernels _ref,
 * which are the definition and take one group after the other.
 */
#ifndef BL_QUANTIZE_SEARCH_AFFINE_H
#define BL_QUANTIZE_SEARCH_AFFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BL_AFFINE_LANES = 16, BL_AFFINE_MAX_LEN = 128 };

/* A number for each group. */
typedef struct bl_affine_lanes {
    _Alignas(64) float v[BL_AFFINE_LANES];
} bl_affine_lanes;

/* Lane k holds group k. The caller sets the first part, `load` x and w, `prepare` the rest. */
typedef struct bl_affine_groups {
    size_t len;         /* values of a group, at most BL_AFFINE_MAX_LEN */
    float top;          /* the largest code */
    int trial_reach;    /* trial ranges end this many trial steps inside and outside the values */
    float trial_step;   /* in steps of the plain grid */
    bool least_to_zero; /* the least value must not be above zero, and the range includes zero */
    bool high_to_zero;  /* the range includes zero from below, too */
    bool known;         /* w is importance until `prepare`; otherwise it is not read */
    bool by_magnitude;  /* weights grow with |x|, as above; otherwise w is h, or 1 */
    bl_affine_lanes sigma2;

    bl_affine_lanes x[BL_AFFINE_MAX_LEN];
    bl_affine_lanes w[BL_AFFINE_MAX_LEN];   /* weights, with a positive sum */
    bl_affine_lanes wx[BL_AFFINE_MAX_LEN];  /* w (x - mean) */
    bl_affine_lanes low, high, sum_w, mean; /* range; sum of w; sum of w x / sum of w */
} bl_affine_groups;

/* A line for each group; scale >= 0. Scale 0 stands for "all codes are 0". */
typedef struct bl_affine_line {
    bl_affine_lanes scale, least;
} bl_affine_line;

/* Sums over the values of a group, with the codes that a line gives them. */
typedef struct bl_affine_sums {
    bl_affine_lanes q;  /* w code */
    bl_affine_lanes qq; /* w code^2 */
    bl_affine_lanes xq; /* w (x - mean) code */
} bl_affine_sums;

/* The loops over values: the vectorised ones and their definitions. Pure. */
typedef struct bl_affine_kernels {
    void (*prepare)(bl_affine_groups *g);
    void (*sums)(bl_affine_sums *out, const bl_affine_groups *g, const bl_affine_line *line);
    /* error = sum of w (x - scale * code - least)^2 */
    void (*error)(bl_affine_lanes *out, const bl_affine_groups *g, const bl_affine_line *line);
    void (*codes)(uint8_t (*code)[BL_AFFINE_LANES], const bl_affine_groups *g,
                  const bl_affine_line *line);
} bl_affine_kernels;

extern const bl_affine_kernels bl_affine_fast, bl_affine_ref;

/*
 * Powers of two that bring the largest magnitude of a run to 1..2, and back: no square over- or
 * underflows, and no bit of a value changes.
 */
typedef struct bl_affine_unit {
    float to, from;
} bl_affine_unit;

bl_affine_unit bl_affine_unit_of(const float *x, size_t n);

/* Mean of the squares of x[n] * unit; 1 where all are zero. 16 partial sums and a fixed tree. */
float bl_affine_mean_square(const float *x, size_t n, float unit);

/*
 * Put the groups that begin at x (n_groups of them, g->len values each) and their importance (NULL:
 * unknown) into lanes first, first + 1, ... as multiples of the units.
 */
void bl_affine_load(bl_affine_groups *g, size_t first, size_t n_groups, const float *x, float unit,
                    const float *importance, float importance_unit);

/* Zeros into all lanes, for a batch that does not fill them. */
void bl_affine_clear(bl_affine_groups *g);

/* The best line of each group, before its numbers are rounded. */
void bl_affine_fit(bl_affine_line *out, const bl_affine_groups *g,
                   const bl_affine_kernels *kernels);

#endif
