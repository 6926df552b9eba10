/*
 * slice.h - a checkpoint without some of its experts and layers, as a checkpoint: a view, of which nothing
 * is written. Whatever takes a checkpoint takes it: conversions, the network, quantization.
 *
 * Stored bytes are passed on as they lie (experts by whole tensors or whole slices of a stack, routers by
 * rows), so no encoding is decoded. Experts and layers are numbered anew, in their old order; config.json or
 * the GGUF metadata say the new numbers, and which of the original's each is (pruning.h).
 *
 * A folder and a .bln give a view of a folder, with the shards of the source as far as they still hold
 * something; a GGUF file gives one of a GGUF file. Reads are as thread-safe as those of the source, which must
 * outlive the view. Memory: a table as large as the source's, and a GGUF header.
 */
#ifndef BL_FORMATS_SLICE_H
#define BL_FORMATS_SLICE_H

#include "formats/ckpt/ckpt.h"
#include "formats/slice/pruning.h"

/* What stays. Layers are numbered as in the source, MTP layers behind the others. */
typedef struct bl_slice {
    uint32_t n_layers;      /* that stay, without MTP layers; at least 1 */
    const uint32_t *layer;  /* [n_layers] ascending */
    bool keeps_mtp;         /* all MTP layers stay, if there are any */
    uint32_t n_experts;     /* that stay in each layer with experts; the source's number: all */
    const uint32_t *expert; /* [source's layers, MTP too][n_experts] ascending; dense: not read */
    bool ungroup;           /* one group */
    uint32_t experts_per_token; /* 0: as the source has it */
    const char *method;         /* how experts were chosen, for the record */
} bl_slice;

/*
 * Open the view; the slice is read only here. Fails with BL_E_UNSUPPORTED where a tensor cannot be cut (the
 * scales of a router in FP8 cover several experts), or layers cannot be told apart (moe_layer_freq).
 */
BL_MUST_USE bl_status bl_slice_open(bl_ckpt **out, const bl_ckpt *source, const bl_slice *slice,
                                    struct bl_err *err);

/* Bytes of all stored tensors of the slice; nothing is read for it. Fails as bl_slice_open() does. */
BL_MUST_USE bl_status bl_slice_bytes(uint64_t *out, const bl_ckpt *source, const bl_slice *slice,
                                     struct bl_err *err);

/*
 * The layers and experts of a reference that a pruned checkpoint has, by its record: what it is to be compared
 * with, tensor by tensor. *out NULL when it was not pruned, or not from this reference.
 */
BL_MUST_USE bl_status bl_slice_counterpart(bl_ckpt **out, const bl_ckpt *reference,
                                           const bl_ckpt *pruned, struct bl_err *err);

#endif
