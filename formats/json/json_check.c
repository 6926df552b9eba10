/*
 * json_check.c - RFC 8259 as a scanner with an explicit stack of open brackets. It exists because
 * cJSON accepts what the specification forbids (leading zeros, a byte-order mark, bad UTF-8,
 * \u0000 that cuts a string short), and because a tool that reads strangers' headers must not.
 */
#include "formats/json/json_check.h"

#include "base/text.h"
#include "base/utf8.h"
#include "formats/json/json.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { MAX_NUMBER = 60 }; /* characters; cJSON cuts numbers at 63 */

struct scanner {
    const char *name;
    const unsigned char *text;
    size_t n, at;
    unsigned flags;
    struct bl_err *err;
};

static bl_status complain(const struct scanner *s, const char *what)
{
    return bl_fail(s->err, BL_E_FORMAT, "%s: not valid JSON at byte %zu: %s", s->name, s->at, what);
}

/* The current byte; 0 at the end (a NUL inside the text is refused wherever it stands). */
static unsigned char peek(const struct scanner *s)
{
    return s->at < s->n ? s->text[s->at] : 0;
}

static void skip_space(struct scanner *s)
{
    s->at = bl_json_skip_space((const char *)s->text, s->n, s->at);
}

/* Four hexadecimal digits at s->at; -1 when they are not. */
static int32_t scan_hex4(struct scanner *s)
{
    int32_t v = 0;

    if (s->n - s->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int d = bl_hex_digit((char)s->text[s->at + (size_t)i]);

        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    s->at += 4;
    return v;
}

static bl_status scan_unicode_escape(struct scanner *s)
{
    int32_t high = scan_hex4(s), low;

    if (high < 0)
        return complain(s, "\\u without four hexadecimal digits");
    if (high == 0)
        return complain(s, "a NUL inside a string");
    if (high < 0xd800 || high > 0xdfff)
        return BL_OK;
    if (high > 0xdbff || s->n - s->at < 6 || s->text[s->at] != '\\' || s->text[s->at + 1] != 'u')
        return complain(s, "half of a surrogate pair");
    s->at += 2;
    low = scan_hex4(s);
    return low >= 0xdc00 && low <= 0xdfff ? BL_OK : complain(s, "half of a surrogate pair");
}

/* One character of two to four bytes. */
static bl_status scan_utf8(struct scanner *s)
{
    uint32_t c;
    size_t n = bl_utf8_decode(&c, (const char *)s->text + s->at, s->n - s->at);

    if (n == 0)
        return complain(s, "bad UTF-8");
    s->at += n;
    return BL_OK;
}

static bl_status scan_string(struct scanner *s)
{
    s->at++; /* the opening quote */
    for (;;) {
        unsigned char c = peek(s);
        bl_status rc = BL_OK;

        if (c == '"') {
            s->at++;
            return BL_OK;
        }
        if (c < 0x20)
            return complain(s, s->at >= s->n ? "the text ends inside a string"
                                             : "a control character inside a string");
        if (c == '\\') {
            s->at++;
            c = peek(s);
            if (c == 0 || !strchr("\"\\/bfnrtu", c))
                return complain(s, "an unknown escape");
            s->at++;
            if (c == 'u')
                rc = scan_unicode_escape(s);
        } else if (c < 0x80) {
            s->at++;
        } else {
            rc = scan_utf8(s);
        }
        if (rc != BL_OK)
            return rc;
    }
}

static bool scan_digits(struct scanner *s)
{
    size_t start = s->at;

    while (peek(s) >= '0' && peek(s) <= '9')
        s->at++;
    return s->at > start;
}

static bl_status scan_number(struct scanner *s)
{
    bool integer = true;
    size_t start = s->at;

    if (peek(s) == '-')
        s->at++;
    if (peek(s) == '0')
        s->at++;
    else if (!scan_digits(s))
        return complain(s, "a value is expected");
    if (peek(s) == '.') {
        integer = false;
        s->at++;
        if (!scan_digits(s))
            return complain(s, "a fraction without digits");
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        integer = false;
        s->at++;
        if (peek(s) == '+' || peek(s) == '-')
            s->at++;
        if (!scan_digits(s))
            return complain(s, "an exponent without digits");
    }
    if (!integer && (s->flags & BL_JSON_INTEGERS_ONLY))
        return complain(s, "an integer is expected");
    if (s->at - start > MAX_NUMBER)
        return complain(s, "a number of absurd length");
    return BL_OK;
}

static bl_status scan_scalar(struct scanner *s)
{
    static const char *const words[] = { "true", "false", "null" };

    if (peek(s) == '"')
        return scan_string(s);
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);

        if (s->n - s->at >= n && memcmp(s->text + s->at, words[i], n) == 0) {
            s->at += n;
            return BL_OK;
        }
    }
    return scan_number(s);
}

/* A key and its colon. */
static bl_status scan_key(struct scanner *s)
{
    bl_status rc;

    if (peek(s) != '"')
        return complain(s, "a key is expected");
    rc = scan_string(s);
    if (rc != BL_OK)
        return rc;
    skip_space(s);
    if (peek(s) != ':')
        return complain(s, "':' is expected");
    s->at++;
    skip_space(s);
    return BL_OK;
}

/* After a value: close brackets, then either the end (*more false) or the place of the next value. */
static bl_status scan_between(struct scanner *s, char *open, size_t *depth, bool *more)
{
    for (;;) {
        skip_space(s);
        *more = *depth > 0;
        if (!*more)
            return BL_OK;
        if (peek(s) == (open[*depth - 1] == '{' ? '}' : ']')) {
            s->at++;
            --*depth;
            continue;
        }
        if (peek(s) != ',')
            return complain(s, "',' or a closing bracket is expected");
        s->at++;
        skip_space(s);
        return open[*depth - 1] == '{' ? scan_key(s) : BL_OK;
    }
}

static bl_status scan_value(struct scanner *s)
{
    char open[BL_JSON_MAX_DEPTH];
    size_t depth = 0;
    bool more = true;

    while (more) {
        unsigned char c = peek(s);
        bl_status rc;

        if (c == '{' || c == '[') {
            if (depth == BL_JSON_MAX_DEPTH)
                return complain(s, "nested too deeply");
            open[depth++] = (char)c;
            s->at++;
            skip_space(s);
            if (peek(s) != (c == '{' ? '}' : ']')) {
                rc = c == '{' ? scan_key(s) : BL_OK;
                if (rc != BL_OK)
                    return rc;
                continue; /* to the first member's value */
            }
        } else {
            rc = scan_scalar(s);
            if (rc != BL_OK)
                return rc;
        }
        rc = scan_between(s, open, &depth, &more);
        if (rc != BL_OK)
            return rc;
    }
    return BL_OK;
}

bl_status bl_json_check(const char *name, const char *text, size_t n, unsigned flags,
                        struct bl_err *err)
{
    struct scanner s = { name, (const unsigned char *)text, n, 0, flags, err };
    bl_status rc;

    skip_space(&s);
    rc = scan_value(&s);
    if (rc != BL_OK)
        return rc;
    return s.at == n ? BL_OK : complain(&s, "text behind the value");
}

size_t bl_json_skip_space(const char *text, size_t n, size_t at)
{
    while (at < n && (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r'))
        at++;
    return at;
}

size_t bl_json_skip_value(const char *text, size_t n, size_t at)
{
    size_t depth = 0;

    for (; at < n; at++) {
        char c = text[at];

        if (c == '"') {
            for (at++; at < n && text[at] != '"'; at++)
                if (text[at] == '\\')
                    at++;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        } else if (depth == 0 && (c == ',' || c == '}' || c == ']' || c == ' ' || c == '\n' ||
                                  c == '\r' || c == '\t')) {
            return at; /* a number or word ends here */
        }
        if (depth == 0 && (c == '"' || c == '}' || c == ']'))
            return at + 1;
    }
    return n;
}
