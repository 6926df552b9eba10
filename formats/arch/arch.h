/*
 * arch.h - model families as data. A family is one table: which tensors it has, what they are
 * called here and in GGUF, which shape follows from the configuration, which role they play.
 */
#ifndef BL_FORMATS_ARCH_H
#define BL_FORMATS_ARCH_H

#include "formats/arch/config.h"

#include <stdbool.h>
#include <stdint.h>

/* What a tensor is for; the order is the order of reports. */
typedef enum bl_role {
    BL_ROLE_EMBEDDING,
    BL_ROLE_HEAD,
    BL_ROLE_NORM,
    BL_ROLE_ATTENTION,
    BL_ROLE_DENSE_MLP,
    BL_ROLE_ROUTER,
    BL_ROLE_SHARED_EXPERT,
    BL_ROLE_EXPERT,
    BL_ROLE_MTP, /* what only the MTP layer has: eh_proj, enorm, hnorm */
    BL_ROLE_OTHER,
    BL_ROLE_COUNT
} bl_role;

const char *bl_role_name(bl_role role);

/* Norms and routers: small, and never quantized. */
bool bl_role_is_exact(bl_role role);

/* Dimensions by name, resolved by bl_arch_dim(). */
typedef enum bl_dim {
    BL_DIM_1, /* ends a shape: the tensor has one dimension */
    BL_DIM_VOCAB,
    BL_DIM_HIDDEN,
    BL_DIM_HIDDEN_2, /* 2 x hidden: eh_proj */
    BL_DIM_FFN,
    BL_DIM_EXPERT_FFN,
    BL_DIM_SHARED_FFN,
    BL_DIM_EXPERTS,
    BL_DIM_Q_LORA,
    BL_DIM_KV_LORA,
    BL_DIM_KV_A,  /* kv_lora + rope */
    BL_DIM_Q_MLA, /* heads x (nope + rope) */
    BL_DIM_KV_B,  /* heads x (nope + v) */
    BL_DIM_O_MLA, /* heads x v */
    BL_DIM_Q,     /* heads x head_dim */
    BL_DIM_KV     /* kv heads x head_dim */
} bl_dim;

/* In which layers a tensor is found. */
typedef enum bl_where {
    BL_ONCE, /* not in a layer */
    BL_ALL_LAYERS,
    BL_DENSE_LAYERS,
    BL_MOE_LAYERS,
    BL_MTP_LAYERS
} bl_where;

/* On which property of the configuration a tensor depends. */
typedef enum bl_when {
    BL_ALWAYS,
    BL_WHEN_Q_LORA,
    BL_WHEN_NO_Q_LORA,
    BL_WHEN_QKV_BIAS,
    BL_WHEN_UNTIED,
    BL_WHEN_ROUTER_BIAS,
    BL_WHEN_SHARED
} bl_when;

/* How the GGUF tensor is laid out, seen from the canonical one (formats/view). */
typedef enum bl_layout {
    BL_LAYOUT_SAME,
    BL_LAYOUT_STACK,     /* experts on a new outermost dimension */
    BL_LAYOUT_KV_B,      /* split by head into k_b (transposed) and v_b */
    BL_LAYOUT_ROPE_PAIRS /* rows of each head: halves -> interleaved pairs */
} bl_layout;

typedef struct bl_arch_row {
    const char *name; /* canonical; "{L}" layer, "{E}" expert */
    const char *gguf; /* GGUF name; "{L}"; NULL: not exported. KV_B: "k_b|v_b|whole" */
    bl_role role;
    bl_where where;
    bl_when when;
    bl_dim rows, cols; /* shape [rows, cols]; BL_DIM_1 in cols: [rows] */
    bl_layout layout;
} bl_arch_row;

typedef struct bl_arch {
    const char *model_type; /* config.json */
    const char *gguf_name;  /* general.architecture */
    const char *hf_class;   /* config.json "architectures" */
    const bl_arch_row *row;
    size_t n_rows;
    bool mla;              /* multi-head latent attention */
    bool rope_interleaved; /* in the Hugging Face checkpoint */
    bool qkv_bias;         /* when config.json does not say */
    bool rope_divisors;    /* GGUF has a tensor of them (formats/arch/rope.h) */
} bl_arch;

const bl_arch *bl_arch_by_model_type(const char *model_type); /* NULL: unknown */
const bl_arch *bl_arch_by_gguf_name(const char *gguf_name);
/* By a model_type, or the beginning of one: the first of the table that begins so. NULL: none does. */
const bl_arch *bl_arch_by_family(const char *name);

uint64_t bl_arch_dim(const bl_config *config, bl_dim dim);

/* Whether the row's tensor exists in this layer (any layer for BL_ONCE) under this configuration. */
bool bl_arch_row_applies(const bl_arch_row *row, const bl_config *config, uint32_t layer);

/*
 * The row that a canonical name belongs to, with its layer and expert (-1 = none); NULL when the
 * family has no such tensor.
 */
const bl_arch_row *bl_arch_match(const bl_arch *arch, const char *name, int32_t *layer,
                                 int32_t *expert);

/* The row whose tensor has this GGUF name; NULL when none does, and for the halves of KV_B. */
const bl_arch_row *bl_arch_match_gguf(const bl_arch *arch, const char *gguf_name);

/*
 * The GGUF names of a KV_B row in this layer: k_b, v_b, and the whole that old files have instead;
 * they point into buffer (n bytes). False when it is too small.
 */
bool bl_arch_kv_b_names(const char *name[3], char *buffer, size_t n, const bl_arch_row *row,
                        uint32_t layer);

/* Expand "{L}" and "{E}" into buffer (n bytes); false when it does not fit. */
bool bl_arch_expand(char *buffer, size_t n, const char *pattern, uint32_t layer, uint32_t expert);

#endif
