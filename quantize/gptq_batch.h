/*
 * gptq_batch.h - several groups of matrices at once, so that all threads have work: the factors,
 * then all tiles of all matrices, then the verdicts.
 *
 * A group is the matrices that meet the same input: gate and up of an expert, its down, the
 * projections of an attention. They share H, and so the factor.
 *
 * Memory: bl_gptq_group_bytes() for every group, bl_gptq_work_bytes() of the widest for every thread.
 */
#ifndef BL_QUANTIZE_GPTQ_BATCH_H
#define BL_QUANTIZE_GPTQ_BATCH_H

#include "quantize/gptq_items.h"
#include "quantize/gptq_matrix.h"
#include "quantize/hessian.h"

enum { BL_GPTQ_GROUP_MAX = 8 /* matrices of a group */ };

/* What became of a matrix. */
typedef struct bl_gptq_outcome {
    const bl_gptq_item *item;
    uint64_t n_tokens; /* that met it */
    size_t n_held;     /* of them held out; 0: nothing to judge with, the search's codes */
    int tries;         /* 1 to 3: which factorisation succeeded; 0: none, or none was wanted */
    bl_gptq_verdict verdict;
} bl_gptq_outcome;

/* Takes the encoded parts, in the order in which items were added. Called by one thread. */
typedef bl_status (*bl_gptq_take_fn)(void *context, const bl_gptq_outcome *outcome,
                                     unsigned char *const part[BL_JOB_MAX_PARTS],
                                     struct bl_err *err);

typedef struct bl_gptq_group {
    bl_gptq_factor own;
    const bl_gptq_factor *factor; /* own, or one that is shared; NULL: only the search */
    double damping;
    int tries;
    uint64_t n_tokens;
    float *held; /* [n_held][n_cols] */
    size_t n_held, n_cols;
    float *importance; /* [n_cols], or NULL */
    size_t n_items;
    const bl_gptq_item *item[BL_GPTQ_GROUP_MAX];
    bl_gptq_matrix matrix[BL_GPTQ_GROUP_MAX];
} bl_gptq_group;

typedef struct bl_gptq_batch {
    bl_gptq_group *group;
    size_t n_groups, max_groups;
    int n_threads;
    uint64_t n_factored, n_unfactored;   /* so far: factors made, and given up */
    double factor_seconds, tile_seconds; /* so far */
} bl_gptq_batch;

uint64_t bl_gptq_group_bytes(const bl_gptq_item *const *item, size_t n_items, bool own_factor);

BL_MUST_USE bl_status bl_gptq_batch_init(bl_gptq_batch *out, size_t max_groups, int n_threads,
                                         struct bl_err *err);
void bl_gptq_batch_release(bl_gptq_batch *batch);

/*
 * Add a group: its items, all of n_cols columns, with what they met (a finished h) and what their
 * layer met (NULL: no layer to fill in from; h NULL: they met nothing). shared: a factor to use in
 * place of h's own, or NULL. Without it, and where h has no sum, the search's codes stay. h may be used again afterwards, shared has to stay.
 */
BL_MUST_USE bl_status bl_gptq_batch_add(bl_gptq_batch *batch, const bl_gptq_item *const *item,
                                        size_t n_items, const bl_hessian *h,
                                        const bl_hessian *layer, const bl_gptq_factor *shared,
                                        struct bl_err *err);

/* Encode all groups, hand them over, and empty the batch. */
BL_MUST_USE bl_status bl_gptq_batch_run(bl_gptq_batch *batch, bl_gptq_take_fn take, void *context,
                                        struct bl_err *err);

#endif
