/* bln_name.c - names are untrusted: they end up in sentences, in JSON and in paths. */
#include "formats/bln/bln_name.h"

#include "formats/bln/bln_layout.h"

#include <stdbool.h>
#include <string.h>

/* Bytes of the well-formed UTF-8 sequence (Unicode, table 3-7) at s[0..n); 0 when it is none. */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte */
    size_t length;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (n < length)
        return 0;
    if (s[0] == 0xe0)
        low = 0xa0; /* shorter forms exist */
    else if (s[0] == 0xed)
        high = 0x9f; /* surrogates */
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f; /* past U+10FFFF */
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    return length;
}

static const char *text_fault(const char *name, size_t n, size_t n_max)
{
    const unsigned char *s = (const unsigned char *)name;
    size_t length;

    if (n == 0)
        return "is empty";
    if (n > n_max)
        return "is too long";
    for (size_t i = 0; i < n; i += length) {
        length = utf8_length(s + i, n - i);
        if (length == 0)
            return "is not UTF-8";
        if (s[i] < 0x20 || s[i] == 0x7f || (s[i] == 0xc2 && s[i + 1] < 0xa0))
            return "has a control character";
    }
    return NULL;
}

const char *bl_bln_tensor_name_fault(const char *name, size_t n)
{
    return text_fault(name, n, BL_BLN_MAX_TENSOR_NAME);
}

const char *bl_bln_file_name_fault(const char *name, size_t n)
{
    const char *fault = text_fault(name, n, BL_BLN_MAX_FILE_NAME);
    bool dots = (n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.');

    if (fault)
        return fault;
    return dots || memchr(name, '/', n) ? "is not a plain file name" : NULL;
}
