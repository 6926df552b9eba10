/*
 * flow.h - the door to threads: items prepared side by side, a bounded number ahead, and taken in
 * their order.
 *
 *     reader: next(slot 0), next(slot 1), ...      one thread, in order; begins to read from the disk
 *     workers: make(slot), make(slot), ...         n_threads of them, whichever slot is ready
 *     writer: take(slot 0), take(slot 1), ...      the calling thread, in order
 *
 * Item k lives in slot k % n_slots from next() until take() has returned, so at most n_slots items
 * exist at a time: that is the memory. The three run at once: nobody waits for the disk alone.
 * What is taken does not depend on the number of threads.
 */
#ifndef BL_BASE_FLOW_H
#define BL_BASE_FLOW_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct bl_flow {
    /* Describe the next item in `slot`, which is free; or set *end: there is none. */
    bl_status (*next)(void *context, size_t slot, bool *end, struct bl_err *err);
    /* Prepare it. i_thread in [0, n_threads) names a place that no other call uses meanwhile. */
    bl_status (*make)(void *context, size_t slot, int i_thread, struct bl_err *err);
    bl_status (*take)(void *context, size_t slot, struct bl_err *err);
    void *context;
    size_t n_slots; /* at least 1 */
    int n_threads;  /* at least 1 */
} bl_flow;

/*
 * Run until next() says end and everything was taken. Where calls fail, the status and sentence are
 * those of the first item that failed, whatever the number of threads; items before it have been
 * taken, none behind it. A signal ends the run with BL_E_CANCELLED. Every thread has ended on
 * return. Threads that the system does not give are done without: the least is the calling one.
 */
BL_MUST_USE bl_status bl_flow_run(const bl_flow *flow, struct bl_err *err);

/* For tests: let the k-th thread from now on not be given (1 = the next one; 0 = none fails). */
void bl_flow_fail_thread_at(unsigned k);

#endif
