/*
 * layout_config.c - what config.json and the description say of a layout. Loaders quantize every
 * matrix that the text does not except, so it follows the same question as the plan:
 * bl_layout_takes().
 */
#include "quantize/layout.h"

#include "formats/json/json_writer.h"

#include <inttypes.h>
#include <string.h>

/* Matrices, embeddings aside, that stay as they are: a row of the table that is there and not taken. */
static bool is_ignored(const bl_folder_layout *l, const bl_arch_row *row, const bl_config *c)
{
    if (row->cols == BL_DIM_1 || row->role == BL_ROLE_EMBEDDING || bl_layout_takes(l, row, c))
        return false;
    for (uint32_t layer = 0; layer < c->n_layers + c->n_mtp_layers; layer++)
        if (bl_arch_row_applies(row, c, layer))
            return true;
    return false;
}

/* The module of a row behind its layer: "self_attn.kv_b_proj"; *in_layer is false for "lm_head". */
static const char *module_of(size_t *n, bool *in_layer, const bl_arch_row *row)
{
    const char *end = strstr(row->name, "{L}.");
    const char *module = end ? end + strlen("{L}.") : row->name;

    *in_layer = end != NULL;
    *n = strlen(module) - strlen(".weight");
    return module;
}

/* "re:.*self_attn\.kv_b_proj$", in any layer; "lm_head": loaders look for exactly this word. */
static void put_pattern(bl_text *out, const bl_arch_row *row)
{
    size_t n;
    bool in_layer;
    const char *module = module_of(&n, &in_layer, row);

    if (in_layer)
        bl_text_puts(out, "re:.*");
    for (size_t i = 0; i < n; i++) {
        if (module[i] == '{') { /* an expert's number */
            bl_text_puts(out, "\\d+");
            i += 2;
        } else {
            bl_text_printf(out, in_layer && module[i] == '.' ? "\\%c" : "%c", module[i]);
        }
    }
    if (in_layer)
        bl_text_puts(out, "$");
}

/*
 * The modules of a row as AWQ's loaders look for them, anywhere in a name: "self_attn.kv_b_proj", and
 * each expert's own. The router is left out: they never quantize it, and "mlp.gate" is found in
 * "mlp.gate_proj" too.
 */
static void put_parts(bl_json_writer *w, const bl_arch_row *row, const bl_config *c,
                      bl_text *scratch)
{
    size_t n;
    bool in_layer;
    const char *module = module_of(&n, &in_layer, row), *expert = strstr(module, "{E}");

    for (uint32_t e = 0; e < (expert ? c->n_experts : 1); e++) {
        scratch->n = 0;
        if (expert)
            bl_text_printf(scratch, "%.*s%" PRIu32 "%.*s", (int)(expert - module), module, e,
                           (int)(module + n - expert) - 3, expert + 3);
        else
            bl_text_add(scratch, module, n);
        if (!scratch->failed)
            bl_json_put_string(w, scratch->bytes);
    }
}

static void put_ignore(bl_json_writer *w, const bl_folder_layout *l, const bl_config *c,
                       bl_text *scratch)
{
    bl_json_put_key(w, "ignore");
    bl_json_begin_array(w);
    for (size_t i = 0; i < c->arch->n_rows; i++) {
        if (!is_ignored(l, &c->arch->row[i], c))
            continue;
        scratch->n = 0;
        put_pattern(scratch, &c->arch->row[i]);
        if (!scratch->failed)
            bl_json_put_string(w, scratch->bytes);
    }
    bl_json_end_array(w);
}

static void put_null(bl_json_writer *w, const char *key)
{
    bl_json_put_key(w, key);
    bl_json_put_raw(w, "null");
}

/* As DeepSeek-V3 has it, and which modules are plain: loaders leave these alone. */
static void put_fp8(bl_json_writer *w, const bl_folder_layout *l)
{
    bl_json_pair_string(w, "quant_method", "fp8");
    bl_json_pair_string(w, "activation_scheme", "dynamic");
    bl_json_pair_string(w, "fmt", "e4m3");
    if (l->format == BL_FOLDER_FP8_UE8M0)
        bl_json_pair_string(w, "scale_fmt", "ue8m0");
    bl_json_put_key(w, "weight_block_size");
    bl_json_put_raw(w, "[128, 128]");
    bl_json_put_key(w, "modules_to_not_convert");
    bl_json_put_raw(w, "[\"lm_head\"]");
}

static void put_numbers(bl_json_writer *w, uint64_t num_bits, bool symmetric, const char *strategy,
                        uint64_t group_size, bool dynamic)
{
    bl_json_begin_object(w);
    bl_json_pair_u64(w, "num_bits", num_bits);
    bl_json_pair_string(w, "type", "int");
    bl_json_pair_bool(w, "symmetric", symmetric);
    bl_json_pair_string(w, "strategy", strategy);
    if (group_size > 0)
        bl_json_pair_u64(w, "group_size", group_size);
    else
        put_null(w, "group_size");
    bl_json_pair_bool(w, "dynamic", dynamic);
    put_null(w, "actorder");
    put_null(w, "block_structure");
    bl_json_pair_string(w, "observer", dynamic ? NULL : "minmax"); /* of weights */
    bl_json_put_key(w, "observer_kwargs");
    bl_json_put_raw(w, "{}");
    bl_json_end_object(w);
}

static void put_compressed(bl_json_writer *w, const bl_folder_layout *l, const bl_config *config,
                           bl_text *scratch)
{
    const bool int8 = l->format == BL_FOLDER_CT_INT8;

    bl_json_pair_string(w, "quant_method", "compressed-tensors");
    bl_json_pair_string(w, "format", int8 ? "int-quantized" : "pack-quantized");
    bl_json_pair_string(w, "quantization_status", "compressed");
    put_null(w, "kv_cache_scheme");
    put_ignore(w, l, config, scratch);
    bl_json_put_key(w, "config_groups");
    bl_json_begin_object(w);
    bl_json_put_key(w, "group_0");
    bl_json_begin_object(w);
    bl_json_put_key(w, "targets");
    bl_json_put_raw(w, "[\"Linear\"]");
    bl_json_put_key(w, "weights");
    if (int8)
        put_numbers(w, 8, true, "channel", 0, false);
    else
        put_numbers(w, 4, !l->asymmetric, "group", l->group_size, false);
    bl_json_put_key(w, "input_activations");
    if (int8) /* a scale for each token, when it comes */
        put_numbers(w, 8, true, "token", 0, true);
    else
        bl_json_put_raw(w, "null");
    put_null(w, "output_activations");
    bl_json_end_object(w);
    bl_json_end_object(w);
}

/* vLLM leaves alone what "dynamic" excepts by "-:" and an expression on the module's name. */
static void put_gptq(bl_json_writer *w, const bl_folder_layout *l, const bl_config *config,
                     bl_text *scratch)
{
    bl_json_pair_string(w, "quant_method", "gptq");
    bl_json_pair_u64(w, "bits", 4);
    bl_json_pair_u64(w, "group_size", l->group_size);
    bl_json_pair_bool(w, "sym", !l->asymmetric);
    bl_json_pair_bool(w, "desc_act", false);
    bl_json_pair_bool(w, "static_groups", false);
    bl_json_pair_string(w, "checkpoint_format", "gptq");
    bl_json_pair_bool(w, "lm_head", false);
    bl_json_put_key(w, "dynamic");
    bl_json_begin_object(w);
    for (size_t i = 0; i < config->arch->n_rows; i++) {
        if (!is_ignored(l, &config->arch->row[i], config))
            continue;
        scratch->n = 0;
        bl_text_puts(scratch, "-:");
        put_pattern(scratch, &config->arch->row[i]);
        if (scratch->failed)
            break;
        /* "-:re:.*" is "-:.*" there */
        if (strncmp(scratch->bytes + 2, "re:", 3) == 0)
            memmove(scratch->bytes + 2, scratch->bytes + 5, scratch->n - 4);
        bl_json_put_key(w, scratch->bytes);
        bl_json_put_raw(w, "{}");
    }
    bl_json_end_object(w);
}

static void put_awq(bl_json_writer *w, const bl_folder_layout *l, const bl_config *config,
                    bl_text *scratch)
{
    bl_json_pair_string(w, "quant_method", "awq");
    bl_json_pair_u64(w, "bits", 4);
    bl_json_pair_u64(w, "group_size", l->group_size);
    bl_json_pair_bool(w, "zero_point", true);
    bl_json_pair_string(w, "version", "gemm");
    bl_json_put_key(w, "modules_to_not_convert");
    bl_json_begin_array(w);
    for (size_t i = 0; i < config->arch->n_rows; i++)
        if (config->arch->row[i].role != BL_ROLE_ROUTER &&
            is_ignored(l, &config->arch->row[i], config))
            put_parts(w, &config->arch->row[i], config, scratch);
    bl_json_end_array(w);
}

bl_status bl_layout_config(bl_text *out, const bl_folder_layout *l, const bl_config *config,
                           struct bl_err *err)
{
    bl_json_writer w = { .text = out, .depth = 1, .after_key = true }; /* a member's value */
    bl_text scratch = { 0 };
    bl_status rc;

    if (l->format == BL_FOLDER_ASCEND)
        return BL_OK;
    bl_json_begin_object(&w);
    switch (l->format) {
    case BL_FOLDER_FP8:
    case BL_FOLDER_FP8_UE8M0:
        put_fp8(&w, l);
        break;
    case BL_FOLDER_CT_INT4:
    case BL_FOLDER_CT_INT8:
        put_compressed(&w, l, config, &scratch);
        break;
    case BL_FOLDER_GPTQ:
        put_gptq(&w, l, config, &scratch);
        break;
    case BL_FOLDER_AWQ:
        put_awq(&w, l, config, &scratch);
        break;
    case BL_FOLDER_ASCEND:
        break;
    }
    bl_json_end_object(&w);
    rc = bl_text_check(&scratch, err);
    bl_text_release(&scratch);
    return rc == BL_OK ? bl_text_check(out, err) : rc;
}

bl_status bl_layout_ascend_description(bl_text *out, const bl_plan *plan, struct bl_err *err)
{
    bl_json_writer w = { .text = out };

    bl_json_begin_object(&w);
    bl_json_pair_string(&w, "model_quant_type", "W8A8_DYNAMIC");
    bl_json_pair_string(&w, "version", "1.0.0");
    for (size_t i = 0; i < plan->n_jobs; i++) {
        const bl_job *job = &plan->job[i];

        for (uint32_t k = 0; k < job->n_parts; k++)
            bl_json_pair_string(&w, job->part[k].name,
                                job->encoder->dtype == BL_I8 ? "W8A8_DYNAMIC" : "FLOAT");
    }
    bl_json_end_object(&w);
    bl_text_puts(out, "\n");
    return bl_text_check(out, err);
}
