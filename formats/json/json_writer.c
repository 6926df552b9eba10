/* json_writer.c - two spaces a level, one member a line (or all in one, when compact). */
#include "formats/json/json_writer.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>

static void new_line(bl_json_writer *w)
{
    if (w->compact)
        return;
    bl_text_puts(w->text, "\n");
    for (uint32_t i = 0; i < w->depth; i++)
        bl_text_puts(w->text, "  ");
}

/* What stands between the last thing written and the value that follows. */
static void begin_value(bl_json_writer *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->has_member)
        bl_text_puts(w->text, ",");
    if (w->depth > 0)
        new_line(w);
    w->has_member = true;
}

static void open_bracket(bl_json_writer *w, const char *bracket)
{
    begin_value(w);
    bl_text_puts(w->text, bracket);
    w->depth++;
    w->has_member = false;
}

static void close_bracket(bl_json_writer *w, const char *bracket)
{
    w->depth--;
    if (w->has_member)
        new_line(w);
    bl_text_puts(w->text, bracket);
    w->has_member = true;
}

void bl_json_begin_object(bl_json_writer *w)
{
    open_bracket(w, "{");
}

void bl_json_end_object(bl_json_writer *w)
{
    close_bracket(w, "}");
}

void bl_json_begin_array(bl_json_writer *w)
{
    open_bracket(w, "[");
}

void bl_json_end_array(bl_json_writer *w)
{
    close_bracket(w, "]");
}

static void put_quoted(bl_text *text, const char *s)
{
    bl_text_puts(text, "\"");
    while (*s) {
        uint32_t c = 0xfffd;
        size_t n = bl_utf8_decode(&c, s, BL_UTF8_MAX);

        if (c == '"' || c == '\\')
            bl_text_printf(text, "\\%c", (char)c);
        else if (n == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
            bl_text_printf(text, "\\u%04" PRIx32, c);
        else
            bl_text_add(text, s, n);
        s += n ? n : 1;
    }
    bl_text_puts(text, "\"");
}

void bl_json_put_key(bl_json_writer *w, const char *key)
{
    begin_value(w);
    put_quoted(w->text, key);
    bl_text_puts(w->text, w->compact ? ":" : ": ");
    w->after_key = true;
}

void bl_json_put_string(bl_json_writer *w, const char *s)
{
    begin_value(w);
    if (s)
        put_quoted(w->text, s);
    else
        bl_text_puts(w->text, "null");
}

void bl_json_put_u64(bl_json_writer *w, uint64_t v)
{
    begin_value(w);
    bl_text_printf(w->text, "%" PRIu64, v);
}

void bl_json_put_f64(bl_json_writer *w, double v)
{
    begin_value(w);
    if (isfinite(v))
        bl_text_printf(w->text, "%.10g", v);
    else
        bl_text_puts(w->text, "null");
}

void bl_json_put_bool(bl_json_writer *w, bool v)
{
    begin_value(w);
    bl_text_puts(w->text, v ? "true" : "false");
}

void bl_json_put_raw(bl_json_writer *w, const char *json)
{
    begin_value(w);
    bl_text_puts(w->text, json);
}

void bl_json_pair_string(bl_json_writer *w, const char *key, const char *s)
{
    bl_json_put_key(w, key);
    bl_json_put_string(w, s);
}

void bl_json_pair_u64(bl_json_writer *w, const char *key, uint64_t v)
{
    bl_json_put_key(w, key);
    bl_json_put_u64(w, v);
}

void bl_json_pair_f64(bl_json_writer *w, const char *key, double v)
{
    bl_json_put_key(w, key);
    bl_json_put_f64(w, v);
}

void bl_json_pair_bool(bl_json_writer *w, const char *key, bool v)
{
    bl_json_put_key(w, key);
    bl_json_put_bool(w, v);
}
