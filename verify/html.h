/*
 * html.h - text and numbers inside a page that is HTML and well-formed XML at once. Whatever comes
 * from a file passes here: it can be read, and is never markup.
 */
#ifndef BL_VERIFY_HTML_H
#define BL_VERIFY_HTML_H

#include "base/text.h"

#include <stdint.h>

/*
 * n bytes as text: markup escaped; a line break or tab as an arrow; what is not UTF-8, acts on the
 * text around it or is no character of XML as U+FFFD. Good inside elements and quoted attributes.
 */
void bl_html_add(bl_text *out, const char *bytes, size_t n);
void bl_html_puts(bl_text *out, const char *s);

/*
 * A number as people read it ("94.5" for 0.945 with scale 100), and as it is in the JSON report.
 * decimals below 0: so many significant digits.
 */
void bl_html_number(bl_text *out, double value, double scale, int decimals);
void bl_html_count(bl_text *out, uint64_t value);

#endif
