/*
 * ckpt_gguf.h - a GGUF file seen as a checkpoint with canonical names. Internal to formats/ckpt.
 */
#ifndef BL_FORMATS_CKPT_GGUF_H
#define BL_FORMATS_CKPT_GGUF_H

#include "base/arena.h"
#include "formats/ckpt/ckpt.h"
#include "formats/view/view.h"

/* Where a canonical tensor lies in a GGUF file. */
typedef struct bl_gguf_place {
    bl_layout layout;
    size_t stored[2];   /* KV_B: k_b and v_b; else [0] */
    uint64_t first_row; /* STACK: of this expert in the stacked tensor */
    bl_kv_b kv_b;       /* KV_B */
    uint64_t head_dim;  /* ROPE_PAIRS */
    float factor;       /* of all values: NAME.scale beside NAME.weight (NVFP4), else 1 */
} bl_gguf_place;

/*
 * The canonical tensors (name, type_name, dtype, shape, n_bytes and row_unit are set) and their
 * places, in file order; both arrays lie in the arena. Tensors that the family's table does not
 * know keep their GGUF names.
 */
BL_MUST_USE bl_status bl_gguf_list(bl_tensor **tensors, bl_gguf_place **places, size_t *n,
                                   bl_arena *arena, const bl_container *gguf,
                                   const bl_config *config, struct bl_err *err);

BL_MUST_USE bl_status bl_gguf_read_rows(const bl_container *gguf, const bl_gguf_place *place,
                                        const bl_tensor *tensor, uint64_t row, uint64_t n_rows,
                                        float *out, struct bl_err *err);

/* A hint that the tensor will be read soon. */
void bl_gguf_prefetch(const bl_container *gguf, const bl_gguf_place *place,
                      const bl_tensor *tensor);

/* The same for some rows. */
void bl_gguf_prefetch_rows(const bl_container *gguf, const bl_gguf_place *place,
                           const bl_tensor *tensor, uint64_t row, uint64_t n_rows);

#endif
