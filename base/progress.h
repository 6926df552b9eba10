/*
 * progress.h - one line on standard error that is rewritten in place: bytes done of total, rate,
 * time left. Silent for the first second, so quick work prints nothing; at most six updates a
 * second. A NULL progress is allowed everywhere and does nothing.
 */
#ifndef BL_BASE_PROGRESS_H
#define BL_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct bl_progress bl_progress;

/* label: what is going on ("quantize"); borrowed. NULL when not enabled or out of memory. */
bl_progress *bl_progress_new(const char *label, uint64_t total_bytes, bool enabled);
void bl_progress_add(bl_progress *progress, uint64_t bytes); /* thread-safe */
void bl_progress_free(bl_progress *progress);                /* clears the line */

#endif
