/* cli.c - the shared manners of all commands. */
#include "cli/cli.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/par.h"
#include "base/size.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_THREADS = 1024 };

bool bl_cli_stderr_is_terminal(void)
{
    return isatty(STDERR_FILENO) == 1;
}

static int print_help(const bl_command *command, const bl_option *table)
{
    struct bl_err err = { 0 };
    bl_text out = { 0 };
    bl_status rc;

    bl_text_printf(&out, "usage: baleen %s %s\n\n%s\n\noptions:\n", command->name, command->usage,
                   command->summary);
    bl_options_print(&out, table);
    rc = bl_cli_print(&out, &err);
    bl_text_release(&out);
    return bl_cli_finish(command, rc, &err);
}

int bl_cli_parse(const char **operand, size_t *n_operands, size_t least, size_t most,
                 const bl_command *command, const bl_option *table, bl_common *common, int argc,
                 char **argv)
{
    struct bl_err err = { 0 };
    bl_status rc;

    common->progress = bl_cli_stderr_is_terminal();
    common->n_threads = bl_min_u64((uint64_t)bl_par_n_processors(), MAX_THREADS);
    rc = bl_options_parse(operand, n_operands, least, most, table, argc, argv, &err);
    if (common->help)
        return print_help(command, table);
    if (rc == BL_OK && (common->n_threads < 1 || common->n_threads > MAX_THREADS))
        rc = bl_fail(&err, BL_E_USAGE, "--threads is from 1 to %d", MAX_THREADS);
    if (rc != BL_OK) {
        fprintf(stderr, "baleen: %s: %s; see 'baleen %s --help'\n", command->name, err.text,
                command->name);
        return BL_EXIT_USAGE;
    }
    if (common->quiet)
        common->progress = false;
    return BL_CLI_RUN;
}

int bl_cli_finish(const bl_command *command, bl_status rc, const struct bl_err *err)
{
    if (rc == BL_OK)
        return BL_EXIT_DONE;
    if (bl_cancel_signal() != SIGPIPE) /* nobody reads any more: `| head` is no failure */
        fprintf(stderr, "baleen: %s: %s\n", command->name, err->text);
    switch (rc) {
    case BL_E_USAGE:
        return BL_EXIT_USAGE;
    case BL_E_MISMATCH:
        return BL_EXIT_NO;
    default:
        return BL_EXIT_FAILED;
    }
}

bl_status bl_cli_parse_part(uint32_t *i_part, uint32_t *n_parts, const char *text, uint32_t most,
                            struct bl_err *err)
{
    unsigned long i, n = 0;
    char *end = NULL;

    *i_part = 0;
    *n_parts = 1;
    if (!text)
        return BL_OK;
    i = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
    if (end && *end == '/' && end[1] >= '0' && end[1] <= '9')
        n = strtoul(end + 1, &end, 10);
    if (n == 0 || *end != '\0' || i < 1 || i > n || n > most)
        return bl_fail(err, BL_E_USAGE, "--part is i/N, i from 1 to N, N at most %u, not '%s'",
                       most, text);
    *i_part = (uint32_t)i - 1;
    *n_parts = (uint32_t)n;
    return BL_OK;
}

static const char *tensor_name(const void *ckpt, size_t i)
{
    return bl_ckpt_tensor(ckpt, i)->name;
}

bl_status bl_cli_sanity_of(bl_sanity **out, const bl_ckpt *ckpt, struct bl_err *err)
{
    return bl_sanity_new(out, bl_ckpt_n_tensors(ckpt), tensor_name, ckpt, err);
}

void bl_cli_say_findings(const bl_command *command, const bl_common *common,
                         const bl_sanity *sanity)
{
    bl_text text = { 0 };

    if (!sanity || common->quiet)
        return;
    bl_sanity_report(&text, sanity);
    for (char *line = text.bytes, *end; line && *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end) /* there was no memory for all of it */
            break;
        *end = '\0';
        fprintf(stderr, "baleen: %s: warning: %s\n", command->name, line);
    }
    bl_text_release(&text);
}

void bl_cli_say_resumed(const bl_command *command, const bl_common *common, double share)
{
    if (share > 0 && !common->quiet)
        fprintf(stderr, "baleen: %s: went on from %.0f %%\n", command->name, 100 * share);
}

void bl_cli_warn(const bl_command *command, const bl_common *common, const char *format, ...)
{
    va_list args;

    if (common->quiet)
        return;
    fprintf(stderr, "baleen: %s: warning: ", command->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

bl_status bl_cli_print(const bl_text *text, struct bl_err *err)
{
    bl_status rc = bl_text_check(text, err);

    if (rc != BL_OK)
        return rc;
    errno = 0;
    if ((text->n > 0 && fwrite(text->bytes, 1, text->n, stdout) != text->n) || fflush(stdout) != 0)
        return bl_fail_errno(err, errno, "cannot write to standard output");
    return BL_OK;
}

/* A folder is replaced as a whole (--force): the input must not be in it. */
static bl_status check_not_inside(const char *output, const char *input, struct bl_err *err)
{
    char folder[PATH_MAX], file[PATH_MAX];
    size_t n;

    if (!realpath(output, folder) || !realpath(input, file))
        return BL_OK;
    n = strlen(folder);
    if (strncmp(folder, file, n) == 0 && file[n] == '/')
        return bl_fail(err, BL_E_USAGE, "%s: the input lies in it", output);
    return BL_OK;
}

static bool is_same_file(const char *path, const char *other)
{
    struct stat a, b;

    return stat(path, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

bl_status bl_cli_check_output(const char *output, const char *input, struct bl_err *err)
{
    size_t n = strlen(output);
    char *partial;
    bl_status rc = BL_OK;

    while (n > 1 && output[n - 1] == '/')
        n--;
    partial = bl_format("%.*s.partial", (int)n, output);
    if (!partial)
        return bl_fail_nomem(err, output);
    if (is_same_file(output, input))
        rc = bl_fail(err, BL_E_USAGE, "%s: the output is the input", output);
    else if (is_same_file(partial, input))
        rc = bl_fail(err, BL_E_USAGE, "%s: the output would be written over the input, %s", output,
                     partial);
    if (rc == BL_OK)
        rc = check_not_inside(output, input, err);
    if (rc == BL_OK)
        rc = check_not_inside(partial, input, err);
    bl_free(partial);
    return rc;
}

bool bl_cli_has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), s = strlen(suffix);

    return n > s && strcmp(name + n - s, suffix) == 0;
}
