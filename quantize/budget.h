/*
 * budget.h - the multiple-choice knapsack of mixed precision: every item (an output tensor) takes
 * one of several types, so that the loss is least in so many bytes:
 *
 *     min  sum_t S_t e_{t,q(t)}    subject to    sum_t bytes_{t,q(t)} <= B
 *
 * For a price lambda of a byte each item chooses by itself, argmin S e + lambda bytes: a corner of
 * the lower convex hull of its (bytes, S e). All items begin at their least bytes; the steps from
 * corner to corner are taken in the order of what they gain for a byte, which is the order of
 * falling lambda, until one does not fit. What is left is filled greedily, off the hulls too.
 * Source: Shoham and Gersho, "Efficient bit allocation for an arbitrary set of quantizers", 1988;
 * the greedy fill is the usual one.
 *
 * The result is at most one step above the Lagrangian bound that is returned. Sums in double in a
 * fixed order: the same choice everywhere.
 */
#ifndef BL_QUANTIZE_BUDGET_H
#define BL_QUANTIZE_BUDGET_H

#include "base/err.h"
#include "formats/dtype/dtype.h"

enum { BL_BUDGET_MAX_CHOICES = 16 };

typedef struct bl_budget_choice {
    bl_dtype dtype;
    uint64_t bytes;
    double error; /* e: what is lost of the tensor's weighted energy, 0 to 1; finite */
} bl_budget_choice;

typedef struct bl_budget_item {
    double sensitivity; /* S >= 0: loss at e = 1 */
    uint32_t n_choices; /* at least 1 */
    uint32_t chosen;    /* out */
    bl_budget_choice choice[BL_BUDGET_MAX_CHOICES];
} bl_budget_item;

typedef struct bl_budget_result {
    uint64_t bytes; /* of all items */
    double loss;    /* sum of S e */
    double bound;   /* no choice within the bytes has less */
} bl_budget_result;

/*
 * Choose for each of n items. BL_E_USAGE when even the least bytes of all are more than `bytes`,
 * with how many are needed.
 */
BL_MUST_USE bl_status bl_budget_solve(bl_budget_result *out, bl_budget_item *item, size_t n,
                                      uint64_t bytes, struct bl_err *err);

#endif
