/*
 * par.h - the door to OpenMP: one parallel loop.
 *
 * Threads take iterations as they come free. Results must not depend on which thread runs which
 * iteration: fn writes to places that belong to i alone. i_thread in [0, n_threads) names a
 * scratch place that no other iteration uses at the same time.
 */
#ifndef BL_BASE_PAR_H
#define BL_BASE_PAR_H

#include "base/err.h"

#include <stddef.h>

typedef bl_status (*bl_par_fn)(void *context, size_t i, int i_thread, struct bl_err *err);

/*
 * Run fn(context, i) for i in [0, n). When iterations fail, the status and sentence are those of
 * the lowest index that failed, whatever the number of threads; iterations above it may be
 * skipped. A signal ends the loop with BL_E_CANCELLED.
 */
BL_MUST_USE bl_status bl_par_for(size_t n, int n_threads, bl_par_fn fn, void *context,
                                 struct bl_err *err);

/* Processors that this process may use: the default for -j. */
int bl_par_n_processors(void);

#endif
