/* fingerprint.c - see fingerprint.h. */
#include "formats/ckpt/fingerprint.h"

#include "base/alloc.h"
#include "base/le.h"
#include "base/size.h"

#include <string.h>

enum { SAMPLE_BYTES = 4096, SAMPLES = 1000, WHOLE_BYTES = 1 << 20 };

static void add_description(bl_hasher *hasher, const bl_stored *t)
{
    const char *type = bl_dtype_name(t->dtype);
    unsigned char number[8];

    bl_hasher_add(hasher, t->name, strlen(t->name) + 1);
    bl_hasher_add(hasher, type, strlen(type) + 1);
    bl_put_u32(number, t->ndim);
    bl_hasher_add(hasher, number, 4);
    for (uint32_t d = 0; d < t->ndim; d++) {
        bl_put_u64(number, t->dim[d]);
        bl_hasher_add(hasher, number, 8);
    }
}

/* Bytes of stored tensor i that take part. */
static size_t share_of(const bl_container *container, size_t i)
{
    const bl_stored *t = &container->stored[i];
    size_t step = container->n_stored / SAMPLES + 1;

    if (t->ndim < 2)
        return (size_t)bl_min_u64(t->n_bytes, WHOLE_BYTES);
    return i % step == 0 ? (size_t)bl_min_u64(t->n_bytes, SAMPLE_BYTES) : 0;
}

bl_status bl_container_fingerprint(bl_hash128 *out, const bl_container *container,
                                   struct bl_err *err)
{
    unsigned char *bytes = bl_alloc(WHOLE_BYTES, 1);
    bl_hasher *hasher = NULL;
    bl_status rc = bytes ? bl_hasher_new(&hasher, err) : bl_fail_nomem(err, "fingerprint");

    for (size_t i = 0; i < container->n_stored && rc == BL_OK; i++) {
        size_t n = share_of(container, i);

        add_description(hasher, &container->stored[i]);
        if (n > 0)
            rc = bl_container_read(container, i, 0, bytes, n, err);
        if (rc == BL_OK)
            bl_hasher_add(hasher, bytes, n);
    }
    if (rc == BL_OK)
        *out = bl_hasher_digest(hasher);
    bl_hasher_free(hasher);
    bl_free(bytes);
    return rc;
}
