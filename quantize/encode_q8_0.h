/*
 * encode_q8_0.h - F32 to GGUF Q8_0 (formats/block/q8_0.h): scale amax / 127, codes rounded half
 * away from zero. The bytes are those of the Python gguf package and of llama.cpp.
 *
 * Search: search_symmetric.h on the codes -127 to 127, weights with the mean square of the row.
 */
#ifndef BL_QUANTIZE_ENCODE_Q8_0_H
#define BL_QUANTIZE_ENCODE_Q8_0_H

#include <stddef.h>
#include <stdint.h>

enum { BL_Q8_0_LEVELS = 256 };

/*
 * Encode x[n], n a multiple of 32, into n / 32 blocks; out need not be aligned.
 *
 * Defined for every input: a block whose values would need an F16 scale past 65504 (amax >= 127 *
 * 65520) gets an infinite one, and a value that is not finite gives a code without meaning. The
 * caller, who can name the tensor, refuses both. Same bytes on every machine.
 */
void bl_q8_0_encode(void *out, const float *x, size_t n);

/* The definition, in plain steps; for finite values bl_q8_0_encode equals it bit for bit. */
void bl_q8_0_encode_ref(void *out, const float *x, size_t n);

/* Encode one row of n_cols values, a multiple of 32; importance[n_cols] >= 0, NULL: unknown. */
void bl_q8_0_search(void *out, const float *row, const float *importance, size_t n_cols);

/*
 * Replace the codes of one block in the order of its values; its scale stays. A code is the stored
 * number plus 128; llama.cpp never writes -128, code 0, and some of its kernels cannot negate it.
 */
void bl_q8_0_put_codes(void *block, const uint8_t code[32]);

#endif
