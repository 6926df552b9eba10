/* text.c - doubling growth, sticky failure. */
#include "base/text.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Make room for n more bytes and a NUL. */
static bool reserve(bl_text *text, size_t n)
{
    size_t need, size = text->size ? text->size : 256;
    char *grown;

    if (text->failed)
        return false;
    if (__builtin_add_overflow(text->n, n, &need) || __builtin_add_overflow(need, 1, &need)) {
        text->failed = true;
        return false;
    }
    if (need <= text->size)
        return true;
    while (size < need)
        size = size > SIZE_MAX / 2 ? need : size * 2;
    grown = bl_realloc(text->bytes, size, 1);
    if (!grown) {
        text->failed = true;
        return false;
    }
    text->bytes = grown;
    text->size = size;
    return true;
}

void bl_text_add(bl_text *text, const char *bytes, size_t n)
{
    if (!reserve(text, n))
        return;
    if (n > 0) /* bytes may be NULL */
        memcpy(text->bytes + text->n, bytes, n);
    text->n += n;
    text->bytes[text->n] = '\0';
}

void bl_text_puts(bl_text *text, const char *s)
{
    bl_text_add(text, s, strlen(s));
}

void bl_text_put_name(bl_text *text, const char *name)
{
    size_t before = text->n;

    bl_text_puts(text, name);
    if (!text->failed)
        bl_utf8_make_printable(text->bytes + before);
}

void bl_text_printf(bl_text *text, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        text->failed = true;
        return;
    }
    if (!reserve(text, (size_t)n))
        return;
    va_start(args, format);
    vsnprintf(text->bytes + text->n, (size_t)n + 1, format, args);
    va_end(args);
    text->n += (size_t)n;
}

bl_status bl_text_check(const bl_text *text, struct bl_err *err)
{
    return text->failed ? bl_fail_nomem(err, "text") : BL_OK;
}

void bl_text_release(bl_text *text)
{
    bl_free(text->bytes);
    *text = (bl_text){ 0 };
}

int bl_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

const char *bl_text_bytes(char buffer[32], uint64_t n_bytes)
{
    static const char *const units[] = { "bytes", "kB", "MB", "GB", "TB" };
    double v = (double)n_bytes;
    size_t u = 0;

    while (v >= 1000 && u + 1 < sizeof(units) / sizeof(*units)) {
        v /= 1000;
        u++;
    }
    snprintf(buffer, 32, u == 0 ? "%.0f %s" : "%.2f %s", v, units[u]);
    return buffer;
}
