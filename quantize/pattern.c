/* pattern.c - see pattern.h. */
#include "quantize/pattern.h"

#include "base/alloc.h"
#include "quantize/quant.h"

#include <fnmatch.h>
#include <string.h>
#include <strings.h>

bool bl_gguf_type_by_name(bl_dtype *out, const char *name)
{
    for (int i = 0; i < BL_DTYPE_COUNT; i++) {
        const bl_dtype_traits *t = bl_dtype_traits_of((bl_dtype)i);
        bool is_float = i == BL_F32 || i == BL_F16 || i == BL_BF16;

        if (strcasecmp(t->name, name) == 0 && t->ggml_type >= 0 &&
            (is_float || (t->block_len > 1 && bl_quant_of((bl_dtype)i)))) {
            *out = (bl_dtype)i;
            return true;
        }
    }
    return false;
}

static bl_status parse_rule(bl_tensor_rule *out, const char *argument, struct bl_err *err)
{
    const char *sign = strrchr(argument, '=');

    if (!sign || sign == argument || sign[1] == '\0')
        return bl_fail(err, BL_E_USAGE, "--tensor needs PATTERN=TYPE, not '%s'", argument);
    if (!bl_gguf_type_by_name(&out->type, sign + 1))
        return bl_fail(err, BL_E_USAGE, "--tensor '%s': quantize makes no type '%s'", argument,
                       sign + 1);
    out->pattern = bl_strndup(argument, (size_t)(sign - argument));
    return out->pattern ? BL_OK : bl_fail_nomem(err, "--tensor");
}

bl_status bl_tensor_rules_parse(bl_tensor_rules *out, const char *const *argument, size_t n,
                                struct bl_err *err)
{
    bl_tensor_rules rules = { .rule = n > 0 ? bl_calloc(n, sizeof(*rules.rule)) : NULL };
    bl_status rc = n == 0 || rules.rule ? BL_OK : bl_fail_nomem(err, "--tensor");

    for (; rules.n < n && rc == BL_OK; rules.n += rc == BL_OK)
        rc = parse_rule(&rules.rule[rules.n], argument[rules.n], err);
    if (rc == BL_OK)
        *out = rules;
    else
        bl_tensor_rules_release(&rules);
    return rc;
}

void bl_tensor_rules_release(bl_tensor_rules *rules)
{
    for (size_t i = 0; i < rules->n; i++)
        bl_free(rules->rule[i].pattern);
    bl_free(rules->rule);
    *rules = (bl_tensor_rules){ 0 };
}

const bl_tensor_rule *bl_tensor_rules_find(const bl_tensor_rules *rules, const bl_choice *choice)
{
    for (size_t i = 0; i < rules->n; i++) {
        bl_tensor_rule *r = &rules->rule[i];

        if (fnmatch(r->pattern, choice->name, 0) == 0 ||
            (choice->source && fnmatch(r->pattern, choice->source->name, 0) == 0)) {
            r->used = true;
            return r;
        }
    }
    return NULL;
}

const char *bl_tensor_rules_unused(const bl_tensor_rules *rules)
{
    for (size_t i = 0; i < rules->n; i++)
        if (!rules->rule[i].used)
            return rules->rule[i].pattern;
    return NULL;
}
