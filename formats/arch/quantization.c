/*
 * quantization.c - one reader for each quant_method. What is not exactly a layout that we decode is
 * refused here, so that no weight is read under a wrong meaning.
 *
 * Sources: transformers 4.57.1 (FineGrainedFP8Config, GPTQConfig, AwqConfig), compressed-tensors
 * 0.12.2 (QuantizationConfig), the config.json of DeepSeek-V3.1 (scale_fmt).
 */
#include "formats/arch/quantization.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_BLOCK = 1 << 20 };

/* The object that is read; the sentence of every refusal names the file. */
struct reader {
    const char *name;
    const bl_json_value *value;
    struct bl_err *err;
};

static bl_status refuse(const struct reader *r, const char *what)
{
    return bl_fail(r->err, BL_E_UNSUPPORTED, "%s: 'quantization_config' %s", r->name, what);
}

static bool is_string(const bl_json_value *object, const char *key, const char *text)
{
    const char *s = bl_json_string(bl_json_get(object, key));

    return s && strcmp(s, text) == 0;
}

static bool is_number(const bl_json_value *object, const char *key, uint64_t number)
{
    uint64_t u;

    return bl_json_u64(&u, bl_json_get(object, key)) && u == number;
}

static bool is_absent(const bl_json_value *object, const char *key)
{
    const bl_json_value *v = bl_json_get(object, key);

    return !v || bl_json_type_of(v) == BL_JSON_NULL;
}

/* A number of elements that share a scale. */
static bool get_block(uint32_t *out, const bl_json_value *v)
{
    uint64_t u;

    if (!bl_json_u64(&u, v) || u == 0 || u > MAX_BLOCK)
        return false;
    *out = (uint32_t)u;
    return true;
}

static bl_status read_fp8(bl_quantization *q, const struct reader *r)
{
    const bl_json_value *size = bl_json_get(r->value, "weight_block_size");
    const bl_json_value *rows = size ? bl_json_first(size) : NULL;
    const bl_json_value *cols = rows ? bl_json_next(rows) : NULL;

    if (!get_block(&q->block_rows, rows) || !get_block(&q->block_cols, cols) || bl_json_next(cols))
        return refuse(r, "is fp8 without a weight_block_size of two numbers");
    q->storage = BL_STORAGE_FP8_BLOCK;
    q->power_of_two = is_string(r->value, "scale_fmt", "ue8m0");
    if (!q->power_of_two && !is_absent(r->value, "scale_fmt"))
        return refuse(r, "has a scale_fmt that is not handled");
    return BL_OK;
}

/* weights of compressed-tensors: "pack-quantized" in groups of a row, or "int-quantized" by row. */
static bl_status read_compressed(bl_quantization *q, const struct reader *r)
{
    const bl_json_value *groups = bl_json_get(r->value, "config_groups");
    const bl_json_value *group = groups ? bl_json_first(groups) : NULL;
    const bl_json_value *w = bl_json_get(group, "weights");
    bool symmetric = false;

    if (!w || bl_json_next(group) || !is_string(w, "type", "int") ||
        !bl_json_bool(&symmetric, bl_json_get(w, "symmetric")))
        return refuse(r, "is not compressed-tensors with integers in one group");
    q->block_rows = 1;
    if (is_string(r->value, "format", "pack-quantized") && is_number(w, "num_bits", 4) &&
        is_string(w, "strategy", "group") &&
        get_block(&q->block_cols, bl_json_get(w, "group_size"))) {
        q->storage = BL_STORAGE_CT_INT4;
        q->asymmetric = !symmetric;
        return BL_OK;
    }
    if (is_string(r->value, "format", "int-quantized") && is_number(w, "num_bits", 8) &&
        is_string(w, "strategy", "channel") && symmetric) {
        q->storage = BL_STORAGE_CT_INT8;
        return BL_OK;
    }
    return refuse(r, "is neither pack-quantized int4 in groups nor symmetric int-quantized int8 by "
                     "channel");
}

static bl_status read_gptq(bl_quantization *q, const struct reader *r)
{
    if (!is_number(r->value, "bits", 4) ||
        !get_block(&q->block_cols, bl_json_get(r->value, "group_size")))
        return refuse(r, "is gptq, but not of 4 bits in groups");
    if (is_string(r->value, "checkpoint_format", "gptq_v2"))
        q->zero_minus_one = false;
    else if (is_absent(r->value, "checkpoint_format") ||
             is_string(r->value, "checkpoint_format", "gptq"))
        q->zero_minus_one = true;
    else
        return refuse(r, "has a checkpoint_format that is not handled");
    q->storage = BL_STORAGE_GPTQ;
    q->block_rows = 1;
    q->asymmetric = true;
    return BL_OK;
}

static bl_status read_awq(bl_quantization *q, const struct reader *r)
{
    bool zero_point = false;

    (void)bl_json_bool(&zero_point, bl_json_get(r->value, "zero_point"));
    if (!is_number(r->value, "bits", 4) || !zero_point ||
        !(is_string(r->value, "version", "gemm") || is_string(r->value, "version", "GEMM")) ||
        !get_block(&q->block_cols, bl_json_get(r->value, "group_size")))
        return refuse(r, "is awq, but not 'gemm' of 4 bits in groups with zero points");
    q->storage = BL_STORAGE_AWQ;
    q->block_rows = 1;
    q->asymmetric = true;
    return BL_OK;
}

bl_status bl_quantization_parse(bl_quantization *out, const char *name, const bl_json_value *value,
                                struct bl_err *err)
{
    static const struct {
        const char *method;
        bl_status (*read)(bl_quantization *q, const struct reader *r);
    } table[] = { { "fp8", read_fp8 },
                  { "compressed-tensors", read_compressed },
                  { "gptq", read_gptq },
                  { "awq", read_awq } };
    const struct reader r = { name, value, err };
    bl_quantization q = { 0 };

    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        bl_status rc;

        if (!is_string(value, "quant_method", table[i].method))
            continue;
        rc = table[i].read(&q, &r);
        if (rc == BL_OK)
            *out = q;
        return rc;
    }
    return refuse(&r, "has a quant_method that is not handled");
}
