/*
 * calibrate_keep.h - finished layers' statistics beside the kept state of a run, so that a run that
 * was cut off loses none: FOLDER/baleen-<32 hexadecimal digits>.layer-<number>.
 *
 * A file of this program, not for interchange: "BLSUMS1\0", the run (u64 x 2), the layer (u32), 0
 * (u32), the number of bytes (u64), the bytes, XXH3-128 of everything before (u64 x 2).
 */
#ifndef BL_QUANTIZE_CALIBRATE_KEEP_H
#define BL_QUANTIZE_CALIBRATE_KEEP_H

#include "base/err.h"
#include "base/hash.h"
#include "base/text.h"

#include <stdint.h>

typedef struct bl_kept_layers {
    const char *folder;
    bl_hash128 run;
} bl_kept_layers;

/* In place of what is there. */
BL_MUST_USE bl_status bl_kept_layer_write(const bl_kept_layers *kept, uint32_t layer,
                                          const bl_text *bytes, struct bl_err *err);
/* Append the layer's n_bytes. BL_E_FORMAT when they are damaged, BL_E_IO when they are missing. */
BL_MUST_USE bl_status bl_kept_layer_read(bl_text *out, const bl_kept_layers *kept, uint32_t layer,
                                         uint64_t n_bytes, struct bl_err *err);
/* All layers [0, n_layers): none there is fine. */
BL_MUST_USE bl_status bl_kept_layers_remove(const bl_kept_layers *kept, uint32_t n_layers,
                                            struct bl_err *err);

#endif
