/* hash.c - the only file that includes xxhash.h. */
#include "base/hash.h"

#include "base/alloc.h"

#include <xxhash.h>

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
