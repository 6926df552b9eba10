/* amax.c - see amax.h. */
#include "formats/dtype/amax.h"

#include "base/clones.h"

BL_CLONES
uint32_t bl_amax_bits_of_run(const float *x, size_t n)
{
    return bl_amax_bits(x, n);
}
