/* hold.c - see hold.h. */
#include "model/hold.h"

#include "base/alloc.h"
#include "model/slab.h"

#include <assert.h>

bl_status bl_hold_get(const float **out, bl_hold *hold, const bl_weights *weights,
                      const bl_tensor *tensor, struct bl_err *err)
{
    float *values;
    bl_status rc;

    for (size_t i = 0; i < hold->n; i++)
        if (hold->tensor[i] == tensor) {
            *out = hold->values[i];
            return BL_OK;
        }
    assert(hold->n < BL_HOLD_MAX);
    values = bl_alloc((size_t)tensor->n_rows, (size_t)tensor->n_cols * sizeof(*values));
    if (!values)
        return bl_fail_nomem(err, tensor->name);
    rc = bl_slab_decode(values, weights, tensor, 0, tensor->n_rows, err);
    if (rc != BL_OK) {
        bl_free(values);
        return rc;
    }
    hold->tensor[hold->n] = tensor;
    hold->values[hold->n++] = values;
    *out = values;
    return BL_OK;
}

void bl_hold_release(bl_hold *hold)
{
    for (size_t i = 0; i < hold->n; i++)
        bl_free(hold->values[i]);
    *hold = (bl_hold){ 0 };
}
