/* dry_run.c - see dry_run.h. */
#include "cli/dry_run.h"

#include "base/sink.h"
#include "base/size.h"
#include "convert/archive.h"
#include "convert/estimate.h"

#include <inttypes.h>
#include <sys/resource.h>

enum { MEASURE_SECONDS = 2, PROGRAM_BYTES = 16 << 20 };

bl_status bl_needs_of_plan(bl_needs *out, const bl_plan *plan, const bl_ckpt *ckpt, int n_threads,
                           struct bl_err *err)
{
    const bl_pipe_options options = { .n_threads = n_threads, .ckpt = ckpt };

    out->source_bytes = plan->n_source_bytes;
    out->memory_bytes = bl_pipeline_memory(plan, n_threads) + PROGRAM_BYTES;
    return bl_estimate_seconds(&out->seconds, plan, &options, MEASURE_SECONDS, err);
}

bl_status bl_cli_fit_memory(int *n_threads, uint64_t memory, const bl_plan *plan,
                            const bl_container *archive, struct bl_err *err)
{
    uint64_t need = 0;
    char a[32], b[32];

    if (memory == 0)
        return BL_OK;
    for (int n = *n_threads; n >= 1; n--) {
        need = PROGRAM_BYTES + (plan ? bl_pipeline_memory(plan, n) : bl_archive_memory(archive, n));
        if (need > memory)
            continue;
        *n_threads = n;
        return BL_OK;
    }
    return bl_fail(err, BL_E_USAGE, "--memory %s: one thread needs %s", bl_text_bytes(a, memory),
                   bl_text_bytes(b, need));
}

/* What the process has taken already, for the table, the tokenizer and the measurement, counts too. */
static uint64_t memory_of(const bl_needs *needs)
{
    struct rusage usage;
    uint64_t so_far = 0;

    if (getrusage(RUSAGE_SELF, &usage) == 0)
        so_far = (uint64_t)usage.ru_maxrss * 1024;
    return bl_max_u64(needs->memory_bytes, so_far);
}

/* "1 h 40 min", "12 min", "48 s" */
static void put_duration(bl_text *out, double seconds)
{
    uint64_t s = (uint64_t)(seconds + 0.5);

    if (s >= 3600)
        bl_text_printf(out, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        bl_text_printf(out, "%" PRIu64 " min", (s + 30) / 60);
    else if (s >= 1)
        bl_text_printf(out, "%" PRIu64 " s", s);
    else
        bl_text_puts(out, "1 s");
}

bl_status bl_cli_print_needs(const bl_needs *needs, const char *output, const bl_common *common,
                             struct bl_err *err)
{
    bl_text out = { 0 };
    uint64_t room = 0;
    char a[32], b[32];
    bl_status rc = bl_space_free(&room, output, err);

    if (rc != BL_OK)
        return rc;
    bl_text_printf(&out, "\nfiles          %zu, %s%s\n", needs->n_files,
                   needs->estimated ? "about " : "", bl_text_bytes(a, needs->disk_bytes));
    if (room != UINT64_MAX)
        bl_text_printf(&out, "disk           %s free%s\n", bl_text_bytes(b, room),
                       room < needs->disk_bytes ? ": too little" : "");
    bl_text_printf(&out, "memory         %s at most, on %" PRIu64 " threads\n",
                   bl_text_bytes(a, memory_of(needs)), common->n_threads);
    if (needs->seconds > 0) {
        bl_text_puts(&out, "time           about ");
        put_duration(&out, needs->seconds);
        bl_text_printf(&out, ": %s read and coded at %.0f MB/s; longer if the disk is slower\n",
                       bl_text_bytes(a, needs->source_bytes),
                       (double)needs->source_bytes / needs->seconds / 1e6);
    }
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

bl_status bl_cli_put_needs_json(bl_json_writer *w, const bl_needs *needs, const char *output,
                                struct bl_err *err)
{
    uint64_t room = 0;
    bl_status rc = bl_space_free(&room, output, err);

    if (rc != BL_OK)
        return rc;
    bl_json_put_key(w, "needs");
    bl_json_begin_object(w);
    bl_json_pair_u64(w, "files", needs->n_files);
    bl_json_pair_u64(w, "disk_bytes", needs->disk_bytes);
    if (room != UINT64_MAX)
        bl_json_pair_u64(w, "free_bytes", room);
    bl_json_pair_u64(w, "memory_bytes", memory_of(needs));
    bl_json_pair_u64(w, "source_bytes", needs->source_bytes);
    bl_json_pair_f64(w, "seconds", needs->seconds);
    bl_json_end_object(w);
    return BL_OK;
}
