/*
 * finite.c - a value is not finite when its code, masked, equals a pattern: one comparison for
 * every type. Loops run over pieces without a branch, so that the compiler vectorises them; only
 * a piece that failed is looked at value by value.
 */
#include "formats/dtype/finite.h"

#include <stdint.h>
#include <string.h>

enum { PIECE_BYTES = 4096 };

struct pattern {
    unsigned width; /* bytes of a code; 0 = every code is a number */
    uint64_t mask, value;
};

static struct pattern pattern_of(bl_dtype dtype)
{
    switch (dtype) {
    case BL_F8_E4M3:
        return (struct pattern){ 1, 0x7f, 0x7f };
    case BL_F8_E5M2:
        return (struct pattern){ 1, 0x7c, 0x7c };
    case BL_F8_E8M0:
        return (struct pattern){ 1, 0xff, 0xff };
    case BL_F8_E4M3FNUZ:
    case BL_F8_E5M2FNUZ:
        return (struct pattern){ 1, 0xff, 0x80 };
    case BL_F16:
        return (struct pattern){ 2, 0x7c00, 0x7c00 };
    case BL_BF16:
        return (struct pattern){ 2, 0x7f80, 0x7f80 };
    case BL_F32:
    case BL_C64: /* two F32 */
        return (struct pattern){ 4, 0x7f800000, 0x7f800000 };
    case BL_F64:
        return (struct pattern){ 8, 0x7ff0000000000000, 0x7ff0000000000000 };
    default:
        return (struct pattern){ 0, 0, 0 };
    }
}

static bool any8(const unsigned char *bytes, size_t n, uint8_t mask, uint8_t value)
{
    uint8_t found = 0;

    for (size_t i = 0; i < n; i++)
        found |= (uint8_t)((bytes[i] & mask) == value);
    return found != 0;
}

static bool any16(const unsigned char *bytes, size_t n, uint16_t mask, uint16_t value)
{
    uint16_t found = 0;

    for (size_t i = 0; i < n; i++) {
        uint16_t x;

        memcpy(&x, bytes + 2 * i, sizeof(x));
        found |= (uint16_t)((x & mask) == value);
    }
    return found != 0;
}

static bool any32(const unsigned char *bytes, size_t n, uint32_t mask, uint32_t value)
{
    uint32_t found = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t x;

        memcpy(&x, bytes + 4 * i, sizeof(x));
        found |= (uint32_t)((x & mask) == value);
    }
    return found != 0;
}

static bool any64(const unsigned char *bytes, size_t n, uint64_t mask, uint64_t value)
{
    uint64_t found = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t x;

        memcpy(&x, bytes + 8 * i, sizeof(x));
        found |= (uint64_t)((x & mask) == value);
    }
    return found != 0;
}

static bool any(const unsigned char *bytes, size_t n, const struct pattern *p)
{
    switch (p->width) {
    case 1:
        return any8(bytes, n, (uint8_t)p->mask, (uint8_t)p->value);
    case 2:
        return any16(bytes, n, (uint16_t)p->mask, (uint16_t)p->value);
    case 4:
        return any32(bytes, n, (uint32_t)p->mask, (uint32_t)p->value);
    default:
        return any64(bytes, n, p->mask, p->value);
    }
}

bool bl_dtype_check_finite(bl_dtype dtype, const void *bytes, size_t n_bytes, size_t *index)
{
    const struct pattern p = pattern_of(dtype);
    const unsigned char *from = bytes;

    if (p.width == 0)
        return true;
    for (size_t at = 0; at < n_bytes; at += PIECE_BYTES) {
        size_t n = (n_bytes - at < PIECE_BYTES ? n_bytes - at : PIECE_BYTES) / p.width;
        size_t i = 0;

        if (!any(from + at, n, &p))
            continue;
        while (!any(from + at + i * p.width, 1, &p))
            i++;
        if (index)
            *index = (at / p.width + i) / (dtype == BL_C64 ? 2 : 1);
        return false;
    }
    return true;
}
