/*
 * counter.h - random numbers by their number: a pure function of (seed, stream, counter), so nothing has
 * to be kept to go on with, and threads need no order among them.
 *
 * The finalizer of splitmix64 (Steele, Lea, Flood 2014) over a counter that goes in steps of the golden
 * ratio, twice. Not for secrets.
 */
#ifndef BL_DISTILL_COUNTER_H
#define BL_DISTILL_COUNTER_H

#include <stdint.h>

static inline uint64_t bl_counter_mix(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* What the numbers of one stream have in common. */
static inline uint64_t bl_counter_key(uint64_t seed, uint64_t stream)
{
    return bl_counter_mix(bl_counter_mix(seed + UINT64_C(0x9e3779b97f4a7c15)) +
                          (stream + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

static inline uint64_t bl_counter_at(uint64_t key, uint64_t counter)
{
    return bl_counter_mix(key + (counter + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

#endif
