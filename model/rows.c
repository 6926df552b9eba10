/* rows.c - see rows.h. */
#include "model/rows.h"

#include "base/par.h"
#include "base/size.h"

struct rows {
    bl_rows_fn fn;
    void *context;
    size_t n_rows;
};

static bl_status run_block(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct rows *r = context;
    size_t row = i * BL_ROWS_BLOCK;

    (void)err;
    r->fn(r->context, row, (size_t)bl_min_u64(BL_ROWS_BLOCK, r->n_rows - row), i_thread);
    return BL_OK;
}

bl_status bl_rows_for(size_t n_rows, int n_threads, bl_rows_fn fn, void *context,
                      struct bl_err *err)
{
    struct rows r = { fn, context, n_rows };

    return bl_par_for((size_t)bl_ceil_div_u64(n_rows, BL_ROWS_BLOCK), n_threads, run_block, &r,
                      err);
}
