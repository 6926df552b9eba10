/*
 * tokenizer_pattern.c - one pass over an expression, every construct either known to mean the same
 * in both engines, rewritten until it does, or refused.
 *
 * Rewritten: categories get the characters that PCRE2's Unicode version lacks; \s is the White_Space
 * property (PCRE2 has U+180E in it); \v is one character, not a class; groups do not capture.
 * Refused, because the engines differ: ^ . inside options, nested classes and &&, [:names:], \w \b
 * \h, back references, {n}+ (to Oniguruma a repetition of a repetition), {n}? and {,n}.
 */
#include "model/tokenizer/tokenizer_pattern.h"

#include "base/text.h"
#include "model/tokenizer/tokenizer_tables.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { MAX_GROUPS = 64 };

#define WHITE_SPACE                                                                                \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"    \
    "\\x{205f}\\x{3000}"

struct translator {
    bl_text *out;
    const char *pattern, *at; /* at: the next byte to read */
    unsigned depth;           /* open groups */
    unsigned fold_depth;      /* depth of the (?i: that is open, 0 = none */
    char folded;              /* the letter before, inside (?i: */
    struct bl_err *err;
};

static bl_status refuse(const struct translator *t, const char *what)
{
    return bl_fail(t->err, BL_E_UNSUPPORTED,
                   "split expression '%.200s': %s at byte %zu is not supported", t->pattern, what,
                   (size_t)(t->at - t->pattern));
}

static void put_code_point(struct translator *t, uint32_t c)
{
    bl_text_printf(t->out, "\\x{%x}", (unsigned)c);
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Hexadecimal digits at t->at, at least min and at most max of them. */
static bool read_hex(uint32_t *out, struct translator *t, int min, int max)
{
    uint32_t v = 0;
    int n = 0;

    for (; n < max && bl_hex_digit(*t->at) >= 0; n++)
        v = v << 4 | (uint32_t)bl_hex_digit(*t->at++);
    *out = v;
    return n >= min && v < 0x110000 && (v < 0xd800 || v > 0xdfff);
}

/* The code point of UTF-8 that is known to be valid. */
static uint32_t read_utf8(struct translator *t)
{
    const unsigned char *s = (const unsigned char *)t->at;
    uint32_t c = *s++;
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

    c &= more ? 0x3fu >> more : 0x7fu;
    while (more-- > 0 && *s)
        c = c << 6 | (*s++ & 0x3fu);
    t->at = (const char *)s;
    return c;
}

/* An escape that stands for one character; t->at is behind the backslash. */
static bl_status read_character_escape(uint32_t *out, struct translator *t)
{
    static const char names[] = "rntfvae", values[] = "\r\n\t\f\v\a\x1b";
    const char *known = *t->at ? strchr(names, *t->at) : NULL;
    bool good = true;

    if (known) {
        *out = (uint32_t)values[known - names];
        t->at++;
    } else if (*t->at == 'u') {
        t->at++;
        good = read_hex(out, t, 4, 4);
    } else if (*t->at == 'x' && t->at[1] == '{') {
        t->at += 2;
        good = read_hex(out, t, 1, 8) && *t->at == '}';
        t->at += good;
    } else if (*t->at == 'x') {
        t->at++;
        good = read_hex(out, t, 2, 2) && *out < 0x80; /* beyond, it is a byte to Oniguruma */
    } else if (*t->at > ' ' && *t->at < 0x7f && !is_letter(*t->at) &&
               !(*t->at >= '0' && *t->at <= '9')) {
        *out = (unsigned char)*t->at++;
    } else {
        good = false;
    }
    return good ? BL_OK : refuse(t, "an escape");
}

/* The class text of \p{X} at t->at (behind the p): "\p{X}" and what Unicode added to it. */
static bl_status put_category(struct translator *t)
{
    for (const struct bl_tokenizer_category *c = bl_tokenizer_categories; c->name; c++) {
        size_t n = strlen(c->name);

        if (t->at[0] == '{' && strncmp(t->at + 1, c->name, n) == 0 && t->at[n + 1] == '}') {
            bl_text_printf(t->out, "\\p{%s}%s", c->name, c->added);
            t->at += n + 2;
            return BL_OK;
        }
    }
    return refuse(t, "a property");
}

/*
 * An escape that stands for a set; t->at is on its letter. Outside a class the set gets brackets.
 * *is_set tells whether there was one.
 */
static bl_status put_set_escape(bool *is_set, struct translator *t, bool in_class)
{
    char letter = *t->at;
    bool negated = letter == 'P' || letter == 'S' || letter == 'D';
    bl_status rc = BL_OK;

    *is_set = letter && strchr("pPsSdD", letter) != NULL;
    if (!*is_set)
        return BL_OK;
    if (negated && in_class)
        return refuse(t, "a negated set inside a class");
    if (t->fold_depth)
        return refuse(t, "a set under (?i:");
    t->at++;
    if (!in_class)
        bl_text_puts(t->out, negated ? "[^" : "[");
    if (letter == 's' || letter == 'S') {
        bl_text_puts(t->out, WHITE_SPACE);
    } else if (letter == 'd' || letter == 'D') {
        const char *rest = t->at;

        t->at = "{Nd}";
        rc = put_category(t);
        t->at = rest;
    } else {
        rc = put_category(t);
    }
    if (!in_class)
        bl_text_puts(t->out, "]");
    return rc;
}

/* One character of a class, plain or escaped; false in *is_character when it was a set. */
static bl_status read_class_member(uint32_t *c, bool *is_character, struct translator *t)
{
    bool is_set = false;
    bl_status rc = BL_OK;

    *is_character = true;
    if (*t->at == '\\') {
        t->at++;
        rc = put_set_escape(&is_set, t, true);
        *is_character = !is_set;
        return rc == BL_OK && !is_set ? read_character_escape(c, t) : rc;
    }
    if (*t->at == '[' || (t->at[0] == '&' && t->at[1] == '&'))
        return refuse(t, "a nested class");
    if (!*t->at)
        return refuse(t, "a class without its end");
    *c = read_utf8(t);
    return BL_OK;
}

/* A class; t->at is behind the bracket. */
static bl_status put_class(struct translator *t)
{
    bl_status rc = BL_OK;

    if (t->fold_depth)
        return refuse(t, "a class under (?i:");
    bl_text_puts(t->out, "[");
    if (*t->at == '^') {
        bl_text_puts(t->out, "^");
        t->at++;
    }
    if (*t->at == ']' || *t->at == '-')
        return refuse(t, "a class that begins with ] or -");
    while (*t->at != ']') {
        uint32_t first = 0, last = 0;
        bool is_character;

        rc = read_class_member(&first, &is_character, t);
        if (rc != BL_OK)
            return rc;
        if (!is_character) {
            if (*t->at == '-' && t->at[1] != ']')
                return refuse(t, "a range from a set");
            continue;
        }
        put_code_point(t, first);
        if (*t->at != '-' || t->at[1] == ']')
            continue;
        t->at++;
        rc = read_class_member(&last, &is_character, t);
        if (rc != BL_OK)
            return rc;
        if (!is_character || last < first)
            return refuse(t, "a range without order");
        bl_text_puts(t->out, "-");
        put_code_point(t, last);
    }
    t->at++;
    bl_text_puts(t->out, "]");
    return BL_OK;
}

/* A group; t->at is on its parenthesis. */
static bl_status open_group(struct translator *t)
{
    static const char *const kinds[] = { "(?:", "(?>", "(?=", "(?!", "(?<=", "(?<!", "(?i:" };

    if (t->fold_depth || t->depth == MAX_GROUPS)
        return refuse(t, "a group this deep");
    t->depth++;
    if (t->at[1] != '?') {
        t->at++;
        bl_text_puts(t->out, "(?:");
        return BL_OK;
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        size_t n = strlen(kinds[i]);

        if (strncmp(t->at, kinds[i], n) == 0) {
            bl_text_puts(t->out, kinds[i]);
            t->at += n;
            t->folded = 0;
            if (kinds[i][2] == 'i')
                t->fold_depth = t->depth;
            return BL_OK;
        }
    }
    return refuse(t, "a group of this kind");
}

/* A quantifier in braces; t->at is on the brace. */
static bl_status put_counts(struct translator *t)
{
    unsigned low = 0, high = 0;
    const char *s = t->at + 1;
    bool comma;

    if (*s < '0' || *s > '9')
        return refuse(t, "a brace");
    while (*s >= '0' && *s <= '9' && low < 10000)
        low = low * 10 + (unsigned)(*s++ - '0');
    comma = *s == ',';
    if (comma)
        s++;
    high = comma ? 0 : low;
    while (comma && *s >= '0' && *s <= '9' && high < 10000)
        high = high * 10 + (unsigned)(*s++ - '0');
    if (*s != '}' || low > 1000 || high > 1000 || s[1] == '+' || (s[1] == '?' && !comma))
        return refuse(t, "a count");
    if (comma && s[-1] != ',' && high < low)
        return refuse(t, "a count without order");
    s++;
    if (*s == '?')
        s++;
    bl_text_add(t->out, t->at, (size_t)(s - t->at));
    t->at = s;
    return BL_OK;
}

/* ? * + and their lazy and possessive forms. */
static bl_status put_quantifier(struct translator *t)
{
    size_t n = t->at[1] == '?' || t->at[1] == '+' ? 2 : 1;

    bl_text_add(t->out, t->at, n);
    t->at += n;
    if (*t->at && strchr("?*+{", *t->at))
        return refuse(t, "a repeated quantifier");
    return BL_OK;
}

/* A character for itself. Under (?i: both engines must know the same foldings: ASCII, one to one. */
static bl_status put_literal(struct translator *t, uint32_t c)
{
    static const char *const ligatures[] = { "ss", "ff", "fi", "fl", "st" };

    if (t->fold_depth) {
        char now = c < 0x80 ? (char)c : 0;
        char pair[3] = { t->folded, (char)(now | 0x20), 0 };

        if (!now)
            return refuse(t, "a letter beyond ASCII under (?i:");
        for (size_t i = 0; i < sizeof(ligatures) / sizeof(*ligatures); i++)
            if (strcmp(pair, ligatures[i]) == 0)
                return refuse(t, "a foldable pair of letters under (?i:");
        t->folded = is_letter(now) ? pair[1] : 0;
    }
    put_code_point(t, c);
    return BL_OK;
}

static bl_status put_escape(struct translator *t)
{
    bool is_set;
    uint32_t c = 0;
    bl_status rc;

    t->at++;
    rc = put_set_escape(&is_set, t, false);
    if (rc != BL_OK || is_set)
        return rc;
    rc = read_character_escape(&c, t);
    return rc == BL_OK ? put_literal(t, c) : rc;
}

static bl_status close_group(struct translator *t)
{
    if (t->depth == 0)
        return refuse(t, "a parenthesis without its partner");
    if (t->fold_depth == t->depth)
        t->fold_depth = 0;
    t->depth--;
    t->at++;
    bl_text_puts(t->out, ")");
    return BL_OK;
}

static bl_status put_next(struct translator *t)
{
    switch (*t->at) {
    case '\\':
        return put_escape(t);
    case '[':
        t->at++;
        return put_class(t);
    case '(':
        return open_group(t);
    case ')':
        return close_group(t);
    case '{':
        return put_counts(t);
    case '?':
    case '*':
    case '+':
        return t->fold_depth ? refuse(t, "a quantifier under (?i:") : put_quantifier(t);
    case '^':
        return refuse(t, "^");
    case '.':
    case '$':
        if (t->fold_depth)
            return refuse(t, "this under (?i:");
        bl_text_add(t->out, t->at++, 1);
        return BL_OK;
    case '|':
        t->folded = 0;
        bl_text_add(t->out, t->at++, 1);
        return BL_OK;
    default:
        return put_literal(t, read_utf8(t));
    }
}

bl_status bl_pattern_translate(bl_text *out, const char *pattern, struct bl_err *err)
{
    struct translator t = { .out = out, .pattern = pattern, .at = pattern, .err = err };
    bl_status rc = BL_OK;

    while (rc == BL_OK && *t.at)
        rc = put_next(&t);
    if (rc == BL_OK && t.depth > 0)
        rc = refuse(&t, "a group without its end");
    return rc == BL_OK ? bl_text_check(out, err) : rc;
}
