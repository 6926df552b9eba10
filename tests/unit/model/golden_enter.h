/* golden_enter.h - group setup and teardown of tests that run nano-r1 in a scratch folder; after cmocka.h. */
#ifndef BL_TESTS_GOLDEN_ENTER_H
#define BL_TESTS_GOLDEN_ENTER_H

#include "golden_run.h"
#include "tests/unit/scratch.h"

static inline int golden_enter(void **state)
{
    struct golden *g = bl_calloc(1, sizeof(*g));
    struct bl_err err = { 0 };

    if (golden_open(g, "data/nano-r1", "data/golden/nano-r1.safetensors", &err) != BL_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    *state = g;
    return scratch_enter(NULL);
}

static inline int golden_leave(void **state)
{
    golden_close(*state);
    bl_free(*state);
    return scratch_leave(NULL);
}

#endif
