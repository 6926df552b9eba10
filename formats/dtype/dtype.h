/*
 * dtype.h - element types: what the bytes of a stored tensor mean.
 *
 * One enumeration serves every container: the scalar types of safetensors and the block
 * encodings of GGUF. A scalar type is a block of one element; sub-byte types are blocks that
 * fill whole bytes. Adding a type is adding a row to the table in traits.c.
 *
 * Decoding is exact: every value of every type here is an F32 (F64 and wide integers are rounded).
 */
#ifndef BL_FORMATS_DTYPE_H
#define BL_FORMATS_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BL_MAX_DIMS = 8 };

typedef enum bl_dtype {
    BL_BOOL,
    BL_U8,
    BL_I8,
    BL_U16,
    BL_I16,
    BL_U32,
    BL_I32,
    BL_U64,
    BL_I64,
    BL_F4,      /* E2M1, two to a byte, the first in the low nibble */
    BL_F6_E2M3, /* dense bit stream, four to three bytes, the first in the lowest bits */
    BL_F6_E3M2,
    BL_F8_E4M3, /* OCP E4M3 "FN": no infinity, NaN is 0x7f and 0xff */
    BL_F8_E5M2,
    BL_F8_E8M0, /* 2^(b-127), 0xff is NaN */
    BL_F8_E4M3FNUZ,
    BL_F8_E5M2FNUZ,
    BL_F16,
    BL_BF16,
    BL_F32,
    BL_F64,
    BL_C64,
    BL_Q8_0, /* block encodings: formats/block */
    BL_Q4_0,
    BL_Q4_1,
    BL_Q5_0,
    BL_Q5_1,
    BL_Q2_K,
    BL_Q3_K,
    BL_Q4_K,
    BL_Q5_K,
    BL_Q6_K,
    BL_IQ4_NL,
    BL_IQ4_XS,
    BL_MXFP4,
    BL_Q8_1,
    BL_Q8_K,
    BL_IQ2_XXS,
    BL_IQ2_XS,
    BL_IQ3_XXS,
    BL_IQ1_S,
    BL_IQ3_S,
    BL_IQ2_S,
    BL_IQ1_M,
    BL_TQ1_0,
    BL_TQ2_0,
    BL_NVFP4,
    BL_Q1_0,
    BL_Q2_0,
    BL_DTYPE_COUNT
} bl_dtype;

/* Decode n elements (a multiple of block_len) to F32. `in` need not be aligned. */
typedef void (*bl_decode_fn)(float *out, const void *in, size_t n);

typedef struct bl_dtype_traits {
    const char *name;     /* as safetensors or GGUF call it, for people too */
    uint32_t block_len;   /* elements in a block */
    uint32_t block_bytes; /* bytes of a block */
    bool in_safetensors;  /* safetensors may hold it, under this name */
    int ggml_type;        /* GGUF's number for it, -1 when it has none */
    bl_decode_fn to_f32;  /* NULL: no real numbers (BOOL, C64) */
} bl_dtype_traits;

const bl_dtype_traits *bl_dtype_traits_of(bl_dtype dtype);
static inline const char *bl_dtype_name(bl_dtype dtype)
{
    return bl_dtype_traits_of(dtype)->name;
}

/* False when no type has that name / number. */
bool bl_dtype_from_safetensors(bl_dtype *out, const char *name);
bool bl_dtype_from_ggml(bl_dtype *out, uint32_t ggml_type);

/*
 * Bytes of a tensor of this type and shape (dim[] outermost first; ndim 0 is a scalar). False when
 * the number of elements or bytes overflows 64 bits, or rows do not divide into whole blocks.
 * For F4 and F6 the whole tensor must divide into whole bytes.
 */
bool bl_dtype_bytes(uint64_t *out, bl_dtype dtype, uint32_t ndim, const uint64_t *dim);

/* Number of elements; false on overflow. */
bool bl_dim_product(uint64_t *out, uint32_t ndim, const uint64_t *dim);

#endif
