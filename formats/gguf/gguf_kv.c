/* gguf_kv.c - typed access to metadata that gguf_meta.c has checked. */
#include "formats/gguf/gguf_kv.h"

#include "formats/dtype/float_bits.h"
#include "formats/gguf/gguf_meta.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static const struct {
    const char *name;
    size_t n_bytes;
} types[BL_GGUF_TYPE_COUNT] = {
    [BL_GGUF_U8] = { "u8", 1 },         [BL_GGUF_I8] = { "i8", 1 },
    [BL_GGUF_U16] = { "u16", 2 },       [BL_GGUF_I16] = { "i16", 2 },
    [BL_GGUF_U32] = { "u32", 4 },       [BL_GGUF_I32] = { "i32", 4 },
    [BL_GGUF_F32] = { "f32", 4 },       [BL_GGUF_BOOL] = { "bool", 1 },
    [BL_GGUF_STRING] = { "string", 0 }, [BL_GGUF_ARRAY] = { "array", 0 },
    [BL_GGUF_U64] = { "u64", 8 },       [BL_GGUF_I64] = { "i64", 8 },
    [BL_GGUF_F64] = { "f64", 8 },
};

const char *bl_gguf_type_name(bl_gguf_type type)
{
    assert((unsigned)type < BL_GGUF_TYPE_COUNT);
    return types[type].name;
}

size_t bl_gguf_type_bytes(bl_gguf_type type)
{
    assert((unsigned)type < BL_GGUF_TYPE_COUNT);
    return types[type].n_bytes;
}

size_t bl_gguf_n_kv(const bl_gguf_meta *meta)
{
    return meta->n_kv;
}

const bl_gguf_kv *bl_gguf_kv_at(const bl_gguf_meta *meta, size_t i)
{
    assert(i < meta->n_kv);
    return &meta->kv[i];
}

const bl_gguf_kv *bl_gguf_find(const bl_gguf_meta *meta, const char *key)
{
    uint32_t i;

    return bl_map_get(&i, &meta->index, key, strlen(key)) ? &meta->kv[i] : NULL;
}

static const unsigned char *value_at(const bl_gguf_kv *kv, uint64_t i)
{
    assert(i < kv->n);
    return kv->meta->bytes + kv->at + i * types[kv->elem].n_bytes;
}

/* Copy the value of a scalar of exactly this type to out. */
static bl_status get_scalar(void *out, const bl_gguf_kv *kv, bl_gguf_type type, struct bl_err *err)
{
    if (kv->type != type)
        return bl_fail(err, BL_E_FORMAT, "%s: key '%s': has type %s, not %s", kv->meta->name,
                       kv->key, types[kv->type].name, types[type].name);
    memcpy(out, value_at(kv, 0), types[type].n_bytes);
    return BL_OK;
}

bl_status bl_gguf_kv_u16(uint16_t *out, const bl_gguf_kv *kv, struct bl_err *err)
{
    return get_scalar(out, kv, BL_GGUF_U16, err);
}

bl_status bl_gguf_kv_u32(uint32_t *out, const bl_gguf_kv *kv, struct bl_err *err)
{
    return get_scalar(out, kv, BL_GGUF_U32, err);
}

bl_status bl_gguf_kv_u64(uint64_t *out, const bl_gguf_kv *kv, struct bl_err *err)
{
    return get_scalar(out, kv, BL_GGUF_U64, err);
}

bl_status bl_gguf_kv_i32(int32_t *out, const bl_gguf_kv *kv, struct bl_err *err)
{
    return get_scalar(out, kv, BL_GGUF_I32, err);
}

bl_status bl_gguf_kv_f32(float *out, const bl_gguf_kv *kv, struct bl_err *err)
{
    return get_scalar(out, kv, BL_GGUF_F32, err);
}

bl_status bl_gguf_kv_f64(double *out, const bl_gguf_kv *kv, struct bl_err *err)
{
    return get_scalar(out, kv, BL_GGUF_F64, err);
}

bl_status bl_gguf_kv_bool(bool *out, const bl_gguf_kv *kv, struct bl_err *err)
{
    unsigned char byte = 0;
    bl_status rc = get_scalar(&byte, kv, BL_GGUF_BOOL, err);

    if (rc == BL_OK)
        *out = byte != 0;
    return rc;
}

bl_status bl_gguf_kv_string(bl_gguf_string *out, const bl_gguf_kv *kv, struct bl_err *err)
{
    if (kv->type != BL_GGUF_STRING)
        return bl_fail(err, BL_E_FORMAT, "%s: key '%s': has type %s, not string", kv->meta->name,
                       kv->key, types[kv->type].name);
    *out = bl_gguf_kv_string_at(kv, 0);
    return BL_OK;
}

bl_status bl_gguf_kv_expect_array(const bl_gguf_kv *kv, bl_gguf_type elem, struct bl_err *err)
{
    if (kv->type != BL_GGUF_ARRAY)
        return bl_fail(err, BL_E_FORMAT, "%s: key '%s': has type %s, not array of %s",
                       kv->meta->name, kv->key, types[kv->type].name, types[elem].name);
    if (kv->elem != elem)
        return bl_fail(err, BL_E_FORMAT, "%s: key '%s': is an array of %s, not of %s",
                       kv->meta->name, kv->key, types[kv->elem].name, types[elem].name);
    return BL_OK;
}

bl_gguf_string bl_gguf_kv_string_at(const bl_gguf_kv *kv, uint64_t i)
{
    const unsigned char *p;

    assert(kv->elem == BL_GGUF_STRING && i < kv->n);
    p = kv->meta->bytes + kv->meta->string_at[kv->at + i];
    return (bl_gguf_string){ .bytes = (const char *)p + 8, .n = (size_t)bl_load_u64(p) };
}

const char *bl_gguf_kv_numbers(const bl_gguf_kv *kv)
{
    assert(kv->elem != BL_GGUF_STRING);
    return (const char *)value_at(kv, 0);
}

int32_t bl_gguf_kv_i32_at(const bl_gguf_kv *kv, uint64_t i)
{
    assert(kv->elem == BL_GGUF_I32);
    return (int32_t)bl_load_u32(value_at(kv, i));
}

uint32_t bl_gguf_kv_u32_at(const bl_gguf_kv *kv, uint64_t i)
{
    assert(kv->elem == BL_GGUF_U32);
    return bl_load_u32(value_at(kv, i));
}

float bl_gguf_kv_f32_at(const bl_gguf_kv *kv, uint64_t i)
{
    assert(kv->elem == BL_GGUF_F32);
    return bl_load_f32(value_at(kv, i));
}

static void describe_number(bl_text *out, const bl_gguf_kv *kv)
{
    const unsigned char *p = value_at(kv, 0);
    uint64_t u = 0;
    double f64;

    memcpy(&u, p, types[kv->type].n_bytes); /* little-endian: the low bytes */
    memcpy(&f64, &u, sizeof(f64));
    switch (kv->type) {
    case BL_GGUF_I8:
        bl_text_printf(out, "%d", (int8_t)u);
        break;
    case BL_GGUF_I16:
        bl_text_printf(out, "%d", (int16_t)u);
        break;
    case BL_GGUF_I32:
        bl_text_printf(out, "%" PRId32, (int32_t)u);
        break;
    case BL_GGUF_I64:
        bl_text_printf(out, "%" PRId64, (int64_t)u);
        break;
    case BL_GGUF_F32:
        bl_text_printf(out, "%.9g", (double)bl_f32_from_bits((uint32_t)u));
        break;
    case BL_GGUF_F64:
        bl_text_printf(out, "%.17g", f64);
        break;
    default:
        bl_text_printf(out, "%" PRIu64, u);
    }
}

void bl_gguf_kv_describe(bl_text *out, const bl_gguf_kv *kv)
{
    if (kv->type == BL_GGUF_ARRAY) {
        bl_text_printf(out, "%" PRIu64 " x %s", kv->n, types[kv->elem].name);
    } else if (kv->type == BL_GGUF_STRING) {
        bl_gguf_string s = bl_gguf_kv_string_at(kv, 0);

        bl_text_add(out, s.bytes, s.n);
    } else if (kv->type == BL_GGUF_BOOL) {
        bl_text_puts(out, *value_at(kv, 0) ? "true" : "false");
    } else {
        describe_number(out, kv);
    }
}
