/*
 * tokenizer_tables.h - where the Unicode data of PCRE2 and utf8proc differ from the reference's;
 * private to model/tokenizer. See docs/tokenizer.md and tests/oracle/make_tokenizer_tables.py.
 */
#ifndef BL_MODEL_TOKENIZER_TABLES_H
#define BL_MODEL_TOKENIZER_TABLES_H

#include <stddef.h>
#include <stdint.h>

struct bl_tokenizer_category {
    const char *name;  /* of a general category: "L", "Lu"; NULL ends the table */
    const char *added; /* ranges for a PCRE2 class */
};

struct bl_code_point_range {
    uint32_t first, last;
};

extern const struct bl_tokenizer_category bl_tokenizer_categories[];
extern const struct bl_code_point_range bl_tokenizer_inert[]; /* ascending */
extern const size_t bl_tokenizer_n_inert;

#endif
