/*
 * json.h - the door to cJSON: a strict reader (RFC 8259) for untrusted text.
 *
 * What cJSON lets pass is refused before it sees the text: bad UTF-8, a byte-order mark, \u0000,
 * lone surrogates, leading zeros, text behind the value, deep nesting, duplicate keys.
 * Keys are compared case-sensitively. Integers are exact up to 2^53 - 1; larger ones are refused.
 */
#ifndef BL_FORMATS_JSON_H
#define BL_FORMATS_JSON_H

#include "base/err.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_json bl_json;     /* a document: owns every value in it */
typedef struct cJSON bl_json_value; /* opaque; borrowed from the document */

typedef enum bl_json_type {
    BL_JSON_NULL,
    BL_JSON_BOOL,
    BL_JSON_NUMBER,
    BL_JSON_STRING,
    BL_JSON_ARRAY,
    BL_JSON_OBJECT
} bl_json_type;

enum { BL_JSON_INTEGERS_ONLY = 1 }; /* a number with fraction or exponent is an error */

/* name: for sentences. The text is not kept. */
BL_MUST_USE bl_status bl_json_parse(bl_json **out, const char *name, const char *text, size_t n,
                                    unsigned flags, struct bl_err *err);
void bl_json_free(bl_json *json);
const bl_json_value *bl_json_root(const bl_json *json);

bl_json_type bl_json_type_of(const bl_json_value *value);
size_t bl_json_size(const bl_json_value *value); /* members of an object or array: a walk */
const bl_json_value *bl_json_first(const bl_json_value *value); /* first member or NULL */
const bl_json_value *bl_json_next(const bl_json_value *member); /* next or NULL */
const char *bl_json_key(const bl_json_value *member);           /* of an object's member */

/* A member by key: a walk, for small objects. NULL when object is NULL, no object, or lacks it. */
const bl_json_value *bl_json_get(const bl_json_value *object, const char *key);

/* False (and *out untouched) when value is NULL or not such a number. */
bool bl_json_u64(uint64_t *out, const bl_json_value *value);
bool bl_json_i64(int64_t *out, const bl_json_value *value);
bool bl_json_f64(double *out, const bl_json_value *value);
bool bl_json_bool(bool *out, const bl_json_value *value);
const char *bl_json_string(const bl_json_value *value); /* NULL when it is not a string */

/*
 * Copy the text of an object, valid JSON, with member `key` replaced by `new_value` (JSON text;
 * appended when the key is missing) or removed (new_value NULL). Every other byte stays: numbers
 * keep their spelling.
 */
void bl_json_set_member(bl_text *out, const char *text, size_t n, const char *key,
                        const char *new_value);

/* The same in place. BL_E_NOMEM; text is to be released then as well. */
BL_MUST_USE bl_status bl_json_edit_member(bl_text *text, const char *key, const char *new_value,
                                          struct bl_err *err);

#endif
