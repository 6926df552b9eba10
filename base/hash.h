/*
 * hash.h - the door to xxHash (XXH3): fast checksums that find corruption, not adversaries; and to
 * OpenSSL's libcrypto for SHA-256, in which checkpoints are published (it uses the processor's own
 * instructions where there are any).
 */
#ifndef BL_BASE_HASH_H
#define BL_BASE_HASH_H

#include "base/err.h"
#include "base/progress.h"
#include "base/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_hash128 {
    uint64_t low, high;
} bl_hash128;

/* XXH3-64 of n bytes, seed 0. */
uint64_t bl_hash64(const void *bytes, size_t n);
uint64_t bl_hash64_seeded(const void *bytes, size_t n, uint64_t seed);

/* XXH3-128 of n bytes, and of data that comes in pieces. */
bl_hash128 bl_hash128_of(const void *bytes, size_t n);
bool bl_hash128_equal(bl_hash128 a, bl_hash128 b);

typedef struct bl_hasher bl_hasher;

BL_MUST_USE bl_status bl_hasher_new(bl_hasher **out, struct bl_err *err);
void bl_hasher_reset(bl_hasher *hasher);
void bl_hasher_add(bl_hasher *hasher, const void *bytes, size_t n);
bl_hash128 bl_hasher_digest(const bl_hasher *hasher);
void bl_hasher_free(bl_hasher *hasher);

enum { BL_SHA256_BYTES = 32 };

/*
 * SHA-256 of all bytes of a source, read in pieces of 1 MiB; progress (NULL: none) gets them as
 * they are done. Fails as reading does, or with BL_E_NOMEM.
 */
BL_MUST_USE bl_status bl_sha256_source(uint8_t out[BL_SHA256_BYTES], bl_source *source,
                                       bl_progress *progress, struct bl_err *err);

#endif
