/*
 * layout.h - how a folder of quantized weights is laid out: which encoder each matrix gets, and what
 * config.json and its side files say of it, for the programs that load it (docs/format-layouts.md).
 *
 *   fp8, fp8-ue8m0       FP8 in 128 x 128 blocks, as DeepSeek-V3 / R1, as V3.1
 *   compressed-tensors   int4 in groups of a row, or int8 by row for W8A8 (vLLM, transformers)
 *   ascend               int8 by row, W8A8_DYNAMIC (vLLM-Ascend, MindIE)
 *   gptq, awq            int4 in groups, transposed
 *
 * Norms, biases, embeddings, the router, the output head and what only an MTP layer has keep the type
 * of the source; so do matrices whose shape a layout cannot take, all of one name alike.
 */
#ifndef BL_QUANTIZE_LAYOUT_H
#define BL_QUANTIZE_LAYOUT_H

#include "base/err.h"
#include "base/text.h"
#include "convert/plan.h"
#include "convert/write.h"
#include "quantize/quant.h"

typedef enum bl_folder_format {
    BL_FOLDER_FP8,
    BL_FOLDER_FP8_UE8M0,
    BL_FOLDER_CT_INT4,
    BL_FOLDER_CT_INT8,
    BL_FOLDER_ASCEND,
    BL_FOLDER_GPTQ,
    BL_FOLDER_AWQ
} bl_folder_format;

/* What users ask for. */
typedef struct bl_layout_options {
    const char *layout;  /* "fp8" ...; NULL: what the type is laid out as */
    const char *type;    /* "fp8", "int4" or "int8"; NULL: what the layout is for */
    uint64_t group_size; /* of int4: 32, 64 or 128; 0: 128 */
    bool asymmetric;     /* int4 with zero points; AWQ always has them */
    bl_method method;
} bl_layout_options;

typedef struct bl_folder_layout {
    bl_folder_format format;
    const bl_encoder *encoder; /* of every matrix that is quantized */
    uint32_t group_size;       /* int4 */
    bool asymmetric;
    const char *torch_dtype; /* of the model: "bfloat16", "float16" */
} bl_folder_layout;

/* Whether a type lays out a folder, and none lays out a file. */
bool bl_layout_has_type(const char *type);

/* Resolve the options; BL_E_USAGE with the choices for what does not fit together. */
BL_MUST_USE bl_status bl_layout_resolve(bl_folder_layout *out, const bl_layout_options *options,
                                        struct bl_err *err);

/*
 * bl_plan_folder() with the encoders of the layout. FP8 matrices whose source has such blocks already
 * are copied, codes and scales, as they are stored.
 */
BL_MUST_USE bl_status bl_layout_plan(bl_plan *out, const bl_ckpt *ckpt,
                                     const bl_folder_layout *layout, struct bl_err *err);

/* Whether the source is an FP8 folder that this layout keeps: its quantization_config stays, too. */
bool bl_layout_keeps(const bl_folder_layout *layout, const bl_ckpt *ckpt);

/* Whether the layout quantizes the matrices of this row of the family's table. */
bool bl_layout_takes(const bl_folder_layout *layout, const bl_arch_row *row,
                     const bl_config *config);

/*
 * quantization_config for a plan made with bl_layout_plan: JSON text. Nothing is added to out where
 * config.json must have none (ascend).
 */
BL_MUST_USE bl_status bl_layout_config(bl_text *out, const bl_folder_layout *layout,
                                       const bl_config *config, struct bl_err *err);

/* quant_model_description.json of an Ascend folder: a word for every tensor of the plan. */
BL_MUST_USE bl_status bl_layout_ascend_description(bl_text *out, const bl_plan *plan,
                                                   struct bl_err *err);

/* Run the plan into a folder with all that belongs to the layout. */
BL_MUST_USE bl_status bl_layout_write(const char *path, const bl_ckpt *ckpt, const bl_plan *plan,
                                      const bl_folder_layout *layout,
                                      const bl_write_options *options, struct bl_err *err);

#endif
