/*
 * cli.h - what every command shares: the common options, the answer to -h, exit codes, the one
 * place that prints an error.
 *
 * Standard output is the answer; standard error is progress, warnings and errors.
 */
#ifndef BL_CLI_CLI_H
#define BL_CLI_CLI_H

#include "base/err.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/options.h"
#include "convert/job.h"
#include "convert/sanity.h"
#include "formats/json/json_writer.h"
#include "quantize/budget_plan.h"

#include <stdbool.h>
#include <stdint.h>

enum { BL_EXIT_DONE = 0, BL_EXIT_FAILED = 1, BL_EXIT_USAGE = 2, BL_EXIT_NO = 3 };

/* One row of the command table in main.c. */
typedef struct bl_command {
    const char *name;
    const char *usage; /* "MODEL [--tensors] [--json]" */
    const char *summary;
    int (*run)(const struct bl_command *command, int argc, char **argv);
} bl_command;

int bl_cmd_distill(const bl_command *command, int argc, char **argv);
int bl_cmd_inspect(const bl_command *command, int argc, char **argv);
int bl_cmd_calibrate(const bl_command *command, int argc, char **argv);
int bl_cmd_convert(const bl_command *command, int argc, char **argv);
int bl_cmd_prune(const bl_command *command, int argc, char **argv);
int bl_cmd_quantize(const bl_command *command, int argc, char **argv);
int bl_cmd_verify(const bl_command *command, int argc, char **argv);
int bl_cmd_tokenize(const bl_command *command, int argc, char **argv);

/* Values of the common options; { BL_COMMON_DEFAULTS }. */
typedef struct bl_common {
    bool help, quiet, progress, force, json, dry_run, resume, strict, no_space_check;
    uint64_t n_threads; /* set by bl_cli_parse() */
} bl_common;

bool bl_cli_stderr_is_terminal(void);

/* Rows of the option table for common options that a command has. */
#define BL_OPTION_HELP(c)                                                                          \
    {                                                                                              \
        "--help", 'h', BL_OPTION_FLAG, &(c).help, NULL, "show this help"                           \
    }
#define BL_OPTION_QUIET(c)                                                                         \
    {                                                                                              \
        "--quiet", 'q', BL_OPTION_FLAG, &(c).quiet, NULL, "no warnings"                            \
    }
#define BL_OPTION_JSON(c)                                                                          \
    {                                                                                              \
        "--json", 0, BL_OPTION_FLAG, &(c).json, NULL, "print JSON"                                 \
    }
#define BL_OPTION_THREADS(c)                                                                       \
    {                                                                                              \
        "--threads", 'j', BL_OPTION_U64, &(c).n_threads, "N", "threads (default: processors)"      \
    }
#define BL_OPTION_FORCE(c)                                                                         \
    {                                                                                              \
        "--force", 0, BL_OPTION_FLAG, &(c).force, NULL, "replace an output that exists"            \
    }
#define BL_OPTION_RESUME(c)                                                                        \
    {                                                                                              \
        "--resume", 0, BL_OPTION_FLAG, &(c).resume, NULL, "go on from what an unfinished run left" \
    }
#define BL_OPTION_STRICT(c)                                                                        \
    { "--strict", 0, BL_OPTION_FLAG, &(c).strict, NULL, "refuse a source that looks wrong" },      \
    {                                                                                              \
        "--no-space-check", 0, BL_OPTION_FLAG, &(c).no_space_check, NULL,                          \
            "write even if the disk seems too small"                                               \
    }
#define BL_OPTION_DRY_RUN(c)                                                                       \
    {                                                                                              \
        "--dry-run", 0, BL_OPTION_FLAG, &(c).dry_run, NULL, "say what would be written, and stop"  \
    }
#define BL_OPTION_PROGRESS(c)                                                                      \
    { "--progress", 0, BL_OPTION_FLAG, &(c).progress, NULL, "show progress" },                     \
    {                                                                                              \
        "--no-progress", 0, BL_OPTION_UNFLAG, &(c).progress, NULL,                                 \
            "no progress (default unless on a terminal)"                                           \
    }
#define BL_OPTION_END                                                                              \
    {                                                                                              \
        NULL, 0, BL_OPTION_FLAG, NULL, NULL, NULL                                                  \
    }

enum { BL_CLI_RUN = -1 };

/*
 * Parse, and answer --help. BL_CLI_RUN: go on, with common->n_threads set; anything else is the
 * exit code to return.
 */
int bl_cli_parse(const char **operand, size_t *n_operands, size_t least, size_t most,
                 const bl_command *command, const bl_option *table, bl_common *common, int argc,
                 char **argv);

/* Print the sentence when rc is not BL_OK, and return the exit code. */
int bl_cli_finish(const bl_command *command, bl_status rc, const struct bl_err *err);

/* Warn of what looked wrong in a source; NULL: of nothing. */
void bl_cli_say_findings(const bl_command *command, const bl_common *common,
                         const bl_sanity *sanity);

/* A collector of findings about a checkpoint's tensors. */
BL_MUST_USE bl_status bl_cli_sanity_of(bl_sanity **out, const bl_ckpt *ckpt, struct bl_err *err);

/* Say where an output went on from (share 0: it did not). */
void bl_cli_say_resumed(const bl_command *command, const bl_common *common, double share);

void bl_cli_warn(const bl_command *command, const bl_common *common, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Write text to standard output; a closed pipe or full disk is an error like any other. */
BL_MUST_USE bl_status bl_cli_print(const bl_text *text, struct bl_err *err);

/* What was written, or with --dry-run would be. */
BL_MUST_USE bl_status bl_cli_print_plan(const bl_plan *plan, const char *output,
                                        struct bl_err *err);
/* The same as members of a JSON object, every tensor too. */
void bl_cli_put_plan_json(bl_json_writer *w, const bl_plan *plan, const char *output);

/* What a solved bit budget chose, and would cost. */
BL_MUST_USE bl_status bl_cli_print_allocation(const bl_allocation *allocation, const char *output,
                                              struct bl_err *err);
BL_MUST_USE bl_status bl_cli_print_allocation_json(const bl_allocation *allocation,
                                                   const char *output, struct bl_err *err);

/* The output must not be one of the inputs, by whatever name. */
BL_MUST_USE bl_status bl_cli_check_output(const char *output, const char *input,
                                          struct bl_err *err);

/*
 * "2/8": part i - 1 of n in *i_part, of at most `most`; without text part 0 of 1. BL_E_USAGE when it
 * is none.
 */
BL_MUST_USE bl_status bl_cli_parse_part(uint32_t *i_part, uint32_t *n_parts, const char *text,
                                        uint32_t most, struct bl_err *err);

bool bl_cli_has_suffix(const char *name, const char *suffix);

#endif
