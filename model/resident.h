/*
 * resident.h - weights that are in memory and are learned, in the place of those in the file of the
 * checkpoint, which names and shapes them.
 *
 * A bl_weights with a bl_resident reads these: in F32 they are used where they lie, BF16 is decoded
 * as a file's tiles are. The backward pass adds to their gradients.
 */
#ifndef BL_MODEL_RESIDENT_H
#define BL_MODEL_RESIDENT_H

#include "formats/ckpt/ckpt.h"

/* One tensor, [n_rows][n_cols]: value or bf16, the other NULL. */
typedef struct bl_learned {
    float *value;
    uint16_t *bf16;
    float *gradient;
} bl_learned;

typedef struct bl_resident {
    const bl_ckpt *ckpt;
    bl_learned *learned; /* [bl_ckpt_n_tensors(ckpt)]; all NULL for what is not in memory */
} bl_resident;

static inline bl_learned *bl_resident_get(const bl_resident *resident, const bl_tensor *tensor)
{
    return &resident->learned[tensor - bl_ckpt_tensor(resident->ckpt, 0)];
}

/* Rows [row, row + n_rows) to out. */
void bl_resident_read(float *out, const bl_resident *resident, const bl_tensor *tensor,
                      uint64_t row, uint64_t n_rows);

#endif
