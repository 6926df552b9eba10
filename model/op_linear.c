/* op_linear.c - see op_linear.h. */
#include "model/op_linear.h"

void bl_linear_tile(bl_real *y, size_t ldy, const bl_real *x, size_t ldx, size_t n_tokens,
                    const bl_real *w, size_t n_out, size_t n_in, bool add)
{
    bl_gemm_nt(n_tokens, n_out, n_in, 1, x, ldx, w, n_in, add ? 1 : 0, y, ldy);
}

void bl_linear_tile_dx(bl_real *dx, size_t lddx, const bl_real *dy, size_t lddy, size_t n_tokens,
                       const bl_real *w, size_t n_out, size_t n_cols, size_t ldw, bool add)
{
    bl_gemm_nn(n_tokens, n_cols, n_out, 1, dy, lddy, w, ldw, add ? 1 : 0, dx, lddx);
}

void bl_linear_tile_dw(bl_real *dw, const bl_real *dy, size_t lddy, const bl_real *x, size_t ldx,
                       size_t n_tokens, size_t n_out, size_t n_cols, size_t lddw)
{
    bl_gemm_tn(n_out, n_cols, n_tokens, 1, dy, lddy, x, ldx, 1, dw, lddw);
}

void bl_linear_tile_db(bl_real *db, const bl_real *dy, size_t lddy, size_t n_tokens, size_t n_out)
{
    for (size_t t = 0; t < n_tokens; t++, dy += lddy)
        for (size_t i = 0; i < n_out; i++)
            db[i] += dy[i];
}
