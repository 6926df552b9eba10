/*
 * encode_q8_0.h - F32 to GGUF Q8_0 (formats/block/q8_0.h): scale amax / 127, codes rounded half
 * away from zero. The bytes are those of the Python gguf package and of llama.cpp.
 */
#ifndef BL_QUANTIZE_ENCODE_Q8_0_H
#define BL_QUANTIZE_ENCODE_Q8_0_H

#include <stddef.h>

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

#endif
