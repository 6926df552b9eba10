/*
 * requantize.h - lossy on top of lossy. Errors add up, so a source that is already quantized is taken
 * only when asked for, and the output says what it came from: GGUF key baleen.requantized_from,
 * member requantized_from of config.json (which a .bln of the folder carries).
 *
 * F32, F16, BF16 and FP8 sources are originals here (R1 is published in FP8); int4, int8 and GGUF's
 * block types are not.
 */
#ifndef BL_QUANTIZE_REQUANTIZE_H
#define BL_QUANTIZE_REQUANTIZE_H

#include "base/text.h"
#include "formats/ckpt/ckpt.h"

/*
 * Put what lossy types the source has to *from, "int4 g128, Q8_0", with what it says of itself (as a
 * file that was requantized) in front; nothing when it is an original. BL_E_UNSUPPORTED, naming a
 * tensor, when it is none and that is not allowed.
 */
BL_MUST_USE bl_status bl_requantize_check(bl_text *from, const bl_ckpt *ckpt, bool allowed,
                                          struct bl_err *err);

#endif
