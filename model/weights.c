/* weights.c - see weights.h. */
#include "model/weights.h"

#include "base/alloc.h"

#include <stdio.h>

enum { MAX_NAME = 128 }; /* "model.layers.", a number, and the longest suffix of a family */

static void layer_name(char name[MAX_NAME], uint32_t layer, const char *suffix)
{
    snprintf(name, MAX_NAME, "model.layers.%u.%s", layer, suffix);
}

bl_status bl_weights_init(bl_weights *out, bl_network *network, const bl_ckpt *ckpt, int n_threads,
                          struct bl_err *err)
{
    bl_status rc = bl_network_init(network, bl_ckpt_config(ckpt), err);

    if (rc != BL_OK) {
        bl_err_prefix(err, "%s", bl_ckpt_path(ckpt));
        return rc;
    }
    *out = (bl_weights){ .ckpt = ckpt, .network = network, .n_threads = n_threads };
    return BL_OK;
}

bl_status bl_weights_find(const bl_tensor **out, const bl_weights *weights, uint32_t layer,
                          const char *suffix, uint64_t n_rows, uint64_t n_cols, struct bl_err *err)
{
    char name[MAX_NAME];

    layer_name(name, layer, suffix);
    return bl_ckpt_expect(out, weights->ckpt, name, n_rows, n_cols, err);
}

bl_status bl_weights_read(float *out, const bl_weights *weights, const bl_tensor *tensor,
                          uint64_t row, uint64_t n_rows, struct bl_err *err)
{
    const bl_weight_filter *filter = weights->filter;
    bl_status rc = BL_OK;

    if (weights->resident)
        bl_resident_read(out, weights->resident, tensor, row, n_rows);
    else
        rc = bl_ckpt_read_rows(weights->ckpt, tensor, row, n_rows, out, err);
    if (rc != BL_OK || !filter)
        return rc;
    return filter->fn(filter->context, tensor, row, n_rows, out, err);
}

void bl_weights_prefetch(const bl_weights *weights, uint32_t layer, const char *suffix)
{
    char name[MAX_NAME];
    const bl_tensor *tensor;

    layer_name(name, layer, suffix);
    tensor = bl_ckpt_find(weights->ckpt, name);
    if (tensor)
        bl_ckpt_prefetch(weights->ckpt, tensor);
}

bool bl_weights_has(const bl_weights *weights, uint32_t layer, const char *suffix)
{
    char name[MAX_NAME];

    layer_name(name, layer, suffix);
    return bl_ckpt_find(weights->ckpt, name) != NULL;
}

bl_status bl_weights_global_vector(float **out, const bl_weights *weights, const char *name,
                                   uint64_t n, struct bl_err *err)
{
    const bl_tensor *tensor;
    float *values;
    bl_status rc = bl_ckpt_expect(&tensor, weights->ckpt, name, 1, n, err);

    if (rc != BL_OK)
        return rc;
    values = bl_alloc((size_t)n, sizeof(*values));
    if (!values)
        return bl_fail_nomem(err, name);
    if (weights->resident)
        bl_resident_read(values, weights->resident, tensor, 0, 1);
    else
        rc = bl_ckpt_read_rows(weights->ckpt, tensor, 0, 1, values, err);
    if (rc != BL_OK) {
        bl_free(values);
        return rc;
    }
    *out = values;
    return BL_OK;
}

bl_status bl_weights_vector(float **out, const bl_weights *weights, uint32_t layer,
                            const char *suffix, uint64_t n, struct bl_err *err)
{
    char name[MAX_NAME];

    layer_name(name, layer, suffix);
    return bl_weights_global_vector(out, weights, name, n, err);
}
