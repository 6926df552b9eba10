/*
 * encoders.h - the block encodings that quantize/ can make, as encoders for a plan.
 */
#ifndef BL_QUANTIZE_ENCODERS_H
#define BL_QUANTIZE_ENCODERS_H

#include "convert/job.h"

enum { BL_INT4_GROUP_SIZE = 128 };

extern const bl_encoder bl_encoder_q8_0;
extern const bl_encoder bl_encoder_q4_0;
/* Packed, scale and shape: parts 0, 1 and 2. multiple: the group size. */
extern const bl_encoder bl_encoder_int4_g128;

#endif
