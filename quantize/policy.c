/* policy.c - see policy.h. */
#include "quantize/policy.h"

#include "convert/cast.h"

const bl_encoder *bl_policy_choose(const void *context, const bl_choice *choice)
{
    const bl_policy *p = context;
    const bl_tensor_rule *rule = NULL;

    if (!bl_recipe_may_quantize(choice))
        return bl_cast_encoder(BL_F32);
    if (p->rules)
        rule = bl_tensor_rules_find(p->rules, choice);
    return bl_encoder_of(rule ? bl_recipe_fallback(rule->type, choice->n_cols)
                              : bl_recipe_type(p->recipe, p->config, p->has_importance, choice),
                         p->method);
}

/* The file type of the simplest recipe with this base. */
static bl_gguf_file_type file_type_of(bl_dtype dtype)
{
    const bl_recipe *recipe;

    for (size_t i = 0; (recipe = bl_recipe_at(i)); i++)
        if (recipe->base == dtype)
            return recipe->file_type;
    return BL_GGUF_FILE_F32;
}

bl_gguf_file_type bl_policy_file_type(const bl_plan *plan)
{
    uint64_t bytes[BL_DTYPE_COUNT] = { 0 };
    bl_dtype most = BL_F32;

    for (size_t i = 0; i < plan->n_stored; i++)
        bytes[plan->stored[i].dtype] += plan->stored[i].n_bytes;
    for (int d = 0; d < BL_DTYPE_COUNT; d++)
        if (bytes[d] > bytes[most])
            most = (bl_dtype)d;
    return file_type_of(most);
}
