/*
 * cache_head.h - the teacher's output head beside the shards of hidden states: one tensor,
 * "lm_head.weight" [vocab_size][hidden_size], BF16 or F32, in head.safetensors.
 */
#ifndef BL_FORMATS_CACHE_HEAD_H
#define BL_FORMATS_CACHE_HEAD_H

#include "formats/dtype/dtype.h"
#include "formats/logits/cache.h"

typedef struct bl_cache_head {
    char *path;
    bl_dtype dtype;
    uint64_t n_rows, n_cols;
    uint64_t offset, file_bytes;
} bl_cache_head; /* zero-initialise */

/* BL_E_MISMATCH when it is not there, or is the head of something else. */
BL_MUST_USE bl_status bl_cache_head_open(bl_cache_head *out, const char *folder,
                                         const bl_cache_info *info, struct bl_err *err);
BL_MUST_USE bl_status bl_cache_head_read(float *out, const bl_cache_head *head, uint64_t row,
                                         uint64_t n, struct bl_err *err);
void bl_cache_head_release(bl_cache_head *head);

#endif
