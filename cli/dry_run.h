/*
 * dry_run.h - what a conversion needs: files, disk, memory, time.
 */
#ifndef BL_CLI_DRY_RUN_H
#define BL_CLI_DRY_RUN_H

#include "cli/cli.h"
#include "convert/pipeline.h"

typedef struct bl_needs {
    uint64_t disk_bytes, source_bytes;
    uint64_t memory_bytes; /* of the conversion; what the process has is looked at as well */
    bool estimated;        /* disk_bytes is from samples */
    size_t n_files;
    double seconds; /* of reading and coding, measured for two seconds; 0: not known */
} bl_needs;

/* Of a plan: memory and time; the caller sets the rest. */
BL_MUST_USE bl_status bl_needs_of_plan(bl_needs *out, const bl_plan *plan, const bl_ckpt *ckpt,
                                       int n_threads, struct bl_err *err);

/*
 * The most threads, at most *n_threads, with which a plan (or without one, an archive) stays in `memory`
 * bytes; 0: no limit. BL_E_USAGE when one is too many.
 */
BL_MUST_USE bl_status bl_cli_fit_memory(int *n_threads, uint64_t memory, const bl_plan *plan,
                                        const bl_container *archive, struct bl_err *err);

/* "files", "disk", "memory", "time", a line each. */
BL_MUST_USE bl_status bl_cli_print_needs(const bl_needs *needs, const char *output,
                                         const bl_common *common, struct bl_err *err);
/* The same as member "needs" of a JSON object. */
BL_MUST_USE bl_status bl_cli_put_needs_json(bl_json_writer *w, const bl_needs *needs,
                                            const char *output, struct bl_err *err);

#endif
