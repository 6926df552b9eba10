/*
 * forward.h - the loop over layers: one model, or several in lockstep, layer by layer.
 *
 * The states come embedded (bl_embed) or as they were saved after some layer; those that are behind
 * catch up. Every weight is read once. With `save_as`, a state is saved after every layer, so that
 * a run that was cut off goes on from there.
 */
#ifndef BL_MODEL_FORWARD_H
#define BL_MODEL_FORWARD_H

#include "base/progress.h"
#include "model/layer.h"

/* Called when a layer is done (state->n_layers_done - 1) and its state not yet saved. */
typedef bl_status (*bl_before_keep_fn)(void *context, const bl_state *state, struct bl_err *err);

typedef struct bl_forward {
    bl_state *state;
    const bl_weights *weights;
    const bl_router_policy *policy; /* [n_layers], or NULL */
    const bl_taps *taps;            /* or NULL */
    const char *save_as;            /* a file, replaced after every layer; NULL: not saved */
    bl_before_keep_fn before_keep;  /* after every layer, before it is saved: what must not be */
    void *context;                  /* lost with it can be saved first; or NULL */
} bl_forward;

/* Called when all models that have this layer are done with it. */
typedef bl_status (*bl_layer_done_fn)(void *context, uint32_t layer, struct bl_err *err);

typedef struct bl_forward_options {
    bl_layer_done_fn done; /* or NULL */
    void *context;
    bl_progress *progress; /* gets the bytes of weights as they are done; may be NULL */
} bl_forward_options;

BL_MUST_USE bl_status bl_forward_run(const bl_forward *model, size_t n_models,
                                     const bl_forward_options *options, struct bl_err *err);

/* Stored bytes of a layer's weights, or with -1 of those outside the layers; no MTP. */
uint64_t bl_forward_layer_bytes(const bl_ckpt *ckpt, int64_t layer);
/* Of all layers and of what is outside them; no MTP. */
uint64_t bl_forward_bytes(const bl_ckpt *ckpt);

/*
 * Floating point operations of n_seqs sequences of n_positions tokens through all layers, and of
 * n_scored positions through the head: two for every weight that a token meets, and for every
 * product of a query with a key and of a probability with a value.
 */
double bl_forward_flop(const bl_weights *weights, uint32_t n_seqs, uint32_t n_positions,
                       size_t n_scored);

#endif
