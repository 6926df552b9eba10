/* progress.c - the only library file that touches a terminal. */
#include "base/progress.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

struct bl_progress {
    const char *label;
    uint64_t total;
    atomic_ullong done;
    double start, next; /* seconds */
    bool shown;
    atomic_flag printing;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bl_progress *bl_progress_new(const char *label, uint64_t total_bytes, bool enabled)
{
    bl_progress *p = enabled ? bl_calloc(1, sizeof(*p)) : NULL;

    if (!p)
        return NULL;
    p->label = label;
    p->total = total_bytes;
    p->start = now();
    p->next = p->start + 1.0;
    atomic_flag_clear(&p->printing);
    return p;
}

static void print_line(bl_progress *p, double t, double done)
{
    double seconds = t - p->start, total = (double)p->total;
    double left = done > 0 && total > done ? seconds * (total - done) / done : 0;
    double percent = total > 0 ? 100 * done / total : 100;

    fprintf(stderr, "\r%s: %.2f of %.2f GB (%.0f %%), %.0f MB/s, %.0f s left \x1b[K", p->label,
            done / 1e9, total / 1e9, percent, done / seconds / 1e6, left);
    fflush(stderr);
    p->shown = true;
}

void bl_progress_add(bl_progress *p, uint64_t bytes)
{
    double t, done;

    if (!p)
        return;
    done = (double)(atomic_fetch_add(&p->done, bytes) + bytes);
    if (atomic_flag_test_and_set(&p->printing))
        return; /* another thread is at it */
    t = now();
    if (t >= p->next) {
        print_line(p, t, done);
        p->next = t + 1.0 / 6;
    }
    atomic_flag_clear(&p->printing);
}

void bl_progress_free(bl_progress *p)
{
    if (!p)
        return;
    if (p->shown)
        fprintf(stderr, "\r\x1b[K");
    bl_free(p);
}
