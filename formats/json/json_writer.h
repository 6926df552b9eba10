/*
 * json_writer.h - JSON text, written in order. Failures are those of the bl_text underneath:
 * look once, at the end, at bl_text_check().
 */
#ifndef BL_FORMATS_JSON_WRITER_H
#define BL_FORMATS_JSON_WRITER_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct bl_json_writer {
    bl_text *text;
    bool compact; /* no newlines */
    uint32_t depth;
    bool has_member; /* in the innermost object or array */
    bool after_key;
} bl_json_writer; /* { .text = &text } */

void bl_json_begin_object(bl_json_writer *w);
void bl_json_end_object(bl_json_writer *w);
void bl_json_begin_array(bl_json_writer *w);
void bl_json_end_array(bl_json_writer *w);
void bl_json_put_key(bl_json_writer *w, const char *key);
void bl_json_put_string(bl_json_writer *w, const char *s); /* NULL writes null */
void bl_json_put_u64(bl_json_writer *w, uint64_t v);
void bl_json_put_f64(bl_json_writer *w, double v); /* not finite: null */
void bl_json_put_bool(bl_json_writer *w, bool v);
void bl_json_put_raw(bl_json_writer *w, const char *json);

/* A key and its value. */
void bl_json_pair_string(bl_json_writer *w, const char *key, const char *s);
void bl_json_pair_u64(bl_json_writer *w, const char *key, uint64_t v);
void bl_json_pair_f64(bl_json_writer *w, const char *key, double v);
void bl_json_pair_bool(bl_json_writer *w, const char *key, bool v);

#endif
