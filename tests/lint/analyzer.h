/*
 * analyzer.h - what clang's analyzer cannot see, included before each file by tidy.sh: a failure
 * is the status that it was given, never BL_OK. Without it every `return bl_fail(...)` is also
 * followed as a success whose results were never set.
 */
#include "base/err.h"

#define bl_fail(err, status, ...)   ((void)bl_fail((err), (status), __VA_ARGS__), (status))
#define bl_fail_errno(err, ...)     ((void)bl_fail_errno((err), __VA_ARGS__), BL_E_IO)
#define bl_fail_nomem(err, purpose) ((void)bl_fail_nomem((err), (purpose)), BL_E_NOMEM)
