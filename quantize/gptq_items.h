/*
 * gptq_items.h - what of a plan GPTQ works on: matrices in the order in which a forward pass meets
 * their inputs, each with the activation (model/taps.h) that is its input.
 *
 * An item is the rows of one canonical tensor in one job of the plan: a whole job, or an expert of
 * a stacked one. Rows are independent, so it takes them in the job's own order, whatever the view.
 *
 * Left to the search: what lies outside the layers, in the MTP layer, or in a transposed view
 * (k_b: its columns are not inputs); types whose codes cannot be chosen one by one.
 */
#ifndef BL_QUANTIZE_GPTQ_ITEMS_H
#define BL_QUANTIZE_GPTQ_ITEMS_H

#include "model/taps.h"
#include "quantize/code_grid.h"

typedef struct bl_gptq_item {
    const bl_job *job;
    const bl_code_grid *grid;
    uint32_t layer;
    int32_t expert;          /* routed expert, or -1 */
    const bl_tensor *tensor; /* whose rows they are, in any order; NULL: in a view of it */
    bl_tap tap;
    uint64_t first_row, n_rows; /* of the job */
    size_t n_cols;
    uint32_t n_parts;                     /* that depend on rows */
    uint64_t row_bytes[BL_JOB_MAX_PARTS]; /* of those */
} bl_gptq_item;

/* In order of layers; within one: attention, experts ascending, the rest of the FFN. */
typedef struct bl_gptq_items {
    bl_gptq_item *item;
    size_t n_items;
    size_t *first; /* [n_layers + 1]: where each layer's items begin */
    uint32_t n_layers;
    bl_code_grid *grid; /* one a type */
    bl_code_grid_type *type;
    size_t n_types;
} bl_gptq_items;

/* The plan is borrowed and must not move. */
BL_MUST_USE bl_status bl_gptq_items_make(bl_gptq_items *out, const bl_plan *plan, uint32_t n_layers,
                                         struct bl_err *err);
void bl_gptq_items_release(bl_gptq_items *items);

/* Bytes of an item's part k. */
uint64_t bl_gptq_item_bytes(const bl_gptq_item *item, uint32_t k);

#endif
