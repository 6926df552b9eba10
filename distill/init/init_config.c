/* init_config.c - the config.json of a teacher that was cut: a few members replaced, the rest as it was. */
#include "base/alloc.h"
#include "distill/init/init_plan.h"
#include "formats/arch/config_write.h"
#include "formats/slice/pruning.h"

#include <inttypes.h>

static bl_status set_number(bl_text *config, const char *key, uint64_t value, struct bl_err *err)
{
    char *text = bl_format("%" PRIu64, value);
    bl_status rc = text ? bl_json_edit_member(config, key, text, err) : bl_fail_nomem(err, key);

    bl_free(text);
    return rc;
}

/* The teacher's, or what its metadata say. */
static bl_status take_config(bl_text *out, const bl_ckpt *teacher, struct bl_err *err)
{
    char *text = NULL;
    size_t n = 0;
    bl_status rc = bl_ckpt_side_file(teacher, "config.json", &text, &n, err);

    if (rc != BL_OK)
        return rc;
    if (!text)
        return bl_config_write(out, bl_ckpt_config(teacher), "float32", err);
    bl_text_add(out, text, n);
    bl_free(text);
    return bl_text_check(out, err);
}

/* Members that speak of what the student has not: encodings, code that is not copied, kinds of layers by number. */
static bl_status remove_members(bl_text *out, struct bl_err *err)
{
    static const char *const keys[] = { "quantization_config", "auto_map", BL_PRUNING_MEMBER,
                                        "layer_types", "mlp_layer_types" };
    bl_status rc = BL_OK;

    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys) && rc == BL_OK; i++)
        rc = bl_json_edit_member(out, keys[i], NULL, err);
    return rc;
}

bl_status bl_init_cut_config(bl_text *out, const bl_init_plan *plan, uint64_t hidden,
                             uint64_t intermediate, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(plan->teacher);
    bl_status rc = take_config(out, plan->teacher, err);

    if (rc == BL_OK)
        rc = remove_members(out, err);
    if (rc == BL_OK)
        rc = set_number(out, "hidden_size", hidden, err);
    if (rc == BL_OK)
        rc = set_number(out, "intermediate_size", intermediate, err);
    if (rc == BL_OK)
        rc = set_number(out, "num_hidden_layers", plan->cut->n_layers, err);
    if (rc == BL_OK && c->n_experts > 0)
        rc = set_number(out, "first_k_dense_replace", plan->cut->n_layers, err);
    if (rc == BL_OK && c->n_mtp_layers > 0)
        rc = set_number(out, "num_nextn_predict_layers", 0, err);
    if (rc == BL_OK && c->head_dim > 0 &&
        hidden != c->hidden_size) /* it follows from hidden else */
        rc = set_number(out, "head_dim", c->head_dim, err);
    return rc;
}
