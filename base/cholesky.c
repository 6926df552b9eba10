/* cholesky.c - see cholesky.h. */
#include "base/cholesky.h"

#include "base/alloc.h"
#include "base/linalg.h"
#include "base/par.h"
#include "base/size.h"

enum { TILE = BL_CHOLESKY_TILE };

/* Column of tiles k is being eliminated; the tiles below it begin at row `below`. */
struct step {
    float *a;
    size_t n, k, width, below, n_below;
};

static size_t rows_of(const struct step *s, size_t first)
{
    return (size_t)bl_min_u64(TILE, s->n - first);
}

/* A[i][k] = A[i][k] L[k][k]^-T. */
static bl_status solve_tile(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct step *s = context;
    size_t row = s->below + i * TILE;

    (void)i_thread;
    (void)err;
    bl_strsm_lower_t(rows_of(s, row), s->width, s->a + s->k * s->n + s->k, s->n,
                     s->a + row * s->n + s->k, s->n);
    return BL_OK;
}

/* A[i][j] -= L[i][k] L[j][k]^T, for tiles on and below the diagonal. */
static bl_status update_tile(void *context, size_t t, int i_thread, struct bl_err *err)
{
    const struct step *s = context;
    size_t i = s->below + t / s->n_below * TILE, j = s->below + t % s->n_below * TILE;

    (void)i_thread;
    (void)err;
    if (j == i)
        bl_ssyrk_lower(rows_of(s, i), s->width, -1.0f, s->a + i * s->n + s->k, s->n, 1.0f,
                       s->a + i * s->n + i, s->n);
    if (j >= i)
        return BL_OK;
    bl_sgemm_nt(rows_of(s, i), rows_of(s, j), s->width, -1.0f, s->a + i * s->n + s->k, s->n,
                s->a + j * s->n + s->k, s->n, 1.0f, s->a + i * s->n + j, s->n);
    return BL_OK;
}

bl_status bl_cholesky(bool *positive, float *a, size_t n, int n_threads, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t k = 0; k < n && rc == BL_OK; k += TILE) {
        struct step s = { .a = a, .n = n, .k = k };

        s.width = rows_of(&s, k);
        s.below = k + s.width;
        s.n_below = (size_t)bl_ceil_div_u64(n - s.below, TILE);
        if (!bl_spotrf_lower(s.width, a + k * n + k, n)) {
            *positive = false;
            return BL_OK;
        }
        rc = bl_par_for(s.n_below, n_threads, solve_tile, &s, err);
        if (rc == BL_OK)
            rc = bl_par_for(s.n_below * s.n_below, n_threads, update_tile, &s, err);
    }
    *positive = true;
    return rc;
}

bl_status bl_cholesky_f64(bool *positive, float *a, size_t n, struct bl_err *err)
{
    double *wide = bl_alloc(n, n * sizeof(*wide));

    if (!wide)
        return bl_fail_nomem(err, "a factor in F64");
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            wide[i * n + j] = (double)a[i * n + j];
    *positive = bl_dpotrf_lower(n, wide, n);
    for (size_t i = 0; i < n && *positive; i++)
        for (size_t j = 0; j <= i; j++)
            a[i * n + j] = (float)wide[i * n + j];
    bl_free(wide);
    return BL_OK;
}
