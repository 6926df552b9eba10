/*
 * err.c - error sentences. Names inside them come from untrusted files, so they are made printable
 * (base/utf8.h) before anybody can print them.
 */
#include "base/err.h"

#include "base/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    WHOLE_BYTES = 4096, /* what is formatted before it is shortened */
    TEXT_BYTES = sizeof(((struct bl_err *)0)->text)
};

static bool is_inside_character(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* The sentence names the file at its front and the reason at its end: cut the middle. */
static void shorten(char *out, const char *whole)
{
    size_t n = strlen(whole), head = TEXT_BYTES / 2, tail;

    if (n < TEXT_BYTES) {
        memcpy(out, whole, n + 1);
        return;
    }
    tail = n - (TEXT_BYTES - head - sizeof("..."));
    while (is_inside_character(whole[head]))
        head--;
    while (is_inside_character(whole[tail]))
        tail++;
    memcpy(out, whole, head);
    memcpy(out + head, "...", 3);
    memcpy(out + head + 3, whole + tail, n - tail + 1);
}

/* Formats apart from out, so that out itself may be among the arguments. */
__attribute__((format(printf, 2, 0))) static void write_text(char *out, const char *format,
                                                             va_list args)
{
    char whole[WHOLE_BYTES];

    if (vsnprintf(whole, sizeof(whole), format, args) < 0)
        whole[0] = '\0';
    bl_utf8_make_printable(whole);
    shorten(out, whole);
}

bl_status bl_fail(struct bl_err *err, bl_status status, const char *format, ...)
{
    if (err) {
        va_list args;

        va_start(args, format);
        write_text(err->text, format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

bl_status bl_fail_errno(struct bl_err *err, int errnum, const char *format, ...)
{
    char sentence[TEXT_BYTES];
    char reason[128];
    va_list args;

    va_start(args, format);
    write_text(sentence, format, args);
    va_end(args);
    /* GNU strerror_r: returns the text, which need not lie in the buffer */
    return bl_fail(err, BL_E_IO, "%s: %s", sentence, strerror_r(errnum, reason, sizeof(reason)));
}

void bl_err_prefix(struct bl_err *err, const char *format, ...)
{
    char context[TEXT_BYTES];
    va_list args;

    if (!err)
        return;
    va_start(args, format);
    write_text(context, format, args);
    va_end(args);
    bl_fail(err, err->status, "%s: %s", context, err->text);
}

bl_status bl_fail_nomem(struct bl_err *err, const char *what)
{
    return bl_fail(err, BL_E_NOMEM, "out of memory: %s", what);
}
