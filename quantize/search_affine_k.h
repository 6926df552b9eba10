/*
 * search_affine_k.h - superblocks of 256 values in groups, with
 *     value = d * scale * code - dmin * minimum:
 * Q4_K, Q5_K and Q2_K. d and dmin are F16 numbers of the superblock, scale and minimum integers of a
 * group, codes integers of a value.
 *
 * Plain: scale and least value of each group from its smallest and largest value (zero included),
 * d and dmin the largest of them over the largest integer, integers the nearest, then codes the
 * nearest with what is stored. (The Python gguf package has no encoder for these types.)
 *
 * Search: the best line of each group (search_affine.h), d and dmin for those lines; then, for each
 * group, the pair of integers near that line whose own best codes leave the least weighted error,
 * tried with the numbers as they will be stored; then d and dmin again by least squares over the
 * superblock, and the integers next to the ones found. The last pair is kept only where it is better.
 */
#ifndef BL_QUANTIZE_SEARCH_AFFINE_K_H
#define BL_QUANTIZE_SEARCH_AFFINE_K_H

#include "quantize/search_affine.h"

enum { BL_AFFINE_K_LEN = 256, BL_AFFINE_K_MAX_GROUPS = 16 };

/* One superblock, unpacked. */
typedef struct bl_affine_k_block {
    uint16_t d, dmin; /* F16; finite for values up to top_integer * 65504 */
    uint8_t scale[BL_AFFINE_K_MAX_GROUPS], minimum[BL_AFFINE_K_MAX_GROUPS];
    uint8_t code[BL_AFFINE_K_LEN]; /* in the order of the values */
} bl_affine_k_block;

/* What differs between the types. */
typedef struct bl_affine_k_type {
    size_t n_groups;   /* of a superblock: 8 or 16 */
    float top;         /* the largest code */
    float trial_step;  /* of search_affine.h */
    float top_integer; /* the largest scale and minimum */
    size_t block_bytes;
    void (*pack)(void *block, const bl_affine_k_block *unpacked);
} bl_affine_k_type;

/* x[n], n a multiple of 256, to n / 256 blocks at out, which need not be aligned. */
void bl_affine_k_plain(void *out, const float *x, size_t n, const bl_affine_k_type *type,
                       const bl_affine_kernels *kernels);

/* The same by search; importance[n] of the columns that x[n] lies in, or NULL. */
void bl_affine_k_search(void *out, const float *x, const float *importance, size_t n,
                        const bl_affine_k_type *type, const bl_affine_kernels *kernels);

#endif
