/* utf8.c - decoding as RFC 3629 defines it; what to hide, by code point. */
#include "base/utf8.h"

#include <stdbool.h>
#include <string.h>

size_t bl_utf8_decode(uint32_t *out, const char *text, size_t n)
{
    static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 }; /* by length */
    const unsigned char *p = (const unsigned char *)text;
    size_t length;
    uint32_t c;

    if (n == 0)
        return 0;
    length = *p < 0x80 ? 1 : *p < 0xc0 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf8 ? 4 : 0;
    if (length == 0 || length > n)
        return 0;
    c = length == 1 ? *p : *p & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) /* the terminating NUL among others */
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < smallest[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *out = c;
    return length;
}

/* Control characters, line breaks, and marks that turn the direction of what follows. */
static bool is_dangerous(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

void bl_utf8_make_printable(char *text)
{
    while (*text) {
        uint32_t c = 0;
        size_t n = bl_utf8_decode(&c, text, BL_UTF8_MAX);

        if (n == 0 || is_dangerous(c))
            memset(text, '?', n ? n : 1);
        text += n ? n : 1;
    }
}

void bl_utf8_path_name(char *out, size_t size, const char *path)
{
    size_t n = strlen(path), from;

    while (n > 1 && path[n - 1] == '/')
        n--;
    for (from = n; from > 0 && path[from - 1] != '/'; from--)
        continue;
    n = n - from < size ? n - from : size - 1;
    memcpy(out, path + from, n);
    out[n] = '\0';
    bl_utf8_make_printable(out);
}
