/* par.c - the only file that knows about OpenMP. */
#include "base/par.h"

#include "base/cancel.h"

#include <omp.h>
#include <stdatomic.h>

bl_status bl_par_for(size_t n, int n_threads, bl_par_fn fn, void *context, struct bl_err *err)
{
    atomic_size_t lowest_failed = n; /* n = none */
    struct bl_err first = { 0 };

    if (n_threads > 1 && n < (size_t)n_threads)
        n_threads = (int)n;
    if (n_threads < 1)
        n_threads = 1;
#pragma omp parallel for schedule(dynamic, 1) num_threads(n_threads) if (n_threads > 1)
    for (size_t i = 0; i < n; i++) {
        struct bl_err here = { 0 };
        bl_status rc;

        if (i > atomic_load(&lowest_failed))
            continue;
        rc = bl_cancel_check(&here);
        if (rc == BL_OK)
            rc = fn(context, i, omp_get_thread_num(), &here);
        if (rc == BL_OK)
            continue;
        here.status = rc;
#pragma omp critical(bl_par_failure)
        if (i < atomic_load(&lowest_failed)) {
            atomic_store(&lowest_failed, i);
            first = here;
        }
    }
    if (atomic_load(&lowest_failed) == n)
        return BL_OK;
    if (err)
        *err = first;
    return first.status;
}

int bl_par_n_processors(void)
{
    return omp_get_num_procs();
}
