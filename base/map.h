/*
 * map.h - a hash table from byte strings to 32-bit numbers (names to indices).
 *
 * Keys are borrowed (never NULL): they must outlive the map. Readers may share a map that no
 * longer changes.
 */
#ifndef BL_BASE_MAP_H
#define BL_BASE_MAP_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bl_map_slot;

typedef struct bl_map {
    struct bl_map_slot *slot; /* open addressing, a power of two of them */
    size_t n_slots, n_used;
    uint64_t seed; /* random: nobody can make names that collide */
} bl_map;          /* zero-initialise */

/*
 * Put key -> value. When the key is already there, *was_there is set, nothing changes and the
 * call succeeds. was_there may be NULL if the caller does not care. Fails with BL_E_NOMEM.
 */
BL_MUST_USE bl_status bl_map_put(bl_map *map, const char *key, size_t n_key, uint32_t value,
                                 bool *was_there, struct bl_err *err);

/* True and *value set when the key is there. */
bool bl_map_get(uint32_t *value, const bl_map *map, const char *key, size_t n_key);

void bl_map_release(bl_map *map);

#endif
