/*
 * main.c - the command table. To add a command: a row here, a declaration in cli.h, a file
 * cmd_<name>.c, a transcript in tests/cli/.
 */
#include "base/cancel.h"
#include "base/memory.h"
#include "cli/cli.h"

#include <fcntl.h>
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
    { "calibrate",
      "MODEL --text FILE -o STATS | --merge STATS... -o STATS | --imatrix FILE -o FILE",
      "Run a text through the model and keep what quantization and pruning want to know of every\n"
      "layer and expert; add up what several machines kept; read and write llama.cpp's imatrix.",
      bl_cmd_calibrate },
    { "prune", "MODEL -o OUT --experts N | --ratio X [--stats FILE] [--drop-layers N]",
      "Write the model with fewer experts or layers, stored bytes cut and never encoded again; or "
      "try\n"
      "on texts what that would do (--dry-run --text FILE).",
      bl_cmd_prune },
    { "quantize", "MODEL -o OUT --type TYPE | --size SIZE | --bpw X | --fit SIZE",
      "Write the model with fewer bits a weight, in one pass: x.gguf by a recipe or in a given "
      "size,\n"
      "or a folder for vLLM, transformers or Ascend.",
      bl_cmd_quantize },
    { "verify",
      "MODEL [--against REF | --logits FILE] [--text FILE] [--choices FILE] [--report FILE]",
      "Measure a model: structure and values; against a reference, the error of every tensor; on\n"
      "a text, perplexity and the Kullback-Leibler divergence from the reference.",
      bl_cmd_verify },
    { "distill", "init|teach|train|inspect|merge ...",
      "Small models that learn from large ones: where one comes from, what a teacher says of a\n"
      "text, kept in a cache, and the training.",
      bl_cmd_distill },
    { "tokenize", "MODEL [--bos] [--json] [--decode]",
      "Token ids of standard input, one text a line (--json: one JSON string a line).",
      bl_cmd_tokenize },
};

enum { N_COMMANDS = sizeof(commands) / sizeof(*commands) };

static void put_usage(bl_text *out)
{
    bl_text_puts(out, "usage: baleen <command> [options] MODEL [-o OUT]\n\n"
                      "MODEL is a Hugging Face folder, a .bln or a .gguf file.\n\ncommands:\n");
    for (int i = 0; i < N_COMMANDS; i++)
        bl_text_printf(out, "  %-10s %s\n", commands[i].name, commands[i].usage);
    bl_text_puts(out, "\n'baleen <command> --help' tells more; 'baleen --version' which one this "
                      "is.\n");
}

/* Answer --version or --help. */
static int answer(bool version)
{
    struct bl_err err = { 0 };
    bl_text out = { 0 };
    bl_status rc;

    if (version)
        bl_text_puts(&out, "baleen " BL_VERSION "\n");
    else
        put_usage(&out);
    rc = bl_cli_print(&out, &err);
    if (rc != BL_OK)
        fprintf(stderr, "baleen: %s\n", err.text);
    bl_text_release(&out);
    return rc == BL_OK ? BL_EXIT_DONE : BL_EXIT_FAILED;
}

static int complain(const char *name)
{
    bl_text out = { 0 };

    if (*name)
        bl_text_printf(&out, "baleen: no command '%s'\n", name);
    put_usage(&out);
    fputs(out.bytes ? out.bytes : "", stderr);
    bl_text_release(&out);
    return BL_EXIT_USAGE;
}

/*
 * A standard stream that is closed would lend its number to the next file that is opened, and what
 * is printed would go there. Take the number so that reading or printing fails as before.
 */
static void occupy_closed_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0)
            return;
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

    occupy_closed_streams();
    if (strcmp(name, "--version") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return answer(name[2] == 'v');
    bl_cancel_on_signals();
    bl_memory_return_freed();
    for (int i = 0; i < N_COMMANDS; i++) {
        int code;

        if (strcmp(name, commands[i].name) != 0)
            continue;
        code = commands[i].run(&commands[i], argc - 1, argv + 1);
        /* A signal that came when everything was done, the output in place, changed nothing. */
        return code != BL_EXIT_DONE && bl_cancel_signal() ? die_by(bl_cancel_signal()) : code;
    }
    return complain(name);
}
