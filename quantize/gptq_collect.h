/*
 * gptq_collect.h - one layer: taps on its forward pass gather what each matrix meets, and as soon
 * as a matrix has met all its inputs it is quantized and handed over.
 *
 *     rc = bl_gptq_collect_begin(&collect, items, layer, &how, take, context, err);
 *     taps = bl_gptq_collect_taps(collect);
 *     rc = bl_layer_step(state, layer, weights, NULL, &taps, err);
 *     rc = bl_gptq_collect_end(collect, err);          the rest
 *     bl_gptq_collect_free(collect);
 *
 * Attention's matrices are done when the FFN begins, an expert's with the batch that it is in, the
 * others at the end: the order of items (gptq_items.h), in which they are handed over. An expert's
 * gate and up are filled in from H of the layer: what all tokens of the layer are, since each
 * is routed to equally many experts, is the experts' average. Its down is not: the same channel of
 * two experts is not the same neuron.
 *
 * Memory: bl_gptq_collect_bytes().
 */
#ifndef BL_QUANTIZE_GPTQ_COLLECT_H
#define BL_QUANTIZE_GPTQ_COLLECT_H

#include "model/taps.h"
#include "quantize/gptq_batch.h"

typedef struct bl_gptq_how {
    int n_threads;
    size_t batch_experts; /* that are worked on together, at least 1 */
    bool shared_hessian;  /* gate and up of all experts of a layer: one H, the layer's */
} bl_gptq_how;

typedef struct bl_gptq_collect bl_gptq_collect;

BL_MUST_USE bl_status bl_gptq_collect_begin(bl_gptq_collect **out, const bl_gptq_items *items,
                                            uint32_t layer, const bl_gptq_how *how,
                                            bl_gptq_take_fn take, void *context,
                                            struct bl_err *err);
bl_taps bl_gptq_collect_taps(bl_gptq_collect *collect);
BL_MUST_USE bl_status bl_gptq_collect_end(bl_gptq_collect *collect, struct bl_err *err);
/* Seconds so far in factors and in tiles of rows. */
void bl_gptq_collect_times(double *factors, double *tiles, const bl_gptq_collect *collect);
void bl_gptq_collect_free(bl_gptq_collect *collect); /* NULL is allowed */

/*
 * Bytes at the worst moment of any layer, beside the forward pass: of
 *     attention    H of each of its inputs; one group with its factor; the threads' tiles
 *     experts      H of the layer, of an expert's two inputs; a batch of groups; the tiles
 *     the rest     H of its inputs; one group; the tiles
 * A factor that needs F64 takes 8 n^2 bytes for the time.
 */
uint64_t bl_gptq_collect_bytes(const bl_gptq_items *items, const bl_gptq_how *how);

#endif
