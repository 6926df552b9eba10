/* policy.c - the choice, and the words for it in config.json. */
#include "quantize/policy.h"

#include "convert/cast.h"
#include "formats/json/json_writer.h"
#include "quantize/encoders.h"

#include <string.h>

static const bl_quantize_type types[] = {
    { "q8_0", false, BL_Q8_0, BL_Q8_0, BL_GGUF_FILE_Q8_0 },
    { "q4_0", false, BL_Q4_0, BL_Q8_0, BL_GGUF_FILE_Q4_0 },
    { "int4", true, BL_I32, BL_BF16, BL_GGUF_FILE_F32 },
};

const bl_quantize_type *bl_quantize_type_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

/* Matrices of these roles may be quantized. */
static bool is_linear(bl_role role)
{
    return role == BL_ROLE_ATTENTION || role == BL_ROLE_DENSE_MLP || role == BL_ROLE_EXPERT ||
           role == BL_ROLE_SHARED_EXPERT;
}

static bool fits(const bl_encoder *encoder, uint64_t n_cols)
{
    return n_cols > 0 && n_cols % encoder->multiple == 0;
}

static const bl_encoder *choose_for_gguf(const bl_policy *policy, const bl_choice *choice)
{
    const bl_role role = choice->row ? choice->row->role : BL_ROLE_OTHER;
    const bl_encoder *encoder = bl_encoder_of(
        role == BL_ROLE_HEAD ? policy->type->head : policy->type->dtype, policy->method);

    if (choice->ndim == 1 || role == BL_ROLE_NORM || role == BL_ROLE_ROUTER)
        return bl_cast_encoder(BL_F32);
    return fits(encoder, choice->n_cols) ? encoder : bl_cast_encoder(BL_BF16);
}

static const bl_encoder *choose_for_folder(const bl_choice *choice)
{
    const bl_encoder *same = bl_cast_encoder(choice->source->dtype);

    if (choice->row && is_linear(choice->row->role) && choice->ndim == 2 &&
        fits(&bl_encoder_int4_g128, choice->n_cols))
        return &bl_encoder_int4_g128;
    return same ? same : bl_cast_encoder(BL_BF16);
}

const bl_encoder *bl_policy_choose(const void *context, const bl_choice *choice)
{
    const bl_policy *policy = context;

    return policy->type->to_folder ? choose_for_folder(choice) : choose_for_gguf(policy, choice);
}

/* "re:.*self_attn\.kv_b_proj$": the module of this row in any layer. */
static void put_pattern(bl_json_writer *w, const char *name, bl_text *scratch)
{
    const char *module = strstr(name, "{L}.");
    size_t n;

    scratch->n = 0;
    if (!module) { /* "lm_head": loaders look for exactly this word */
        bl_text_add(scratch, name, strlen(name) - strlen(".weight"));
        if (!scratch->failed)
            bl_json_put_string(w, scratch->bytes);
        return;
    }
    module += strlen("{L}.");
    n = strlen(module) - strlen(".weight");
    bl_text_puts(scratch, "re:.*");
    for (size_t i = 0; i < n; i++) {
        if (module[i] == '{') { /* an expert's number */
            bl_text_puts(scratch, "\\d+");
            i += 2;
        } else {
            bl_text_printf(scratch, module[i] == '.' ? "\\%c" : "%c", module[i]);
        }
    }
    bl_text_puts(scratch, "$");
    if (!scratch->failed)
        bl_json_put_string(w, scratch->bytes);
}

/* Matrices, embeddings aside, that this type leaves as they are; loaders quantize the rest. */
static bool is_ignored(const bl_arch_row *row, const bl_config *config)
{
    if (row->cols == BL_DIM_1 || row->role == BL_ROLE_EMBEDDING)
        return false;
    return !is_linear(row->role) || !fits(&bl_encoder_int4_g128, bl_arch_dim(config, row->cols));
}

static bool row_exists(const bl_arch_row *row, const bl_config *c)
{
    for (uint32_t layer = 0; layer < c->n_layers + c->n_mtp_layers; layer++)
        if (bl_arch_row_applies(row, c, layer))
            return true;
    return false;
}

static void put_ignore(bl_json_writer *w, const bl_config *c, bl_text *scratch)
{
    bl_json_put_key(w, "ignore");
    bl_json_begin_array(w);
    for (size_t i = 0; i < c->arch->n_rows; i++) {
        const bl_arch_row *row = &c->arch->row[i];

        if (row_exists(row, c) && is_ignored(row, c))
            put_pattern(w, row->name, scratch);
    }
    bl_json_end_array(w);
}

static const char group[] =
    "{\"group_0\": {\"targets\": [\"Linear\"], \"weights\": {\"num_bits\": 4, \"type\": \"int\", "
    "\"symmetric\": true, \"strategy\": \"group\", \"group_size\": 128, \"dynamic\": false, "
    "\"actorder\": null, \"block_structure\": null, \"observer\": \"minmax\", "
    "\"observer_kwargs\": {}}, \"input_activations\": null, \"output_activations\": null}}";

bl_status bl_policy_quantization_config(bl_text *out, const bl_config *config, struct bl_err *err)
{
    bl_json_writer w = { .text = out, .depth = 1 };
    bl_text scratch = { 0 };
    bl_status rc;

    w.after_key = true; /* the object is a member's value */
    bl_json_begin_object(&w);
    bl_json_pair_string(&w, "quant_method", "compressed-tensors");
    bl_json_pair_string(&w, "format", "pack-quantized");
    bl_json_pair_string(&w, "quantization_status", "compressed");
    bl_json_put_key(&w, "kv_cache_scheme");
    bl_json_put_raw(&w, "null");
    put_ignore(&w, config, &scratch);
    bl_json_put_key(&w, "config_groups");
    bl_json_put_raw(&w, group);
    bl_json_end_object(&w);
    rc = bl_text_check(&scratch, err);
    bl_text_release(&scratch);
    return rc == BL_OK ? bl_text_check(out, err) : rc;
}
