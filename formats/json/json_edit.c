/*
 * json_edit.c - change one member of an object in its text. A config.json is somebody's document:
 * parsing and printing it again would respell its numbers (2.0 as 2, which some loaders refuse).
 */
#include "formats/json/json.h"

#include "formats/json/json_check.h"

#include <stdbool.h>
#include <string.h>

struct span {
    size_t begin, end;
};

/* Where member `key` of the outermost object stands, its value, and the comma to drop with it. */
static bool find_member(struct span *member, struct span *value, const char *text, size_t n,
                        const char *key)
{
    size_t at = bl_json_skip_space(text, n, 0) + 1; /* behind the '{' */
    size_t n_key = strlen(key);

    for (;;) {
        size_t start, key_end;

        at = bl_json_skip_space(text, n, at);
        if (at >= n || text[at] != '"')
            return false;
        start = at;
        key_end = bl_json_skip_value(text, n, at);
        at = bl_json_skip_space(text, n, key_end) + 1; /* behind the ':' */
        value->begin = bl_json_skip_space(text, n, at);
        value->end = bl_json_skip_value(text, n, value->begin);
        member->begin = start;
        member->end = value->end;
        if (key_end - start == n_key + 2 && memcmp(text + start + 1, key, n_key) == 0)
            return true;
        at = bl_json_skip_space(text, n, value->end);
        if (at >= n || text[at] != ',')
            return false;
        at++;
    }
}

/* Add a member behind the last one, before the closing bracket. */
static void append_member(bl_text *out, const char *text, size_t n, const char *key,
                          const char *new_value)
{
    size_t close = n, last;

    while (close > 0 && text[close - 1] != '}')
        close--;
    last = close > 0 ? close - 1 : 0;
    while (last > 0 && memchr(" \t\r\n", text[last - 1], 4))
        last--;
    bl_text_add(out, text, last);
    bl_text_printf(out, "%s\n  \"%s\": %s\n", last > 0 && text[last - 1] == '{' ? "" : ",", key,
                   new_value);
    bl_text_add(out, text + close - 1, n - close + 1);
}

void bl_json_set_member(bl_text *out, const char *text, size_t n, const char *key,
                        const char *new_value)
{
    struct span member, value;

    if (!find_member(&member, &value, text, n, key)) {
        if (new_value)
            append_member(out, text, n, key, new_value);
        else
            bl_text_add(out, text, n);
        return;
    }
    if (new_value) {
        bl_text_add(out, text, value.begin);
        bl_text_puts(out, new_value);
        bl_text_add(out, text + value.end, n - value.end);
        return;
    }
    /* Remove with one comma: the one behind, or, for the last member, the one in front. */
    size_t behind = bl_json_skip_space(text, n, member.end);

    if (behind < n && text[behind] == ',') {
        member.end = bl_json_skip_space(text, n, behind + 1);
    } else {
        size_t before = member.begin;

        while (before > 0 && memchr(" \t\r\n", text[before - 1], 4))
            before--;
        if (before > 0 && text[before - 1] == ',')
            member.begin = before - 1;
    }
    bl_text_add(out, text, member.begin);
    bl_text_add(out, text + member.end, n - member.end);
}

bl_status bl_json_edit_member(bl_text *text, const char *key, const char *new_value,
                              struct bl_err *err)
{
    bl_text edited = { 0 };

    bl_json_set_member(&edited, text->bytes, text->n, key, new_value);
    bl_text_release(text);
    *text = edited;
    return bl_text_check(text, err);
}
