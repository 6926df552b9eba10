/*
 * map.c - linear probing at a load of at most one half. Names come from untrusted files, so the
 * hash is seeded at random: else a file could hold names that all want the same slot, and a
 * lookup would walk past all of them. No order ever leaves the map, so nothing depends on it.
 */
#include "base/map.h"

#include "base/alloc.h"
#include "base/hash.h"

#include <string.h>
#include <sys/random.h>

struct bl_map_slot {
    const char *key; /* NULL = empty */
    size_t n_key;
    uint64_t hash;
    uint32_t value;
};

static struct bl_map_slot *find_slot(const bl_map *map, const char *key, size_t n_key,
                                     uint64_t hash)
{
    size_t i = (size_t)hash & (map->n_slots - 1);

    for (;; i = (i + 1) & (map->n_slots - 1)) {
        struct bl_map_slot *s = &map->slot[i];

        if (!s->key || (s->hash == hash && s->n_key == n_key && memcmp(s->key, key, n_key) == 0))
            return s;
    }
}

/* Without entropy (early boot) the address has to do: it differs from run to run. */
static uint64_t random_seed(const bl_map *map)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
        seed = (uintptr_t)map;
    return seed;
}

static bl_status grow(bl_map *map, struct bl_err *err)
{
    bl_map larger = { .n_slots = map->n_slots ? map->n_slots * 2 : 64,
                      .n_used = map->n_used,
                      .seed = map->n_slots ? map->seed : random_seed(map) };

    larger.slot = bl_calloc(larger.n_slots, sizeof(*larger.slot));
    if (!larger.slot)
        return bl_fail_nomem(err, "name table");
    for (size_t i = 0; i < map->n_slots; i++) {
        const struct bl_map_slot *s = &map->slot[i];

        if (s->key)
            *find_slot(&larger, s->key, s->n_key, s->hash) = *s;
    }
    bl_free(map->slot);
    *map = larger;
    return BL_OK;
}

bl_status bl_map_put(bl_map *map, const char *key, size_t n_key, uint32_t value, bool *was_there,
                     struct bl_err *err)
{
    struct bl_map_slot *s;
    uint64_t hash;

    if (2 * (map->n_used + 1) > map->n_slots) {
        bl_status rc = grow(map, err);

        if (rc != BL_OK)
            return rc;
    }
    hash = bl_hash64_seeded(key, n_key, map->seed);
    s = find_slot(map, key, n_key, hash);
    if (was_there)
        *was_there = s->key != NULL;
    if (!s->key) {
        *s = (struct bl_map_slot){ .key = key, .n_key = n_key, .hash = hash, .value = value };
        map->n_used++;
    }
    return BL_OK;
}

bool bl_map_get(uint32_t *value, const bl_map *map, const char *key, size_t n_key)
{
    const struct bl_map_slot *s;

    if (map->n_slots == 0)
        return false;
    s = find_slot(map, key, n_key, bl_hash64_seeded(key, n_key, map->seed));
    if (!s->key)
        return false;
    *value = s->value;
    return true;
}

void bl_map_release(bl_map *map)
{
    bl_free(map->slot);
    *map = (bl_map){ 0 };
}
