/*
 * hash.h - the door to xxHash (XXH3): fast checksums that find corruption, not adversaries.
 */
#ifndef BL_BASE_HASH_H
#define BL_BASE_HASH_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct bl_hash128 {
    uint64_t low, high;
} bl_hash128;

/* XXH3-64 of n bytes, seed 0. */
uint64_t bl_hash64(const void *bytes, size_t n);
uint64_t bl_hash64_seeded(const void *bytes, size_t n, uint64_t seed);

/* XXH3-128 over data that comes in pieces. */
typedef struct bl_hasher bl_hasher;

BL_MUST_USE bl_status bl_hasher_new(bl_hasher **out, struct bl_err *err);
void bl_hasher_reset(bl_hasher *hasher);
void bl_hasher_add(bl_hasher *hasher, const void *bytes, size_t n);
bl_hash128 bl_hasher_digest(const bl_hasher *hasher);
void bl_hasher_free(bl_hasher *hasher);

#endif
