/* slice_config.c - the config.json of a slice: a few members of the source's replaced, the rest as it was. */
#include "formats/json/json_writer.h"
#include "formats/slice/slice_table.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <string.h>

static bl_status set_number(bl_text *config, const char *key, uint32_t was, uint32_t is,
                            struct bl_err *err)
{
    char *value;
    bl_status rc;

    if (was == is) /* every byte stays, and what is not there is not added */
        return BL_OK;
    value = bl_format("%" PRIu32, is);
    rc = value ? bl_json_edit_member(config, key, value, err) : bl_fail_nomem(err, "config.json");
    bl_free(value);
    return rc;
}

/* Whether any name of a layer would change. */
static bool renames(const bl_slice_table *t)
{
    for (uint32_t l = 0; l < t->n_source_layers; l++)
        if (t->layer_to[l] != l)
            return true;
    for (size_t i = 0; i < (size_t)t->n_source_layers * t->n_source_experts; i++)
        if (t->expert_to[i] != i % t->n_source_experts)
            return true;
    return false;
}

/* A copy of a JSON value in which names of tensors and modules are those of the slice. */
static bl_status copy_value(bl_json_writer *w, const bl_json_value *value, const bl_slice_table *t,
                            struct bl_err *err)
{
    const char *s = bl_json_string(value);
    bl_text name = { 0 };
    bl_status rc = BL_OK;
    bool yes;
    double number;

    switch (bl_json_type_of(value)) {
    case BL_JSON_STRING:
        if (strncmp(s, "re:", 3) == 0 && strpbrk(s, "0123456789") && strstr(s, "layers"))
            return bl_fail(err, BL_E_UNSUPPORTED,
                           "config.json: the expression '%s' speaks of layers by number", s);
        (void)bl_slice_rename(&name, t, s);
        bl_json_put_string(w, name.bytes);
        bl_text_release(&name);
        break;
    case BL_JSON_OBJECT:
        bl_json_begin_object(w);
        for (const bl_json_value *m = bl_json_first(value); m && rc == BL_OK; m = bl_json_next(m)) {
            name.n = 0;
            if (!bl_slice_rename(&name, t, bl_json_key(m)))
                continue;
            bl_json_put_key(w, name.bytes ? name.bytes : "");
            rc = copy_value(w, m, t, err);
        }
        bl_text_release(&name);
        bl_json_end_object(w);
        break;
    case BL_JSON_ARRAY:
        bl_json_begin_array(w);
        for (const bl_json_value *m = bl_json_first(value); m && rc == BL_OK; m = bl_json_next(m)) {
            name.n = 0;
            if (bl_json_string(m) && !bl_slice_rename(&name, t, bl_json_string(m)))
                continue; /* a module that is not there any more */
            rc = copy_value(w, m, t, err);
        }
        bl_text_release(&name);
        bl_json_end_array(w);
        break;
    case BL_JSON_BOOL:
        yes = false;
        (void)bl_json_bool(&yes, value);
        bl_json_put_bool(w, yes);
        break;
    case BL_JSON_NUMBER:
        number = 0;
        (void)bl_json_f64(&number, value);
        bl_json_put_f64(w, number);
        break;
    case BL_JSON_NULL:
        bl_json_put_raw(w, "null");
        break;
    }
    return rc;
}

bl_status bl_slice_json(bl_text *out, const bl_json_value *value, const bl_slice_table *table,
                        struct bl_err *err)
{
    bl_json_writer w = { .text = out };
    bl_status rc = copy_value(&w, value, table, err);

    return rc == BL_OK ? bl_text_check(out, err) : rc;
}

/* quantization_config names modules that are stored otherwise. */
static bl_status rename_modules(bl_text *config, const bl_json *json, const bl_slice_table *table,
                                struct bl_err *err)
{
    static const char key[] = "quantization_config";
    const bl_json_value *value = bl_json_get(bl_json_root(json), key);
    bl_text text = { 0 };
    bl_status rc;

    if (!value || bl_json_type_of(value) != BL_JSON_OBJECT || !renames(table))
        return BL_OK;
    rc = bl_slice_json(&text, value, table, err);
    /* without a name of a layer in it nothing changes: then its bytes stay */
    if (rc == BL_OK && strstr(text.bytes, "layers."))
        rc = bl_json_edit_member(config, key, text.bytes, err);
    bl_text_release(&text);
    return rc;
}

static bl_status put_record(bl_text *config, const bl_ckpt *source, const bl_slice *slice,
                            struct bl_err *err)
{
    bl_text text = { 0 };
    bl_status rc = bl_slice_record(&text, source, slice, err);

    if (rc == BL_OK)
        rc = bl_json_edit_member(config, BL_PRUNING_MEMBER, text.bytes, err);
    bl_text_release(&text);
    return rc;
}

static bl_status edit(bl_text *config, const bl_ckpt *source, const bl_slice *slice,
                      struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(source);
    const bl_slice_numbers n = bl_slice_numbers_of(c, slice);
    bl_status rc = set_number(config, "num_hidden_layers", c->n_layers, n.n_layers, err);

    if (rc == BL_OK)
        rc = set_number(config, "num_nextn_predict_layers", c->n_mtp_layers, n.n_mtp_layers, err);
    if (rc == BL_OK)
        rc = set_number(config, "first_k_dense_replace", c->first_k_dense, n.first_k_dense, err);
    if (rc == BL_OK)
        rc = set_number(config, "n_routed_experts", c->n_experts, n.n_experts, err);
    if (rc == BL_OK)
        rc = set_number(config, "num_experts_per_tok", c->n_experts_used, n.n_experts_used, err);
    if (rc == BL_OK)
        rc = set_number(config, "n_group", c->n_group, n.n_group, err);
    if (rc == BL_OK)
        rc = set_number(config, "topk_group", c->topk_group, n.topk_group, err);
    return rc == BL_OK ? put_record(config, source, slice, err) : rc;
}

bl_status bl_slice_config(bl_text *out, const bl_ckpt *source, const bl_slice *slice,
                          const bl_slice_table *table, struct bl_err *err)
{
    char *text = NULL;
    bl_json *json = NULL;
    size_t n = 0;
    bl_status rc = bl_ckpt_side_file(source, "config.json", &text, &n, err);

    if (rc == BL_OK && !text)
        rc = bl_fail(err, BL_E_FORMAT, "%s: no config.json", bl_ckpt_path(source));
    if (rc == BL_OK)
        rc = bl_json_parse(&json, "config.json", text, n, 0, err);
    if (rc == BL_OK) {
        bl_text_add(out, text, n);
        rc = bl_text_check(out, err);
    }
    if (rc == BL_OK)
        rc = rename_modules(out, json, table, err);
    if (rc == BL_OK)
        rc = edit(out, source, slice, err);
    if (rc != BL_OK)
        bl_err_prefix(err, "%s", bl_ckpt_path(source));
    bl_json_free(json);
    bl_free(text);
    return rc;
}
