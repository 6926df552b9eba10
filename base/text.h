/*
 * text.h - a string that grows. Appends remember the first failure, so a writer is straight-line
 * code and looks once, at the end, at bl_text_check().
 */
#ifndef BL_BASE_TEXT_H
#define BL_BASE_TEXT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_text {
    char *bytes; /* NUL-terminated once anything was appended */
    size_t n, size;
    bool failed;
} bl_text; /* zero-initialise */

void bl_text_add(bl_text *text, const char *bytes, size_t n);
void bl_text_puts(bl_text *text, const char *s);
void bl_text_put_name(bl_text *text, const char *name); /* made printable (base/utf8.h) */
void bl_text_printf(bl_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
BL_MUST_USE bl_status bl_text_check(const bl_text *text, struct bl_err *err);
void bl_text_release(bl_text *text);

/* 0 to 15, or -1: no hexadecimal digit. */
int bl_hex_digit(char c);

/* "1.23 GB"; buffer of 32 bytes. */
const char *bl_text_bytes(char buffer[32], uint64_t n_bytes);

#endif
