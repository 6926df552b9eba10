/*
 * bln_planes.h - floating-point values taken apart: exponents, which repeat, from signs and
 * mantissas, which do not (docs/format-bln.md, section 7). Internal to formats/bln.
 *
 * FP8 E4M3 (seeeemmm): element i of the first half and element i of the second half share byte i of
 * both planes, the first one in the low four bits: exponents eeee, the rest smmm. BF16
 * (seeeeeeee mmmmmmm): byte i of the planes is the exponent, and smmmmmmm.
 * Halves, not neighbours, because loops over them vectorise.
 */
#ifndef BL_FORMATS_BLN_PLANES_H
#define BL_FORMATS_BLN_PLANES_H

#include <stddef.h>

/* in[2 n] to exponent[n] and rest[n], and back. */
void bl_bln_split_fp8(unsigned char *exponent, unsigned char *rest, const unsigned char *in,
                      size_t n);
void bl_bln_merge_fp8(unsigned char *out, const unsigned char *exponent, const unsigned char *rest,
                      size_t n);

/* The same for n BF16 values, little-endian: in[2 n]. */
void bl_bln_split_bf16(unsigned char *exponent, unsigned char *rest, const unsigned char *in,
                       size_t n);
void bl_bln_merge_bf16(unsigned char *out, const unsigned char *exponent, const unsigned char *rest,
                       size_t n);

#endif
