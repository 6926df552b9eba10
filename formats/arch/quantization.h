/*
 * quantization.h - how a Hugging Face directory stores its matrices, as quantization_config of
 * config.json says: only what a decoder needs. formats/hfquant knows the parts of each layout.
 */
#ifndef BL_FORMATS_QUANTIZATION_H
#define BL_FORMATS_QUANTIZATION_H

#include "base/err.h"
#include "formats/json/json.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum bl_storage {
    BL_STORAGE_PLAIN,       /* no quantization_config */
    BL_STORAGE_FP8_BLOCK,   /* quant_method "fp8" with weight_block_size */
    BL_STORAGE_CT_INT4,     /* "compressed-tensors", format "pack-quantized" */
    BL_STORAGE_CT_INT8,     /* "compressed-tensors", format "int-quantized", a scale for each row */
    BL_STORAGE_GPTQ,        /* "gptq": 4 bits */
    BL_STORAGE_AWQ,         /* "awq", version "gemm": 4 bits */
    BL_STORAGE_ASCEND_INT8, /* told by quant_model_description.json, not by config.json */
} bl_storage;

typedef struct bl_quantization {
    bl_storage storage;
    uint32_t block_rows,
        block_cols;      /* that share a scale: FP8; int4: 1 x group; int8: 1 x 0, the row */
    bool asymmetric;     /* int4: a zero point for each group is stored */
    bool zero_minus_one; /* GPTQ: stored zero points are one less ("gptq", not "gptq_v2") */
    bool power_of_two;   /* FP8: scale_fmt "ue8m0" */
} bl_quantization;

/*
 * Read the value of quantization_config (name: of the file, for sentences). BL_E_UNSUPPORTED for a
 * layout that no decoder knows.
 */
BL_MUST_USE bl_status bl_quantization_parse(bl_quantization *out, const char *name,
                                            const bl_json_value *value, struct bl_err *err);

#endif
