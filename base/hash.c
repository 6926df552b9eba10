/* hash.c - the only file that includes xxhash.h and OpenSSL's headers. */
#include "base/hash.h"

#include "base/alloc.h"
#include "base/size.h"

#include <openssl/evp.h>
#include <xxhash.h>

enum { SHA_PIECE_BYTES = 1 << 20 };

struct bl_hasher {
    XXH3_state_t *state;
};

uint64_t bl_hash64(const void *bytes, size_t n)
{
    return XXH3_64bits(bytes, n);
}

uint64_t bl_hash64_seeded(const void *bytes, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, n, seed);
}

bl_hash128 bl_hash128_of(const void *bytes, size_t n)
{
    XXH128_hash_t hash = XXH3_128bits(bytes, n);

    return (bl_hash128){ hash.low64, hash.high64 };
}

bool bl_hash128_equal(bl_hash128 a, bl_hash128 b)
{
    return a.low == b.low && a.high == b.high;
}

bl_status bl_hasher_new(bl_hasher **out, struct bl_err *err)
{
    bl_hasher *hasher = bl_calloc(1, sizeof(*hasher));

    if (hasher)
        hasher->state = XXH3_createState();
    if (!hasher || !hasher->state) {
        bl_hasher_free(hasher);
        return bl_fail_nomem(err, "hash state");
    }
    bl_hasher_reset(hasher);
    *out = hasher;
    return BL_OK;
}

void bl_hasher_reset(bl_hasher *hasher)
{
    (void)XXH3_128bits_reset(hasher->state);
}

void bl_hasher_add(bl_hasher *hasher, const void *bytes, size_t n)
{
    (void)XXH3_128bits_update(hasher->state, bytes, n);
}

bl_hash128 bl_hasher_digest(const bl_hasher *hasher)
{
    XXH128_hash_t h = XXH3_128bits_digest(hasher->state);

    return (bl_hash128){ .low = h.low64, .high = h.high64 };
}

void bl_hasher_free(bl_hasher *hasher)
{
    if (!hasher)
        return;
    (void)XXH3_freeState(hasher->state);
    bl_free(hasher);
}

static bl_status hash_pieces(EVP_MD_CTX *state, bl_source *source, char *piece,
                             bl_progress *progress, struct bl_err *err)
{
    for (uint64_t at = 0; at < source->size; at += SHA_PIECE_BYTES) {
        size_t n = (size_t)bl_min_u64(SHA_PIECE_BYTES, source->size - at);
        bl_status rc = bl_source_read(source, at, piece, n, err);

        if (rc != BL_OK)
            return rc;
        if (EVP_DigestUpdate(state, piece, n) != 1)
            return bl_fail_nomem(err, "SHA-256");
        bl_progress_add(progress, n);
    }
    return BL_OK;
}

bl_status bl_sha256_source(uint8_t out[BL_SHA256_BYTES], bl_source *source, bl_progress *progress,
                           struct bl_err *err)
{
    char *piece = bl_alloc(SHA_PIECE_BYTES, 1);
    EVP_MD_CTX *state = EVP_MD_CTX_new();
    bl_status rc = piece && state && EVP_DigestInit_ex(state, EVP_sha256(), NULL) == 1
                       ? hash_pieces(state, source, piece, progress, err)
                       : bl_fail_nomem(err, "SHA-256");

    if (rc == BL_OK && EVP_DigestFinal_ex(state, out, NULL) != 1)
        rc = bl_fail_nomem(err, "SHA-256");
    EVP_MD_CTX_free(state);
    bl_free(piece);
    return rc;
}
