/*
 * main.c - the command table. To add a command: a row here, a declaration in cli.h, a file
 * cmd_<name>.c, a transcript in tests/cli/.
 */
#include "base/cancel.h"
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const bl_command commands[] = {
    { "inspect", "MODEL [--tensors] [--json]",
      "Show what a checkpoint holds: architecture, parameters, tensors by role and type, bytes.",
      bl_cmd_inspect },
    { "convert", "MODEL -o OUT [--dtype f32|bf16|f16]",
      "Write the same model as another kind of file: x.bln (lossless, one file), x.gguf, or from\n"
      "x.bln back to the folder it was made from, byte for byte.",
      bl_cmd_convert },
    { "quantize", "MODEL -o OUT --type q8_0|q4_0|int4",
      "Write the model with fewer bits a weight, in one pass: x.gguf (q8_0, q4_0) or a folder for\n"
      "vLLM and transformers (int4: compressed-tensors, symmetric, groups of 128).",
      bl_cmd_quantize },
    { "verify", "MODEL [--against REF] [--text FILE] [--max-kld X]",
      "Measure a model: structure and values; against a reference, the error of every tensor; on\n"
      "a text, perplexity and the Kullback-Leibler divergence from the reference.",
      bl_cmd_verify },
    { "tokenize", "MODEL [--bos] [--json] [--decode]",
      "Token ids of standard input, one text a line (--json: one JSON string a line).",
      bl_cmd_tokenize },
};

enum { N_COMMANDS = sizeof(commands) / sizeof(*commands) };

static void print_usage(FILE *to)
{
    fprintf(to, "usage: baleen <command> [options] MODEL [-o OUT]\n\n"
                "MODEL is a Hugging Face folder, a .bln or a .gguf file.\n\ncommands:\n");
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].usage);
    fprintf(to, "\n'baleen <command> --help' tells more; 'baleen --version' which one this is.\n");
}

/* End as the signal would have ended us, so that the shell sees it. */
static int die_by(int signal_number)
{
    signal(signal_number, SIG_DFL);
    raise(signal_number);
    return 128 + signal_number;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    if (strcmp(name, "--version") == 0) {
        puts("baleen " BL_VERSION);
        return BL_EXIT_DONE;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        print_usage(stdout);
        return BL_EXIT_DONE;
    }
    bl_cancel_on_signals();
    for (int i = 0; i < N_COMMANDS; i++) {
        int code;

        if (strcmp(name, commands[i].name) != 0)
            continue;
        code = commands[i].run(&commands[i], argc - 1, argv + 1);
        return bl_cancel_signal() ? die_by(bl_cancel_signal()) : code;
    }
    if (*name)
        fprintf(stderr, "baleen: no command '%s'\n", name);
    print_usage(stderr);
    return BL_EXIT_USAGE;
}
