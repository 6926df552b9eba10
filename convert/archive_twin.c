/* archive_twin.c - a map from a cheap key to the first tensor that has it, then the bytes. */
#include "convert/archive_twin.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/par.h"
#include "base/size.h"

#include <stdatomic.h>
#include <string.h>

enum { SAMPLE_BYTES = 4096, MAX_PERIOD = 8, PIECE_BYTES = 1 << 20, PIECES_A_THREAD = 8 };

struct key {
    uint64_t n_bytes, hash, dtype; /* no padding: compared as bytes */
};

struct bl_twins {
    const bl_container *container;
    int n_threads;
    bl_map map;
    struct key *key;       /* one for each tensor */
    unsigned char *buffer; /* two pieces for each thread */
};

/* Two tensors of equal size, from byte `at` on. */
struct comparison {
    bl_twins *twins;
    size_t a, b;
    uint64_t at, n_bytes;
    atomic_bool differ;
};

bl_status bl_twins_new(bl_twins **out, const bl_container *container, int n_threads,
                       struct bl_err *err)
{
    bl_twins *twins = bl_calloc(1, sizeof(*twins));

    if (twins) {
        twins->container = container;
        twins->n_threads = n_threads;
        twins->key = bl_calloc(container->n_stored, sizeof(*twins->key));
        twins->buffer = bl_alloc((size_t)n_threads, (size_t)2 * PIECE_BYTES);
    }
    if (!twins || !twins->key || !twins->buffer) {
        bl_twins_free(twins);
        return bl_fail_nomem(err, container->path);
    }
    *out = twins;
    return BL_OK;
}

void bl_twins_free(bl_twins *twins)
{
    if (!twins)
        return;
    bl_map_release(&twins->map);
    bl_free(twins->key);
    bl_free(twins->buffer);
    bl_free(twins);
}

static bl_status compare_piece(void *context, size_t i, int i_thread, struct bl_err *err)
{
    struct comparison *c = context;
    const bl_container *container = c->twins->container;
    unsigned char *a = c->twins->buffer + (size_t)i_thread * 2 * PIECE_BYTES, *b = a + PIECE_BYTES;
    uint64_t at = c->at + i * PIECE_BYTES;
    size_t n = (size_t)bl_min_u64(PIECE_BYTES, c->n_bytes - at);
    bl_status rc;

    if (atomic_load(&c->differ))
        return BL_OK;
    rc = bl_container_read(container, c->a, at, a, n, err);
    if (rc == BL_OK)
        rc = bl_container_read(container, c->b, at, b, n, err);
    if (rc == BL_OK && memcmp(a, b, n) != 0)
        atomic_store(&c->differ, true);
    return rc;
}

/* A few pieces at a time: tensors that differ mostly do so at once. */
static bl_status compare(bool *equal, bl_twins *twins, size_t a, size_t b, struct bl_err *err)
{
    struct comparison c = { twins, a, b, 0, twins->container->stored[a].n_bytes, false };
    size_t n_max = (size_t)twins->n_threads * PIECES_A_THREAD;
    bl_status rc = BL_OK;

    while (c.at < c.n_bytes && !atomic_load(&c.differ) && rc == BL_OK) {
        uint64_t left = bl_ceil_div_u64(c.n_bytes - c.at, PIECE_BYTES);
        size_t n = (size_t)bl_min_u64(left, n_max);

        rc = bl_par_for(n, twins->n_threads, compare_piece, &c, err);
        c.at += (uint64_t)n * PIECE_BYTES;
    }
    *equal = !atomic_load(&c.differ);
    return rc;
}

/* Put tensor i into the map. *was_there: another with its key came before it, *before. */
static bl_status put(bool *was_there, uint32_t *before, bl_twins *twins, size_t i,
                     struct bl_err *err)
{
    const bl_stored *t = &twins->container->stored[i];
    struct key *key = &twins->key[i];
    bl_status rc;

    *was_there = false;
    if (t->n_bytes < SAMPLE_BYTES || i >= UINT32_MAX)
        return BL_OK; /* not worth a look */
    rc = bl_container_read(twins->container, i, 0, twins->buffer, SAMPLE_BYTES, err);
    if (rc != BL_OK)
        return rc;
    if (memcmp(twins->buffer, twins->buffer + MAX_PERIOD, SAMPLE_BYTES - MAX_PERIOD) == 0)
        return BL_OK; /* one value repeated: stored as that value, a twin or not */
    *key = (struct key){ t->n_bytes, bl_hash64(twins->buffer, SAMPLE_BYTES), t->dtype };
    rc = bl_map_put(&twins->map, (const char *)key, sizeof(*key), (uint32_t)i, was_there, err);
    if (rc == BL_OK && *was_there)
        (void)bl_map_get(before, &twins->map, (const char *)key, sizeof(*key));
    return rc;
}

bl_status bl_twins_note(bl_twins *twins, size_t i, struct bl_err *err)
{
    bool was_there;
    uint32_t before;

    return put(&was_there, &before, twins, i, err);
}

bl_status bl_twins_find(bool *found, size_t *first, bl_twins *twins, size_t i, struct bl_err *err)
{
    bool was_there;
    uint32_t before = 0;
    bl_status rc = put(&was_there, &before, twins, i, err);

    *found = false;
    if (rc != BL_OK || !was_there)
        return rc;
    *first = before;
    return compare(found, twins, before, i, err);
}
