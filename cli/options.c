/* options.c - a small getopt over a table. */
#include "cli/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool bl_parse_size(uint64_t *out, const char *text)
{
    static const struct {
        const char *unit;
        double bytes;
    } units[] = { { "", 1 },         { "B", 1 },        { "kB", 1e3 },    { "KB", 1e3 },
                  { "MB", 1e6 },     { "GB", 1e9 },     { "TB", 1e12 },   { "KiB", 0x1p10 },
                  { "MiB", 0x1p20 }, { "GiB", 0x1p30 }, { "TiB", 0x1p40 } };
    char *end;
    double v;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    v = strtod(text, &end);
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        double bytes = v * units[i].bytes;

        if (strcmp(end, units[i].unit) == 0 && errno == 0 && bytes < 0x1p63) {
            *out = (uint64_t)bytes;
            return true;
        }
    }
    return false;
}

static bool parse_u64(uint64_t *out, const char *text)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool parse_f64(double *out, const char *text)
{
    char *end;

    errno = 0;
    *out = strtod(text, &end);
    return errno == 0 && end != text && *end == '\0' && isfinite(*out) && *out >= 0;
}

static bool takes_value(const bl_option *o)
{
    return o->kind >= BL_OPTION_STRING;
}

static void set_flag(const bl_option *o)
{
    if (o->kind == BL_OPTION_COUNT)
        ++*(int *)o->target;
    else
        *(bool *)o->target = o->kind == BL_OPTION_FLAG;
}

static bl_status add_to_list(const bl_option *o, const char *value, struct bl_err *err)
{
    bl_option_list *list = o->target;

    if (list->n == BL_OPTION_LIST_MAX)
        return bl_fail(err, BL_E_USAGE, "%s is given more than %d times", o->name,
                       BL_OPTION_LIST_MAX);
    list->value[list->n++] = value;
    return BL_OK;
}

static bl_status set_value(const bl_option *o, const char *value, struct bl_err *err)
{
    switch (o->kind) {
    case BL_OPTION_STRING:
        *(const char **)o->target = value;
        return BL_OK;
    case BL_OPTION_LIST:
        return add_to_list(o, value, err);
    case BL_OPTION_U64:
        if (parse_u64(o->target, value))
            return BL_OK;
        return bl_fail(err, BL_E_USAGE, "%s needs a whole number, not '%s'", o->name, value);
    case BL_OPTION_SIZE:
        if (bl_parse_size(o->target, value))
            return BL_OK;
        return bl_fail(err, BL_E_USAGE, "%s needs a size such as 5GB or 512MiB, not '%s'", o->name,
                       value);
    default:
        if (parse_f64(o->target, value))
            return BL_OK;
        return bl_fail(err, BL_E_USAGE, "%s needs a number, not '%s'", o->name, value);
    }
}

/* The row that "--name", "--name=value", "-x" or "-xvalue" means; *value points behind it. */
static const bl_option *find_option(const bl_option *table, const char *word, const char **value)
{
    *value = NULL;
    for (const bl_option *o = table; o->name; o++) {
        size_t n = strlen(o->name);

        if (strncmp(word, o->name, n) == 0 && (word[n] == '\0' || word[n] == '=')) {
            *value = word[n] == '=' ? word + n + 1 : NULL;
            return o;
        }
        if (o->letter && word[0] == '-' && word[1] == o->letter &&
            (word[2] == '\0' || takes_value(o))) {
            *value = word[2] ? word + 2 : NULL;
            return o;
        }
    }
    return NULL;
}

bl_status bl_options_parse(const char **operand, size_t *n_operands, size_t least, size_t most,
                           const bl_option *table, int argc, char **argv, struct bl_err *err)
{
    bool only_operands = false;

    *n_operands = 0;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value;
        const bl_option *o;
        bl_status rc;

        if (only_operands || word[0] != '-' || word[1] == '\0') {
            if (*word == '\0')
                return bl_fail(err, BL_E_USAGE, "an argument is empty");
            if (*n_operands == most)
                return bl_fail(err, BL_E_USAGE, "'%s' is one argument too many", word);
            operand[(*n_operands)++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            only_operands = true;
            continue;
        }
        o = find_option(table, word, &value);
        if (!o)
            return bl_fail(err, BL_E_USAGE, "unknown option '%s'", word);
        if (!takes_value(o)) {
            if (value)
                return bl_fail(err, BL_E_USAGE, "%s takes no value", o->name);
            set_flag(o);
            continue;
        }
        if (!value && i + 1 < argc)
            value = argv[++i];
        if (!value)
            return bl_fail(err, BL_E_USAGE, "%s needs a value", o->name);
        rc = set_value(o, value, err);
        if (rc != BL_OK)
            return rc;
    }
    if (*n_operands < least)
        return bl_fail(err, BL_E_USAGE, "an argument is missing");
    return BL_OK;
}

void bl_options_print(bl_text *out, const bl_option *table)
{
    for (const bl_option *o = table; o->name; o++) {
        char left[64], letter[8] = "    ";

        if (o->letter)
            snprintf(letter, sizeof(letter), "-%c, ", o->letter);
        snprintf(left, sizeof(left), "%s%s%s%s", letter, o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        bl_text_printf(out, "  %-28s %s\n", left, o->help);
    }
}
