/*
 * sanity.h - what looks wrong in a source, noticed while its bytes pass: NaN codes, scales that are no
 * scales, matrices of zeros.
 *
 *   not finite     a value or a scale that is NaN or infinite
 *   zeros          a matrix (two dimensions or more) without a value other than zero
 *   bad scales     a scale that is negative, or zero
 *   scale outliers a scale more than 2^12 times the geometric mean of its tensor's, or less than its 2^-12th;
 *                  R1's lie within 2^6
 *
 * Findings are kept by tensor and told in the tensors' order, whatever thread found them first.
 * Re-encoding refuses values that are not finite, as no encoding has a place for them; archives keep
 * them, and this says so. Memory: 24 bytes for each tensor.
 */
#ifndef BL_CONVERT_SANITY_H
#define BL_CONVERT_SANITY_H

#include "base/err.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_sanity bl_sanity;

typedef enum bl_oddity {
    BL_ODD_NOT_FINITE,
    BL_ODD_ZEROS,
    BL_ODD_SCALES,
    BL_ODD_OUTLIERS,
    BL_N_ODDITIES
} bl_oddity;

/* name(context, i): of tensor i < n; context is borrowed. */
BL_MUST_USE bl_status bl_sanity_new(bl_sanity **out, size_t n,
                                    const char *(*name)(const void *context, size_t i),
                                    const void *context, struct bl_err *err);
void bl_sanity_free(bl_sanity *sanity);

/* From any thread: values of matrix i passed, some of them other than zero or not. */
void bl_sanity_values(bl_sanity *sanity, size_t i, bool nonzero);
void bl_sanity_not_finite(bl_sanity *sanity, size_t i);
/* n scales of tensor i, as they lie in the file (F32, unaligned). */
void bl_sanity_scales_f32(bl_sanity *sanity, size_t i, const unsigned char *bytes, size_t n);

/* Tensors of which this is to be said. */
size_t bl_sanity_count(const bl_sanity *sanity, bl_oddity finding);

/* One sentence for each kind of finding, each on a line: "3 tensors are all zeros: a, b, c"; past ten "and 12 more". */
void bl_sanity_report(bl_text *out, const bl_sanity *sanity);

/* BL_E_MISMATCH, with the first line of the report, when anything was found. NULL: BL_OK. */
BL_MUST_USE bl_status bl_sanity_refuse(const bl_sanity *sanity, struct bl_err *err);

#endif
