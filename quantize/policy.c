/* policy.c - the choice. */
#include "quantize/policy.h"

#include "convert/cast.h"

#include <string.h>

static const bl_quantize_type types[] = {
    { "q8_0", BL_Q8_0, BL_Q8_0, BL_GGUF_FILE_Q8_0 },
    { "q4_0", BL_Q4_0, BL_Q8_0, BL_GGUF_FILE_Q4_0 },
};

const bl_quantize_type *bl_quantize_type_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

static bool fits(const bl_encoder *encoder, uint64_t n_cols)
{
    return n_cols > 0 && n_cols % encoder->multiple == 0;
}

const bl_encoder *bl_policy_choose(const void *context, const bl_choice *choice)
{
    const bl_policy *policy = context;
    const bl_role role = choice->row ? choice->row->role : BL_ROLE_OTHER;
    const bl_encoder *encoder = bl_encoder_of(
        role == BL_ROLE_HEAD ? policy->type->head : policy->type->dtype, policy->method);

    if (choice->ndim == 1 || role == BL_ROLE_NORM || role == BL_ROLE_ROUTER)
        return bl_cast_encoder(BL_F32);
    return fits(encoder, choice->n_cols) ? encoder : bl_cast_encoder(BL_BF16);
}
