/* distill_train_show.c - a training while it runs: the log file, the line on the terminal. */
#include "cli/distill_train.h"
#include "distill/train/train_log.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bl_status bl_train_show_begin(bl_train_show *out, const bl_train_command *c, struct bl_err *err)
{
    *out = (bl_train_show){ .c = c, .began = now() };
    out->last = out->began;
    if (c->log && !c->common.force && !c->common.resume && access(c->log, F_OK) == 0)
        return bl_fail(err, BL_E_USAGE, "%s: exists; --force replaces it", c->log);
    return BL_OK;
}

/* With the first line: a run that is refused leaves the log that is there alone. */
static bl_status open_log(bl_train_show *s, struct bl_err *err)
{
    if (!s->c->log || s->log)
        return BL_OK;
    errno = 0;
    s->log = fopen(s->c->log, "w");
    return s->log ? BL_OK : bl_fail_errno(err, errno, "%s: cannot create", s->c->log);
}

static void clear_line(bl_train_show *s)
{
    if (s->on_line)
        fprintf(stderr, "\r\x1b[K");
    s->on_line = false;
}

/* At most six times a second, and nothing in the first. */
static void show_line(bl_train_show *s, const bl_train_record *r, double t)
{
    const uint64_t n_steps = s->c->recipe.schedule.n_steps;
    const double seconds = t - s->began;
    const double left = seconds / (double)(r->step - s->first) * (double)(n_steps - r->step);

    if (!s->c->common.progress || seconds < 1 || t < s->shown + 1.0 / 6)
        return;
    fprintf(stderr,
            "\rdistill: train: step %" PRIu64 " of %" PRIu64
            ", loss %.4f, %.0f tokens/s, %.0f s left \x1b[K",
            r->step, n_steps, r->loss, (double)s->n_tokens / seconds, left);
    fflush(stderr);
    s->shown = t;
    s->on_line = true;
}

static bl_status log_line(const bl_train_show *s, const bl_train_record *r, double rate,
                          struct bl_err *err)
{
    bl_text line = { 0 };
    bl_status rc;

    bl_train_log_line(&line, r, rate);
    rc = bl_text_check(&line, err);
    errno = 0;
    if (rc == BL_OK && (fwrite(line.bytes, 1, line.n, s->log) != line.n || fflush(s->log) != 0))
        rc = bl_fail_errno(err, errno, "%s: cannot write", s->c->log);
    bl_text_release(&line);
    return rc;
}

bl_status bl_train_show_record(void *context, const bl_train_record *r, bool replayed,
                               struct bl_err *err)
{
    bl_train_show *s = context;
    const double t = now();
    double rate = 0;
    bl_status rc;

    if (replayed || r->step == 0) {
        s->first = r->step;
        s->began = t;
        s->n_tokens = 0;
    } else {
        const uint64_t n_new = r->n_tokens - s->last_tokens;

        rate = t > s->last ? (double)n_new / (t - s->last) : 0;
        s->n_tokens += n_new;
        show_line(s, r, t);
    }
    s->last = t;
    s->last_tokens = r->n_tokens;
    rc = open_log(s, err);
    return rc == BL_OK && s->log ? log_line(s, r, rate, err) : rc;
}

void bl_train_show_warning(void *context, const char *sentence)
{
    bl_train_show *s = context;

    clear_line(s);
    bl_cli_warn(s->c->command, &s->c->common, "%s", sentence);
}

bl_status bl_train_show_end(bl_train_show *s, struct bl_err *err)
{
    bl_status rc = BL_OK;

    clear_line(s);
    errno = 0;
    if (s->log && fclose(s->log) != 0)
        rc = bl_fail_errno(err, errno, "%s: cannot write", s->c->log);
    s->log = NULL;
    return rc;
}
