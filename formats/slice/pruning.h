/*
 * pruning.h - what a checkpoint says of the experts and layers that were taken out of it: how, and which
 * of the original's each of its own is.
 *
 * config.json, member "expert_pruning"; in GGUF the same text as the string "baleen.expert_pruning":
 *     {
 *       "method": "reap",                       how experts were chosen; several, in order, with "+"
 *       "num_hidden_layers": 8,                 of the original, without MTP layers
 *       "n_routed_experts": 32,                 of the original
 *       "models": ["<32 hexadecimal digits>"],  identities (formats/ckpt/identity.h) of the models that
 *                                               this one was made from, the original first
 *       "layers": [0, 1, 2, 4],                 the original's number of each layer, MTP layers last
 *       "experts": [null, [0, 3, 5], ...]       and of each expert, by layer; null: a dense layer
 *     }
 * A conversion carries it from one form to the other.
 */
#ifndef BL_FORMATS_PRUNING_H
#define BL_FORMATS_PRUNING_H

#include "base/hash.h"
#include "base/text.h"
#include "formats/ckpt/ckpt.h"

#define BL_PRUNING_MEMBER "expert_pruning"
#define BL_PRUNING_KEY    "baleen." BL_PRUNING_MEMBER

enum { BL_PRUNING_MAX_MODELS = 16, BL_PRUNING_METHOD_BYTES = 128 };

typedef struct bl_pruning {
    char method[BL_PRUNING_METHOD_BYTES];
    uint32_t n_layers_before, n_experts_before; /* of the original */
    bl_hash128 model[BL_PRUNING_MAX_MODELS];
    size_t n_models;
    uint32_t n_layers;  /* MTP layers included */
    uint32_t n_experts; /* in each layer that has any */
    uint32_t *layer;    /* [n_layers] */
    uint32_t *expert;   /* [n_layers][n_experts]; of a dense layer UINT32_MAX */
} bl_pruning;

/* BL_OK with *there false when the checkpoint says nothing. The caller releases *out when it is there. */
BL_MUST_USE bl_status bl_pruning_read(bl_pruning *out, bool *there, const bl_ckpt *ckpt,
                                      struct bl_err *err);
void bl_pruning_release(bl_pruning *pruning); /* zeroed is allowed */

/* Room for these layers and experts, all dense; the caller releases it. */
BL_MUST_USE bl_status bl_pruning_init(bl_pruning *out, uint32_t n_layers, uint32_t n_experts,
                                      struct bl_err *err);

/* Append the text. Look at bl_text_check(). */
void bl_pruning_write(bl_text *out, const bl_pruning *pruning);

/* Append the text that the checkpoint has of it, for another form; nothing when it says nothing. */
BL_MUST_USE bl_status bl_pruning_text(bl_text *out, const bl_ckpt *ckpt, struct bl_err *err);

/* Whether the checkpoint was made from the model with this identity. */
bool bl_pruning_descends(const bl_pruning *pruning, bl_hash128 identity);

#endif
