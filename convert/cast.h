/*
 * cast.h - encoders that choose nothing: F32, BF16, F16, each rounded to nearest even.
 */
#ifndef BL_CONVERT_CAST_H
#define BL_CONVERT_CAST_H

#include "convert/job.h"

/* The encoder for BL_F32, BL_BF16 or BL_F16; NULL for another type. */
const bl_encoder *bl_cast_encoder(bl_dtype dtype);

/* By the name that users type: "f32", "bf16", "f16"; NULL for another. */
const bl_encoder *bl_cast_encoder_by_name(const char *name);

#endif
