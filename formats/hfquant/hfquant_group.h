/*
 * hfquant_group.h - what the files that put parts together share. Internal to formats/hfquant.
 */
#ifndef BL_FORMATS_HFQUANT_GROUP_H
#define BL_FORMATS_HFQUANT_GROUP_H

#include "formats/hfquant/hfquant.h"

#include "base/map.h"

typedef struct bl_grouping {
    const bl_container *container;
    bl_quantization quantization;
    bl_arena *arena;
    bl_map by_name; /* stored tensors */
    bool *is_int8;  /* [n_stored]: the Ascend description says so; NULL: there is none */
    bl_parts *parts;
    size_t n_parts;
    struct bl_err *err;
} bl_grouping;

/* Fail with a sentence about stored tensor i; which (may be NULL) is quoted behind it. */
BL_MUST_USE bl_status bl_grouping_fail(const bl_grouping *g, size_t i, const char *what,
                                       const char *which);

/*
 * The stored tensor named stem + suffix, stem being the first n bytes of stored tensor i's name.
 * Fails with BL_E_FORMAT, naming it, when there is none.
 */
BL_MUST_USE bl_status bl_grouping_require(size_t *out, const bl_grouping *g, size_t i, size_t n,
                                          const char *suffix);
/* The same for a part that may be absent: then *out is BL_NO_PART. */
BL_MUST_USE bl_status bl_grouping_look(size_t *out, const bl_grouping *g, size_t i, size_t n,
                                       const char *suffix);

/* The next canonical tensor, for now with stored tensor i alone. */
bl_parts *bl_grouping_add(bl_grouping *g, size_t i);

/* Whether stored tensor i is a matrix [rows, cols] of this type. */
bool bl_grouping_is(const bl_grouping *g, size_t i, bl_dtype dtype, uint64_t rows, uint64_t cols);
/* ... of scales: BF16, F16 or F32. */
bool bl_grouping_is_scale(const bl_grouping *g, size_t i, uint64_t rows, uint64_t cols);

/* Stored tensor i, the first part of an int4 layout; its name has stem bytes before the suffix. */
BL_MUST_USE bl_status bl_group_int4(bl_grouping *g, size_t i, size_t stem);
BL_MUST_USE bl_status bl_group_gptq(bl_grouping *g, size_t i, size_t stem);
BL_MUST_USE bl_status bl_group_awq(bl_grouping *g, size_t i, size_t stem);

/* Read quant_model_description.json where there is one; sets storage and is_int8. */
BL_MUST_USE bl_status bl_group_description(bl_grouping *g);

#endif
