/*
 * gates.h - limits that a measurement must keep, for scripts: named as the option that sets them.
 */
#ifndef BL_VERIFY_GATES_H
#define BL_VERIFY_GATES_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { BL_MAX_GATES = 16 };

typedef enum bl_gate_kind { BL_GATE_AT_MOST, BL_GATE_AT_LEAST } bl_gate_kind;

typedef struct bl_gate {
    const char *name; /* of the option, without dashes in front: "max-kld"; borrowed */
    const char *what; /* "mean KL divergence"; borrowed */
    bl_gate_kind kind;
    double value, limit;
    bool passed; /* never when the value is not a number */
} bl_gate;

typedef struct bl_gates {
    bl_gate gate[BL_MAX_GATES];
    size_t n;
} bl_gates; /* zero-initialise */

/* value NaN: what the gate is about was not measured. */
void bl_gates_add(bl_gates *gates, bl_gate_kind kind, const char *name, const char *what,
                  double value, double limit);

/* BL_OK, or BL_E_MISMATCH and one sentence with every gate that is not passed. */
BL_MUST_USE bl_status bl_gates_judge(const bl_gates *gates, struct bl_err *err);

#endif
