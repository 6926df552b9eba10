/*
 * cmd_distill.c - small models that learn from large ones: the table of what `baleen distill` does.
 * To add a command: a row here, a declaration in distill_commands.h, a file distill_<name>.c.
 */
#include "cli/distill_commands.h"

#include <stdio.h>
#include <string.h>

/* Whole names, so that errors and help say them; the word that is typed is behind the space. */
static const bl_command commands[] = {
    { "distill init", "-o DIR --from MODEL | --random --tokenizer MODEL | --teacher MODEL",
      "Write the folder of a student: a model that is there, random numbers, or a teacher with\n"
      "fewer layers and channels and its experts as one dense FFN.",
      bl_cmd_distill_init },
    { "distill teach", "MODEL --text FILE|DIR -o CACHE [--kind sampled|top-k|mixed|hidden]",
      "Run a text through the model and keep what it says of every next token, for students to\n"
      "learn from: a folder of shards that can be made in parts and gone on with.",
      bl_cmd_distill_teach },
    { "distill inspect", "CACHE [--json]",
      "Read a cache whole: what it is of, the teacher's perplexity, what the entries cover, bytes.",
      bl_cmd_distill_inspect },
    { "distill merge", "PART... -o CACHE",
      "Gather the shards that several machines made of one cache (teach --part).",
      bl_cmd_distill_merge },
    { "distill train", "STUDENT --cache CACHE -o OUT [--steps N | --epochs X] [--eval FILE]",
      "Let a student learn what a teacher said, and be written as a folder, with a card that says "
      "how.\n"
      "An interrupted training goes on (--resume) to the same bytes.",
      bl_cmd_distill_train },
};

enum { N_COMMANDS = sizeof(commands) / sizeof(*commands) };

static const char *word_of(const bl_command *command)
{
    return strchr(command->name, ' ') + 1;
}

static void put_usage(bl_text *out, const bl_command *distill)
{
    bl_text_printf(out, "usage: baleen distill %s\n\n%s\n\ncommands:\n", distill->usage,
                   distill->summary);
    for (int i = 0; i < N_COMMANDS; i++)
        bl_text_printf(out, "  %-10s %s\n", word_of(&commands[i]), commands[i].usage);
    bl_text_puts(out, "\n'baleen distill <command> --help' tells more.\n");
}

static int complain(const bl_command *distill, const char *name)
{
    bl_text out = { 0 };

    if (*name)
        bl_text_printf(&out, "baleen: distill: no command '%s'\n", name);
    put_usage(&out, distill);
    fputs(out.bytes ? out.bytes : "", stderr);
    bl_text_release(&out);
    return BL_EXIT_USAGE;
}

static int print_help(const bl_command *distill)
{
    struct bl_err err = { 0 };
    bl_text out = { 0 };
    bl_status rc;

    put_usage(&out, distill);
    rc = bl_cli_print(&out, &err);
    bl_text_release(&out);
    return bl_cli_finish(distill, rc, &err);
}

int bl_cmd_distill(const bl_command *command, int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return print_help(command);
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(name, word_of(&commands[i])) == 0)
            return commands[i].run(&commands[i], argc - 1, argv + 1);
    return complain(command, name);
}
