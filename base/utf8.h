/*
 * utf8.h - one character at a time, and text that is safe to show. Names come from untrusted
 * files: some act on a terminal, some are no UTF-8 at all.
 */
#ifndef BL_BASE_UTF8_H
#define BL_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

enum { BL_UTF8_MAX = 4 }; /* bytes of the longest sequence */

/*
 * The code point of the UTF-8 sequence at p, of which there are n bytes, and its length in bytes; 0
 * when it is no shortest form of a Unicode scalar value. A NUL ends a sequence: for NUL-terminated
 * text n may be BL_UTF8_MAX.
 */
size_t bl_utf8_decode(uint32_t *out, const char *p, size_t n);

/*
 * Replace by '?', byte for byte and in place: what is not UTF-8, control characters, line breaks,
 * and marks that turn the direction of what follows.
 */
void bl_utf8_make_printable(char *text);

/* The last component of a path, cut to size - 1 bytes and made printable. */
void bl_utf8_path_name(char *out, size_t size, const char *path);

#endif
