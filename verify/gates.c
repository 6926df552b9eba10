/* gates.c - see gates.h. */
#include "verify/gates.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

void bl_gates_add(bl_gates *gates, bl_gate_kind kind, const char *name, const char *what,
                  double value, double limit)
{
    /* comparisons with a NaN are false */
    bool passed = kind == BL_GATE_AT_MOST ? value <= limit : value >= limit;

    assert(gates->n < BL_MAX_GATES);
    gates->gate[gates->n++] = (bl_gate){ name, what, kind, value, limit, passed };
}

static int describe(char *buffer, size_t n, const bl_gate *g)
{
    if (isnan(g->value))
        return snprintf(buffer, n, "%s is not a number for --%s %g", g->what, g->name, g->limit);
    return snprintf(buffer, n, "%s %.6f %s --%s %g", g->what, g->value,
                    g->kind == BL_GATE_AT_MOST ? "exceeds" : "is below", g->name, g->limit);
}

bl_status bl_gates_judge(const bl_gates *gates, struct bl_err *err)
{
    char sentence[sizeof(err->text)] = "";
    size_t used = 0;

    for (size_t i = 0; i < gates->n; i++) {
        if (gates->gate[i].passed)
            continue;
        if (used > 0 && used < sizeof(sentence))
            used += (size_t)snprintf(sentence + used, sizeof(sentence) - used, "; ");
        if (used < sizeof(sentence))
            used += (size_t)describe(sentence + used, sizeof(sentence) - used, &gates->gate[i]);
    }
    return used > 0 ? bl_fail(err, BL_E_MISMATCH, "%s", sentence) : BL_OK;
}
