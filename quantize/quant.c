/*
 * quant.c - the table. Encoders of GGUF blocks see rows as one run of values (plain) or one by one
 * (search); max_abs is the largest magnitude whose F16 scale is still finite.
 */
#include "quantize/quant.h"

#include "convert/cast.h"
#include "quantize/encode_q4_0.h"
#include "quantize/encode_q8_0.h"

#include <string.h>

/* The two encoders of a type whose blocks follow each other in a row. */
#define PLAIN(x)                                                                                   \
    static void plain_##x(void *const out[], const bl_encode_rows *rows)                           \
    {                                                                                              \
        bl_##x##_encode(out[0], rows->value, (size_t)(rows->n_rows * rows->n_cols));               \
    }

PLAIN(q8_0)
PLAIN(q4_0)

#define ENCODER(label, type, len, most, function)                                                  \
    {                                                                                              \
        .name = (label), .dtype = (type), .multiple = (len), .max_abs = (most),                    \
        .encode = (function)                                                                       \
    }

static const bl_quant table[] = {
    { "q8_0",
      BL_Q8_0,
      { ENCODER("Q8_0", BL_Q8_0, 32, 127 * 65504.0f, plain_q8_0),
        ENCODER("Q8_0", BL_Q8_0, 32, 127 * 65504.0f, plain_q8_0) },
      0,
      NULL },
    { "q4_0",
      BL_Q4_0,
      { ENCODER("Q4_0", BL_Q4_0, 32, 8 * 65504.0f, plain_q4_0),
        ENCODER("Q4_0", BL_Q4_0, 32, 8 * 65504.0f, plain_q4_0) },
      0,
      NULL },
};

size_t bl_quant_count(void)
{
    return sizeof(table) / sizeof(*table);
}

const bl_quant *bl_quant_at(size_t i)
{
    return &table[i];
}

const bl_quant *bl_quant_by_name(const char *name)
{
    for (size_t i = 0; i < bl_quant_count(); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

const bl_quant *bl_quant_of(bl_dtype dtype)
{
    for (size_t i = 0; i < bl_quant_count(); i++)
        if (table[i].dtype == dtype)
            return &table[i];
    return NULL;
}

const bl_encoder *bl_encoder_of(bl_dtype dtype, bl_method method)
{
    const bl_quant *quant = bl_quant_of(dtype);

    return quant ? &quant->encoder[method] : bl_cast_encoder(dtype);
}

bool bl_method_by_name(bl_method *out, const char *name)
{
    if (strcmp(name, "plain") == 0)
        *out = BL_METHOD_PLAIN;
    else if (strcmp(name, "search") == 0)
        *out = BL_METHOD_SEARCH;
    else
        return false;
    return true;
}
