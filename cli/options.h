/*
 * options.h - command-line options as a table: parsing and the help text come from the same rows.
 */
#ifndef BL_CLI_OPTIONS_H
#define BL_CLI_OPTIONS_H

#include "base/err.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum bl_option_kind {
    BL_OPTION_FLAG,   /* bool: set */
    BL_OPTION_UNFLAG, /* bool: cleared */
    BL_OPTION_COUNT,  /* int: one more each time */
    BL_OPTION_STRING, /* const char * */
    BL_OPTION_LIST,   /* bl_option_list: one more each time */
    BL_OPTION_U64,    /* uint64_t, decimal */
    BL_OPTION_SIZE,   /* uint64_t: 5GB = 5e9, 4GiB = 4 * 2^30 */
    BL_OPTION_F64     /* double, not negative */
} bl_option_kind;

/* What a BL_OPTION_U64 begins as where 0 is a value too. */
#define BL_NOT_GIVEN UINT64_MAX

enum { BL_OPTION_LIST_MAX = 256 };

/* The values of an option that may be given several times, in order. */
typedef struct bl_option_list {
    const char *value[BL_OPTION_LIST_MAX];
    size_t n;
} bl_option_list;

typedef struct bl_option {
    const char *name; /* "--type"; NULL ends the table */
    char letter;      /* 'o' for -o; 0: none */
    bl_option_kind kind;
    void *target;         /* of the kind's type */
    const char *argument; /* "FILE", for help; NULL for flags */
    const char *help;
} bl_option;

/*
 * Parse argv[1..argc): options in any place, "--" ends them; "--name VALUE", "--name=VALUE",
 * "-oVALUE", "-o VALUE". Operands go to operand[], of which there must be from least to most.
 * BL_E_USAGE with a sentence on any mistake.
 */
BL_MUST_USE bl_status bl_options_parse(const char **operand, size_t *n_operands, size_t least,
                                       size_t most, const bl_option *table, int argc, char **argv,
                                       struct bl_err *err);

/* "5GB", "512MiB", "300" to bytes; false when it is not a size. */
bool bl_parse_size(uint64_t *out, const char *text);

/* One aligned line an option. */
void bl_options_print(bl_text *out, const bl_option *table);

#endif
