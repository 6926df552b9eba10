/*
 * symmetric_block.h - what a search over steps looks at: groups of values with their weights, divided
 * by powers of two; and steps as they are stored.
 *
 * Weights (ikawrakow's k-quants, llama.cpp): w_j = h_j sqrt(m + x_j^2), h_j the importance of column
 * j and m a mean square that the encoding chooses (of the row, or twice that of a super-block);
 * without importance sqrt(m) + |x_j|. The root is empirical: h_j alone measures the error of the
 * layer's output, but serves perplexity less.
 */
#ifndef BL_QUANTIZE_SYMMETRIC_BLOCK_H
#define BL_QUANTIZE_SYMMETRIC_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BL_SYMMETRIC_LEN = 256, BL_SYMMETRIC_GROUPS = 16 };

/* Groups of values, each with a step of its own. */
typedef struct bl_symmetric_block {
    size_t n_groups, group; /* at most 16 groups and 256 values; group a multiple of 16 */
    int exponent[BL_SYMMETRIC_GROUPS]; /* the values of group g are x * 2^exponent[g] */
    float x[BL_SYMMETRIC_LEN];         /* [n_groups][group] */
    float w[BL_SYMMETRIC_LEN];         /* [n_groups][group], >= 0 */
} bl_symmetric_block;

/* Mean of x[i]^2; 0 for n = 0. In F64, 16 lanes added in halves: same bits on every machine. */
double bl_mean_square(const float *x, size_t n);

/*
 * Load x[n] and importance[n] (>= 0), n a multiple of group; mean_square is m above.
 *
 * The values of each group, or for `together` all n, are divided by the power of two that takes
 * their largest magnitude to [1, 2), importance alike: exact, and no sum of the search overflows
 * whatever the magnitudes. Importance counts as unknown where it is NULL or all zero in such a part,
 * and never as less than 2^-30 of its largest value there: a column that nothing met in calibration
 * still gets a fitting code.
 */
void bl_symmetric_load(bl_symmetric_block *block, const float *x, const float *importance, size_t n,
                       size_t group, bool together, double mean_square);

/* The first value of largest magnitude; 0 for n = 0. */
float bl_extreme_of(const float *x, size_t n);

/* How a step is stored: in 16 bits, the upper one the sign. */
typedef enum bl_step_format { BL_STEP_F16, BL_STEP_BF16 } bl_step_format;

/* The stored step nearest to step * 2^exponent, never infinite; and a stored one / 2^exponent. */
uint16_t bl_step_to_bits(float step, int exponent, bl_step_format format);
float bl_step_from_bits(uint16_t bits, int exponent, bl_step_format format);

/* Distance from the magnitude of a stored step to the next larger one, / 2^exponent. */
float bl_step_ulp(uint16_t bits, int exponent, bl_step_format format);

#endif
