/*
 * size.h - arithmetic on numbers that came from a file: every result is checked.
 *
 * Each function returns false on overflow and leaves *out alone.
 */
#ifndef BL_BASE_SIZE_H
#define BL_BASE_SIZE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool bl_add_u64(uint64_t *out, uint64_t a, uint64_t b)
{
    uint64_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

static inline bool bl_mul_u64(uint64_t *out, uint64_t a, uint64_t b)
{
    uint64_t product;

    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

/* Round a up to a multiple of unit (unit > 0). */
static inline bool bl_round_up_u64(uint64_t *out, uint64_t a, uint64_t unit)
{
    uint64_t rest;

    assert(unit > 0);
    rest = a % unit;
    return rest == 0 ? (*out = a, true) : bl_add_u64(out, a, unit - rest);
}

/* Whether [offset, offset + n) lies inside [0, size). */
static inline bool bl_range_fits(uint64_t offset, uint64_t n, uint64_t size)
{
    return offset <= size && n <= size - offset;
}

/* a / b, rounded up (b > 0). */
static inline uint64_t bl_ceil_div_u64(uint64_t a, uint64_t b)
{
    assert(b > 0);
    return a / b + (a % b != 0);
}

static inline uint64_t bl_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t bl_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
