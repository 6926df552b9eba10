/* resident.c - see resident.h. */
#include "model/resident.h"

#include "formats/dtype/float_bits.h"

#include <string.h>

void bl_resident_read(float *out, const bl_resident *resident, const bl_tensor *tensor,
                      uint64_t row, uint64_t n_rows)
{
    const bl_learned *l = bl_resident_get(resident, tensor);
    const size_t first = (size_t)(row * tensor->n_cols), n = (size_t)(n_rows * tensor->n_cols);

    if (l->value) {
        memcpy(out, l->value + first, n * sizeof(*out));
        return;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = bl_f32_from_bf16(l->bf16[first + i]);
}
