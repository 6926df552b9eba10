/* html.c - see html.h. */
#include "verify/html.h"

#include "base/utf8.h"
#include "formats/json/json_writer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\n':
        return "\xe2\x86\xb5"; /* an arrow down and to the left */
    case '\t':
        return "\xe2\x87\xa5"; /* an arrow to a bar */
    default:
        return NULL;
    }
}

/* n bytes that are one character. */
static bool can_be_shown(const char *bytes, size_t n, uint32_t c)
{
    char copy[BL_UTF8_MAX + 1] = { 0 };

    memcpy(copy, bytes, n);
    bl_utf8_make_printable(copy);
    return c != 0 && memcmp(copy, bytes, n) == 0 && (c & 0xfffe) != 0xfffe && c != 0x200e &&
           c != 0x200f && c != 0x061c && c != 0xfeff;
}

void bl_html_add(bl_text *out, const char *bytes, size_t n)
{
    while (n > 0) {
        uint32_t c = 0;
        size_t used = bl_utf8_decode(&c, bytes, n);
        const char *instead = used == 1 ? entity(*bytes) : NULL;

        if (instead)
            bl_text_puts(out, instead);
        else if (used > 0 && can_be_shown(bytes, used, c))
            bl_text_add(out, bytes, used);
        else
            bl_text_puts(out, "\xef\xbf\xbd");
        used = used ? used : 1;
        bytes += used;
        n -= used;
    }
}

void bl_html_puts(bl_text *out, const char *s)
{
    bl_html_add(out, s, strlen(s));
}

void bl_html_number(bl_text *out, double value, double scale, int decimals)
{
    bl_json_writer exact = { .text = out };

    if (!isfinite(value)) {
        bl_text_puts(out, isnan(value) ? "not a number" : value > 0 ? "&#8734;" : "&#8722;&#8734;");
        return;
    }
    bl_text_puts(out, "<data value=\"");
    bl_json_put_f64(&exact, value);
    bl_text_printf(out, decimals < 0 ? "\">%.*g</data>" : "\">%.*f</data>", abs(decimals),
                   scale * value);
}

void bl_html_count(bl_text *out, uint64_t value)
{
    bl_text_printf(out, "<data value=\"%" PRIu64 "\">%" PRIu64 "</data>", value, value);
}
