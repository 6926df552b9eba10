/*
 * cmd_tokenize.c - lines of text to lines of token ids, and back with --decode.
 */
#include "base/alloc.h"
#include "cli/cli.h"
#include "formats/ckpt/ckpt.h"
#include "formats/json/json.h"
#include "formats/json/json_writer.h"
#include "model/tokenizer/tokenizer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    bl_common common;
    bool bos, decode;
};

enum { FLUSH_BYTES = 1 << 16 };

static bl_status encode_line(bl_text *out, const bl_tokenizer *tokenizer, const struct options *o,
                             const char *line, size_t n, struct bl_err *err)
{
    bl_tokens tokens = { 0 };
    bl_json *json = NULL;
    bl_status rc = BL_OK;

    if (o->common.json) {
        rc = bl_json_parse(&json, "standard input", line, n, 0, err);
        if (rc == BL_OK && !bl_json_string(bl_json_root(json)))
            rc = bl_fail(err, BL_E_FORMAT, "standard input: a line is not a JSON string");
        if (rc == BL_OK) {
            line = bl_json_string(bl_json_root(json));
            n = strlen(line);
        }
    }
    if (rc == BL_OK)
        rc = bl_tokenizer_encode(&tokens, tokenizer, line, n, o->bos ? BL_ENCODE_BOS : 0, err);
    for (size_t i = 0; i < tokens.n && rc == BL_OK; i++)
        bl_text_printf(out, i ? " %" PRId32 : "%" PRId32, tokens.id[i]);
    bl_text_puts(out, "\n");
    bl_tokens_release(&tokens);
    bl_json_free(json);
    return rc;
}

/* A line of decimal ids. */
static bl_status parse_ids(bl_tokens *tokens, const char *line, struct bl_err *err)
{
    bl_status rc = BL_OK;

    while (rc == BL_OK) {
        char *end;
        long id;

        line += strspn(line, " \t\r\n");
        if (*line == '\0')
            return BL_OK;
        errno = 0;
        id = strtol(line, &end, 10);
        if (end == line || errno != 0 || id < 0 || id > INT32_MAX)
            return bl_fail(err, BL_E_FORMAT, "standard input: '%.20s' is not a token id", line);
        rc = bl_tokens_add(tokens, (int32_t)id, err);
        line = end;
    }
    return rc;
}

static bl_status decode_line(bl_text *out, const bl_tokenizer *tokenizer, const struct options *o,
                             const char *line, size_t n, struct bl_err *err)
{
    bl_tokens tokens = { 0 };
    bl_text text = { 0 };
    bl_json_writer w = { .text = out, .compact = true };
    bl_status rc = strlen(line) == n ? parse_ids(&tokens, line, err)
                                     : bl_fail(err, BL_E_FORMAT, "standard input: a NUL byte");

    bl_text_puts(&text, "");
    if (rc == BL_OK)
        rc = bl_tokenizer_decode(&text, tokenizer, tokens.id, tokens.n, 0, err);
    if (rc == BL_OK)
        rc = bl_text_check(&text, err);
    if (rc == BL_OK && o->common.json)
        bl_json_put_string(&w, text.bytes);
    else if (rc == BL_OK)
        bl_text_add(out, text.bytes, text.n);
    bl_text_puts(out, "\n");
    bl_text_release(&text);
    bl_tokens_release(&tokens);
    return rc;
}

static bl_status run(const bl_tokenizer *tokenizer, const struct options *o, struct bl_err *err)
{
    bl_text out = { 0 };
    bl_status rc = BL_OK;
    char *line = NULL;
    size_t size = 0;
    ssize_t n;

    while (rc == BL_OK && (n = getline(&line, &size, stdin)) >= 0) {
        if (n > 0 && line[n - 1] == '\n')
            line[--n] = '\0';
        rc = o->decode ? decode_line(&out, tokenizer, o, line, (size_t)n, err)
                       : encode_line(&out, tokenizer, o, line, (size_t)n, err);
        if (rc == BL_OK && out.n >= FLUSH_BYTES) {
            rc = bl_cli_print(&out, err);
            out.n = 0;
        }
    }
    if (rc == BL_OK && ferror(stdin))
        rc = bl_fail_errno(err, errno, "standard input: cannot read");
    if (rc == BL_OK)
        rc = bl_cli_print(&out, err);
    free(line); /* getline's own */
    bl_text_release(&out);
    return rc;
}

int bl_cmd_tokenize(const bl_command *command, int argc, char **argv)
{
    struct options o = { 0 };
    const bl_option table[] = {
        { "--bos", 0, BL_OPTION_FLAG, &o.bos, NULL, "begin every line with the BOS token" },
        { "--decode", 0, BL_OPTION_FLAG, &o.decode, NULL, "ids to text" },
        { "--json", 0, BL_OPTION_FLAG, &o.common.json, NULL, "texts are JSON strings" },
        BL_OPTION_HELP(o.common),
        BL_OPTION_END,
    };
    struct bl_err err = { 0 };
    bl_tokenizer_file *file = NULL;
    bl_tokenizer *tokenizer = NULL;
    const char *path;
    size_t n;
    int early = bl_cli_parse(&path, &n, 1, 1, command, table, &o.common, argc, argv);
    bl_status rc;

    if (early != BL_CLI_RUN)
        return early;
    rc = bl_ckpt_open_tokenizer(&file, path, &err);
    if (rc == BL_OK)
        rc = bl_tokenizer_new(&tokenizer, file, &err);
    if (rc == BL_OK && o.bos && file->bos < 0)
        rc = bl_fail(&err, BL_E_USAGE, "%s: the tokenizer names no BOS token", path);
    if (rc == BL_OK)
        rc = run(tokenizer, &o, &err);
    bl_tokenizer_free(tokenizer);
    bl_tokenizer_file_free(file);
    return bl_cli_finish(command, rc, &err);
}
