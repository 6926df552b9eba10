/*
 * layout_encoders.h - the encoders of a folder's layouts, in parts. Internal to quantize/: layout.h
 * chooses among them. GGUF's blocks are in quant.h.
 */
#ifndef BL_QUANTIZE_LAYOUT_ENCODERS_H
#define BL_QUANTIZE_LAYOUT_ENCODERS_H

#include "quantize/layout.h"

/* FP8 blocks with F32 scales; the first keeps such a source, any scales, as it is stored. */
extern const bl_encoder bl_encoder_fp8, bl_encoder_fp8_ue8m0;
/* The same, only for keeping a source whose scales are F8_E8M0. */
extern const bl_encoder bl_encoder_fp8_e8m0_stored;

const bl_encoder *bl_encoder_int8(bl_folder_format format, bl_method method);

/* NULL for a group size that is not 32, 64 or 128, or a form that the format does not have. */
const bl_encoder *bl_encoder_int4(bl_folder_format format, bool asymmetric, bl_method method,
                                  uint64_t group_size);

#endif
