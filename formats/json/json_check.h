/*
 * json_check.h - the strict half of the JSON reader: a scanner of RFC 8259 text that builds
 * nothing. Internal to formats/json.
 */
#ifndef BL_FORMATS_JSON_CHECK_H
#define BL_FORMATS_JSON_CHECK_H

#include "base/err.h"

#include <stddef.h>

enum { BL_JSON_MAX_DEPTH = 64 };

/*
 * Check that text[0..n) is exactly one JSON value in good UTF-8, surrounded by white space at
 * most, without \u0000, lone surrogates, or nesting deeper than BL_JSON_MAX_DEPTH. flags as in
 * bl_json_parse(). Fails with BL_E_FORMAT, naming the byte.
 */
BL_MUST_USE bl_status bl_json_check(const char *name, const char *text, size_t n, unsigned flags,
                                    struct bl_err *err);

/* The byte behind the value that starts at text[at], in text that passed bl_json_check(). */
size_t bl_json_skip_value(const char *text, size_t n, size_t at);
size_t bl_json_skip_space(const char *text, size_t n, size_t at);

#endif
