/* init_layers.c - which layers of a teacher stay: a list, or so many at equal distances. */
#include "base/alloc.h"
#include "distill/init/init.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A decimal number at *text, which moves behind it; false when there is none below `end`. */
static bool scan(uint32_t *out, const char **text, uint32_t end)
{
    uint64_t v = 0;
    const char *p = *text;

    for (; *p >= '0' && *p <= '9' && v <= UINT32_MAX; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    if (p == *text || v >= end)
        return false;
    *text = p;
    *out = (uint32_t)v;
    return true;
}

static bl_status space_evenly(uint32_t *layer, uint32_t *n, uint64_t wanted, uint32_t n_layers,
                              struct bl_err *err)
{
    if (wanted == 0 || wanted > n_layers)
        return bl_fail(err, BL_E_USAGE,
                       "the teacher has %" PRIu32 " layers: 1 to %" PRIu32 " can stay", n_layers,
                       n_layers);
    for (uint64_t i = 0; i < wanted; i++)
        layer[i] = wanted == 1
                       ? 0
                       : (uint32_t)((2 * i * (n_layers - 1) + wanted - 1) / (2 * (wanted - 1)));
    *n = (uint32_t)wanted;
    return BL_OK;
}

/* "0,2-4,7" */
static bl_status read_list(uint32_t *layer, uint32_t *n, const char *text, uint32_t n_layers,
                           struct bl_err *err)
{
    const char *at = text;

    *n = 0;
    for (;; at++) {
        uint32_t first = 0, last;
        bool good = scan(&first, &at, n_layers);

        last = first;
        if (good && *at == '-') {
            at++;
            good = scan(&last, &at, n_layers) && last >= first;
        }
        if (!good || (*at != ',' && *at != '\0') || (*n > 0 && layer[*n - 1] >= first))
            return bl_fail(err, BL_E_USAGE,
                           "'%s' is no list of layers: numbers from 0 to %" PRIu32
                           " in ascending order, as in 0,2-4,7",
                           text, n_layers - 1);
        for (uint32_t l = first; l <= last; l++)
            layer[(*n)++] = l;
        if (*at == '\0')
            return BL_OK;
    }
}

bl_status bl_init_parse_layers(uint32_t **layer, uint32_t *n, const char *text, uint32_t n_layers,
                               struct bl_err *err)
{
    uint32_t *list = bl_alloc(n_layers, sizeof(*list));
    const bool counts = *text && strspn(text, "0123456789") == strlen(text);
    bl_status rc = list ? BL_OK : bl_fail_nomem(err, "layers");

    if (rc == BL_OK)
        rc = counts ? space_evenly(list, n, strtoull(text, NULL, 10), n_layers, err)
                    : read_list(list, n, text, n_layers, err);
    if (rc == BL_OK)
        *layer = list;
    else
        bl_free(list);
    return rc;
}
