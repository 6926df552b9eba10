/*
 * analyzer.h - what clang's analyzer cannot see, included before each file by tidy.sh.
 *
 * A failure is the status that it was given, never BL_OK: without that every `return bl_fail(...)`
 * is also followed as a success whose results were never set. And our allocator is the C
 * library's, so that its rules (freed once, not used afterwards, not lost) are checked; all blocks
 * pass as zeroed, because it cannot follow who fills them.
 */
#include "base/alloc.h"
#include "base/err.h"

#include <stdlib.h>

#define bl_fail(err, status, ...)   ((void)bl_fail((err), (status), __VA_ARGS__), (status))
#define bl_fail_errno(err, ...)     ((void)bl_fail_errno((err), __VA_ARGS__), BL_E_IO)
#define bl_fail_nomem(err, purpose) ((void)bl_fail_nomem((err), (purpose)), BL_E_NOMEM)

#define bl_alloc(n, size)      calloc((n), (size))
#define bl_calloc(n, size)     calloc((n), (size))
#define bl_realloc(p, n, size) realloc((p), (size_t)(n) * (size_t)(size))
#define bl_free(p)             free(p)
