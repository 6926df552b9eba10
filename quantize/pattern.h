/*
 * pattern.h - "--tensor PATTERN=TYPE": tensors that the user gives a type by name.
 *
 * A pattern is a shell glob (*, ?, [a-z]; POSIX fnmatch without flags, so * goes over dots) over
 * the whole GGUF name ("blk.*.ffn_down_exps.weight") or the whole canonical name
 * ("model.layers.*.mlp.experts.*.down_proj.weight", of a stack the first expert's). The first
 * pattern that matches wins.
 */
#ifndef BL_QUANTIZE_PATTERN_H
#define BL_QUANTIZE_PATTERN_H

#include "convert/plan.h"

typedef struct bl_tensor_rule {
    char *pattern;
    bl_dtype type;
    bool used; /* by bl_tensor_rules_find() */
} bl_tensor_rule;

typedef struct bl_tensor_rules {
    bl_tensor_rule *rule;
    size_t n;
} bl_tensor_rules;

/*
 * From arguments "PATTERN=TYPE", TYPE as GGUF calls it in any case: "q8_0". BL_E_USAGE for one that
 * is not of this form, or whose type no GGUF tensor can have. The caller releases *out.
 */
BL_MUST_USE bl_status bl_tensor_rules_parse(bl_tensor_rules *out, const char *const *argument,
                                            size_t n, struct bl_err *err);
void bl_tensor_rules_release(bl_tensor_rules *rules);

/* The rule for this tensor, which is then `used`; NULL: none. */
const bl_tensor_rule *bl_tensor_rules_find(const bl_tensor_rules *rules, const bl_choice *choice);

/* The first pattern that was never used, so that a slip of the pen is said; NULL: all were. */
const char *bl_tensor_rules_unused(const bl_tensor_rules *rules);

/* The element type of this name in any case, among those that GGUF stores and we decode. */
bool bl_gguf_type_by_name(bl_dtype *out, const char *name);

#endif
