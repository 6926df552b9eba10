/*
 * encoders.h - encoders for the layouts of a folder, in parts. GGUF's blocks are in quant.h.
 */
#ifndef BL_QUANTIZE_ENCODERS_H
#define BL_QUANTIZE_ENCODERS_H

#include "convert/job.h"

enum { BL_INT4_GROUP_SIZE = 128 };

/* Packed, scale and shape: parts 0, 1 and 2. multiple: the group size. */
extern const bl_encoder bl_encoder_int4_g128;

#endif
