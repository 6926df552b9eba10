/*
 * cancel.h - a signal asks, the loops obey.
 *
 * The handler only sets a flag. Reading a source, writing a sink and every parallel loop look at
 * it and return BL_E_CANCELLED, so a run that is interrupted takes the same road out as one that
 * fails: buffers freed, unfinished output removed.
 */
#ifndef BL_BASE_CANCEL_H
#define BL_BASE_CANCEL_H

#include "base/err.h"

/*
 * Catch SIGINT, SIGTERM and SIGHUP from now on, except those that are ignored (nohup). The second
 * signal of a kind is not caught: it ends the program at once. SIGXFSZ is ignored, so that a file
 * size limit is a failed write. Called once, by the program's main().
 */
void bl_cancel_on_signals(void);

/* The signal that arrived, 0 if none. */
int bl_cancel_signal(void);

/* BL_OK, or BL_E_CANCELLED once a signal has arrived. */
BL_MUST_USE bl_status bl_cancel_check(struct bl_err *err);

#endif
