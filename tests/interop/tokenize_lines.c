/*
 * tokenize_lines.c - a helper for tokenizer_random.py and tests/bench/tokenizer.py.
 *
 *     tokenize_lines MODEL               reads texts, one a line, in hexadecimal (they may contain
 *                                        any character); writes their ids, or "error: ..."
 *     tokenize_lines MODEL FILE          encodes a text file as one text, three times; writes the
 *                                        number of ids and the seconds of the fastest time
 *
 * MODEL is a folder with a tokenizer.json, or a GGUF file.
 */
#include "base/alloc.h"
#include "base/source.h"
#include "formats/ckpt/ckpt.h"
#include "model/tokenizer/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Bytes from hexadecimal, in place; returns how many. */
static size_t from_hex(char *line)
{
    size_t n = 0;

    while (bl_hex_digit(line[2 * n]) >= 0 && bl_hex_digit(line[2 * n + 1]) >= 0) {
        line[n] = (char)(bl_hex_digit(line[2 * n]) << 4 | bl_hex_digit(line[2 * n + 1]));
        n++;
    }
    return n;
}

static bl_status encode_lines(const bl_tokenizer *tokenizer, struct bl_err *err)
{
    bl_tokens tokens = { 0 };
    char *line = NULL;
    size_t size = 0;

    while (getline(&line, &size, stdin) > 0) {
        tokens.n = 0;
        if (bl_tokenizer_encode(&tokens, tokenizer, line, from_hex(line), 0, err) != BL_OK)
            printf("error: %s", err->text);
        for (size_t i = 0; i < tokens.n; i++)
            printf(i ? " %" PRId32 : "%" PRId32, tokens.id[i]);
        putchar('\n');
    }
    free(line);
    bl_tokens_release(&tokens);
    return BL_OK;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bl_status time_file(const bl_tokenizer *tokenizer, const char *path, struct bl_err *err)
{
    bl_tokens tokens = { 0 };
    char *text = NULL;
    size_t n = 0;
    double fastest = 1e9;
    bl_status rc = bl_source_read_file(&text, &n, path, 1 << 30, err);

    for (int i = 0; i < 3 && rc == BL_OK; i++) {
        double begin = now(), seconds;

        tokens.n = 0;
        rc = bl_tokenizer_encode(&tokens, tokenizer, text, n, 0, err);
        seconds = now() - begin;
        if (seconds < fastest)
            fastest = seconds;
    }
    if (rc == BL_OK)
        printf("%zu %.6f\n", tokens.n, fastest);
    bl_free(text);
    bl_tokens_release(&tokens);
    return rc;
}

int main(int argc, char **argv)
{
    bl_tokenizer_file *file = NULL;
    bl_tokenizer *tokenizer = NULL;
    struct bl_err err = { 0 };
    bl_status rc = BL_E_USAGE;

    if (argc == 2 || argc == 3)
        rc = bl_ckpt_open_tokenizer(&file, argv[1], &err);
    if (rc == BL_OK)
        rc = bl_tokenizer_new(&tokenizer, file, &err);
    if (rc == BL_OK)
        rc = argc == 2 ? encode_lines(tokenizer, &err) : time_file(tokenizer, argv[2], &err);
    if (rc != BL_OK)
        fprintf(stderr, "tokenize_lines: %s\n", err.text);
    bl_tokenizer_free(tokenizer);
    bl_tokenizer_file_free(file);
    return rc == BL_OK ? 0 : 1;
}
