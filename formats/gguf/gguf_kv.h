/*
 * gguf_kv.h - the typed metadata of a GGUF file: key = value pairs, read-only.
 *
 * Types are exact, as in llama.cpp: asking a u64 for a u32 fails, so that a file that opens here
 * opens there. Keys and values are borrowed from the container (bl_gguf_meta_of()) and live as
 * long as it. Threads may share them.
 *
 * Source: the GGUF specification, version 3 (ggml/docs/gguf.md).
 */
#ifndef BL_FORMATS_GGUF_KV_H
#define BL_FORMATS_GGUF_KV_H

#include "base/err.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers of the file format. */
typedef enum bl_gguf_type {
    BL_GGUF_U8 = 0,
    BL_GGUF_I8 = 1,
    BL_GGUF_U16 = 2,
    BL_GGUF_I16 = 3,
    BL_GGUF_U32 = 4,
    BL_GGUF_I32 = 5,
    BL_GGUF_F32 = 6,
    BL_GGUF_BOOL = 7, /* one byte, 0 or 1 */
    BL_GGUF_STRING = 8,
    BL_GGUF_ARRAY = 9,
    BL_GGUF_U64 = 10,
    BL_GGUF_I64 = 11,
    BL_GGUF_F64 = 12,
    BL_GGUF_TYPE_COUNT
} bl_gguf_type;

const char *bl_gguf_type_name(bl_gguf_type type); /* "u32", "string" ... */
size_t bl_gguf_type_bytes(bl_gguf_type type);     /* of one value; 0 for strings and arrays */

/* n bytes, not NUL-terminated; may hold any byte. */
typedef struct bl_gguf_string {
    const char *bytes;
    size_t n;
} bl_gguf_string;

typedef struct bl_gguf_meta bl_gguf_meta; /* all pairs of one file */

typedef struct bl_gguf_kv {
    const char *key;   /* printable ASCII, NUL-terminated, unique in the file */
    bl_gguf_type type; /* BL_GGUF_ARRAY for an array */
    bl_gguf_type elem; /* of an array's elements; equal to type for other values */
    uint64_t n;        /* elements of an array; 1 for other values */
    const bl_gguf_meta *meta;
    size_t at; /* where values start in the header, or the index of the first string */
} bl_gguf_kv;

/* Pairs in the order of the file. */
size_t bl_gguf_n_kv(const bl_gguf_meta *meta);
const bl_gguf_kv *bl_gguf_kv_at(const bl_gguf_meta *meta, size_t i);
const bl_gguf_kv *bl_gguf_find(const bl_gguf_meta *meta, const char *key); /* NULL: not there */

/* Scalars. Each fails with BL_E_FORMAT, naming file, key and both types, on another type. */
BL_MUST_USE bl_status bl_gguf_kv_u16(uint16_t *out, const bl_gguf_kv *kv, struct bl_err *err);
BL_MUST_USE bl_status bl_gguf_kv_u32(uint32_t *out, const bl_gguf_kv *kv, struct bl_err *err);
BL_MUST_USE bl_status bl_gguf_kv_u64(uint64_t *out, const bl_gguf_kv *kv, struct bl_err *err);
BL_MUST_USE bl_status bl_gguf_kv_i32(int32_t *out, const bl_gguf_kv *kv, struct bl_err *err);
BL_MUST_USE bl_status bl_gguf_kv_f32(float *out, const bl_gguf_kv *kv, struct bl_err *err);
BL_MUST_USE bl_status bl_gguf_kv_f64(double *out, const bl_gguf_kv *kv, struct bl_err *err);
BL_MUST_USE bl_status bl_gguf_kv_bool(bool *out, const bl_gguf_kv *kv, struct bl_err *err);
BL_MUST_USE bl_status bl_gguf_kv_string(bl_gguf_string *out, const bl_gguf_kv *kv,
                                        struct bl_err *err);

/* Fails with BL_E_FORMAT unless kv is an array of elem. */
BL_MUST_USE bl_status bl_gguf_kv_expect_array(const bl_gguf_kv *kv, bl_gguf_type elem,
                                              struct bl_err *err);

/* Element i < kv->n of an array that passed bl_gguf_kv_expect_array() with that type. */
bl_gguf_string bl_gguf_kv_string_at(const bl_gguf_kv *kv, uint64_t i);
int32_t bl_gguf_kv_i32_at(const bl_gguf_kv *kv, uint64_t i);
uint32_t bl_gguf_kv_u32_at(const bl_gguf_kv *kv, uint64_t i);
float bl_gguf_kv_f32_at(const bl_gguf_kv *kv, uint64_t i);

/* The bytes of all values of a number, bool, or non-empty array of them, as they lie in the file. */
const char *bl_gguf_kv_numbers(const bl_gguf_kv *kv);

/* The value for people: a number, a string as it is, or "129280 x string" for an array. */
void bl_gguf_kv_describe(bl_text *out, const bl_gguf_kv *kv);

#endif
