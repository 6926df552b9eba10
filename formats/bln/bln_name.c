/* bln_name.c - names are untrusted: they end up in sentences, in JSON and in paths. */
#include "formats/bln/bln_name.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <inttypes.h>
#include "formats/bln/bln_layout.h"

#include <stdbool.h>
#include <string.h>

static const char *text_fault(const char *name, size_t n, size_t n_max)
{
    size_t length;

    if (n == 0)
        return "is empty";
    if (n > n_max)
        return "is too long";
    for (size_t i = 0; i < n; i += length) {
        uint32_t c;

        length = bl_utf8_decode(&c, name + i, n - i);
        if (length == 0)
            return "is not UTF-8";
        if (c < 0x20 || (c >= 0x7f && c < 0xa0))
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

char *bl_bln_part_name(const char *path, uint32_t part)
{
    return bl_format("%s.%03" PRIu32, path, part);
}
