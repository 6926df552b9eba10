/*
 * budget_plan.h - a file of a given size: which type every tensor of a GGUF plan gets, so that the
 * predicted loss is least (budget.h) and the whole file, metadata and padding included, has at most
 * so many bytes.
 *
 *     rc = bl_allocation_init(&allocation, ckpt, &plan, &options, err);     samples 3 % of the rows
 *     rc = bl_allocation_solve(&allocation, file_bytes, err);               as often as wanted
 *     ... bl_plan_gguf(&final, ckpt, bl_allocation_choose, &allocation, err)
 *
 * Items are the plan's tensors: of routed experts the stack of a layer is one. Norms, biases, the
 * router, and what the user gave a type by name are not free; they count with their bytes.
 *
 * Loss of a tensor: S e. With measured sensitivities (sensitivity.h) in nats of KL; a tensor that was
 * not measured gets the median of the others, scaled by the priors, and none less than a tenth of
 * an ordinary one, so that noise in a measurement takes no tensor to the bottom. The two halves of kv_b get half
 * of its KL each. Without measurements S is the prior, and only shares of the loss mean something.
 */
#ifndef BL_QUANTIZE_BUDGET_PLAN_H
#define BL_QUANTIZE_BUDGET_PLAN_H

#include "convert/plan.h"
#include "quantize/budget.h"
#include "quantize/pattern.h"
#include "quantize/quant.h"
#include "quantize/sensitivity.h"

typedef struct bl_allocation_options {
    bl_method method;                  /* the encoders that will be used, and are sampled */
    const bl_dtype *type;              /* [n_types] to choose from; NULL: all that GGUF engines */
    size_t n_types;                    /* load and quant.h makes */
    const bl_tensor_rules *rules;      /* types that the user gave; may be NULL */
    const bl_sensitivity *sensitivity; /* measured; NULL: priors */
    int n_threads;
    bl_progress *progress; /* gets bl_allocation_sample_bytes(); may be NULL */
} bl_allocation_options;

typedef struct bl_allocation_tensor {
    const char *name; /* the plan's */
    bl_role role;
    int32_t layer; /* -1: in none */
    uint64_t n_values;
    bool is_free;
    bl_dtype dtype; /* what it gets; of free ones after solving */
    uint64_t bytes; /* of it, without padding */
    double error;   /* e: relative weighted error of the type, sampled; 0 where it is not free */
    double loss;    /* S e */
} bl_allocation_tensor;

typedef struct bl_allocation {
    bl_method method;
    bool in_nats; /* losses are KL: sensitivities were measured */
    size_t n_tensors;
    bl_allocation_tensor *tensor; /* [n_tensors], the plan's order */
    size_t n_items;
    bl_budget_item *item;    /* [n_items] free tensors */
    size_t *tensor_of;       /* [n_items] */
    uint64_t header_bytes;   /* of the file before the first tensor */
    uint64_t n_values;       /* of all tensors */
    uint64_t file_bytes;     /* solved: of the whole file */
    bl_budget_result result; /* solved: of the free tensors */
} bl_allocation;

/* The plan must outlive the allocation; which encoders it has does not matter. */
BL_MUST_USE bl_status bl_allocation_init(bl_allocation *out, const bl_ckpt *ckpt,
                                         const bl_plan *plan, const bl_allocation_options *options,
                                         struct bl_err *err);
void bl_allocation_release(bl_allocation *allocation);

/* The bytes that sampling reads, in F32. */
uint64_t bl_allocation_sample_bytes(const bl_plan *plan);

/* BL_E_USAGE when even the smallest types make a larger file; says how large. */
BL_MUST_USE bl_status bl_allocation_solve(bl_allocation *allocation, uint64_t file_bytes,
                                          struct bl_err *err);

/* Bytes of a file whose tensors have so many bits a weight (all bytes over all values). */
uint64_t bl_allocation_bytes_at(const bl_allocation *allocation, double bits_per_weight);

/* A bl_choose_fn with a solved bl_allocation as context; what it does not know is F32. */
const bl_encoder *bl_allocation_choose(const void *allocation, const bl_choice *choice);

#endif
