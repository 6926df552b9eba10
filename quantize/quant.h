/*
 * quant.h - the block types that quantize/ can make, one row each: how users call them, how they are
 * encoded by which method, and what GPTQ needs to put codes of its own into their blocks.
 */
#ifndef BL_QUANTIZE_QUANT_H
#define BL_QUANTIZE_QUANT_H

#include "convert/job.h"

typedef enum bl_method {
    BL_METHOD_PLAIN,  /* rounding as the type's definition says */
    BL_METHOD_SEARCH, /* scales searched for the smallest error, weighted by importance */
    BL_METHOD_COUNT
} bl_method;

typedef struct bl_quant {
    const char *name; /* "q4_k" */
    bl_dtype dtype;
    uint32_t n_levels;                   /* codes of an element: 0 to n_levels - 1 */
    bl_encoder encoder[BL_METHOD_COUNT]; /* both with the name "Q4_K" */
    /* Replace the codes of one block, element order; its scales stay. NULL: not for GPTQ. */
    void (*put_codes)(void *block, const uint8_t *code);
} bl_quant;

const bl_quant *bl_quant_by_name(const char *name); /* NULL: unknown */
const bl_quant *bl_quant_of(bl_dtype dtype);        /* NULL: not made here */
size_t bl_quant_count(void);
const bl_quant *bl_quant_at(size_t i);

/* A block type by this method, or a cast (convert/cast.h); NULL: neither. */
const bl_encoder *bl_encoder_of(bl_dtype dtype, bl_method method);

/* By the name that users type: "plain", "search"; false for another. */
bool bl_method_by_name(bl_method *out, const char *name);

#endif
