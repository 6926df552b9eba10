/*
 * search_affine_32.h - blocks of 32 values with value = d * code + m, d and m F16: Q4_1 and Q5_1.
 *
 * Plain: d = (max - min) / top, m = min, codes = (x - min) / d by the inverse of d before it is
 * rounded, halves upward. The bytes are those of the Python gguf package, except for the sign of a
 * minimum of zero where a block holds zeros of both signs (here it is then negative).
 *
 * Search: the best line of each block (search_affine.h, sigma^2 the mean square of the row), its
 * scale rounded to F16, the least value again for that scale, rounded too, then the nearest codes.
 */
#ifndef BL_QUANTIZE_SEARCH_AFFINE_32_H
#define BL_QUANTIZE_SEARCH_AFFINE_32_H

#include "quantize/search_affine.h"

enum { BL_AFFINE_32_LEN = 32 };

/* One block, unpacked. */
typedef struct bl_affine_32_block {
    uint16_t d, m; /* F16 */
    uint8_t code[BL_AFFINE_32_LEN];
} bl_affine_32_block;

/* What differs between the types. */
typedef struct bl_affine_32_type {
    float top; /* the largest code */
    size_t block_bytes;
    void (*pack)(void *block, const bl_affine_32_block *unpacked);
} bl_affine_32_type;

/* x[n], n a multiple of 32, to n / 32 blocks at out, which need not be aligned. */
void bl_affine_32_plain(void *out, const float *x, size_t n, const bl_affine_32_type *type);
void bl_affine_32_plain_ref(void *out, const float *x, size_t n, const bl_affine_32_type *type);

/* One row by search; importance[n_cols], or NULL. */
void bl_affine_32_search(void *out, const float *row, const float *importance, size_t n_cols,
                         const bl_affine_32_type *type, const bl_affine_kernels *kernels);

#endif
