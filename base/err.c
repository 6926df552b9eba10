/*
 * err.c - error sentences. Names inside them come from untrusted files, so what is not UTF-8 and
 * characters that act on a terminal are replaced before anybody can print them, byte for byte.
 */
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    WHOLE_BYTES = 4096, /* what is formatted before it is shortened */
    TEXT_BYTES = sizeof(((struct bl_err *)0)->text)
};

/* The code point of the UTF-8 sequence at p and its length in bytes; 0 when it is not UTF-8. */
static size_t decode_character(uint32_t *out, const unsigned char *p)
{
    static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 }; /* by length */
    size_t n = *p < 0x80 ? 1 : *p < 0xc0 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf8 ? 4 : 0;
    uint32_t c = n == 1 ? *p : *p & (0x7fu >> n);

    if (n == 0)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) /* the terminating NUL among others */
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *out = c;
    return n;
}

/* Control characters, line breaks, and marks that turn the direction of what follows. */
static bool is_dangerous(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

static void replace_dangerous_characters(char *text)
{
    unsigned char *p = (unsigned char *)text;

    while (*p) {
        uint32_t c = 0;
        size_t n = decode_character(&c, p);

        if (n == 0 || is_dangerous(c))
            memset(p, '?', n ? n : 1);
        p += n ? n : 1;
    }
}

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
    replace_dangerous_characters(whole);
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
