/*
 * tokenizer_split.h - the door to PCRE2: cutting text into pieces; private to model/tokenizer.
 */
#ifndef BL_MODEL_TOKENIZER_SPLIT_H
#define BL_MODEL_TOKENIZER_SPLIT_H

#include "base/err.h"
#include "formats/tokenizer/tokenizer_file.h"

typedef struct bl_splitter bl_splitter; /* immutable: threads may share it */

/* Where pieces go, in the order of the text. */
typedef struct bl_piece_sink {
    bl_status (*take)(void *self, const char *piece, size_t n, struct bl_err *err);
    void *self;
} bl_piece_sink;

typedef struct bl_split_work bl_split_work; /* what one thread needs while it cuts */

/* Compile n expressions. name: for sentences. */
BL_MUST_USE bl_status bl_splitter_new(bl_splitter **out, const char *name, const bl_split *split,
                                      uint32_t n, struct bl_err *err);
void bl_splitter_free(bl_splitter *splitter);

BL_MUST_USE bl_status bl_split_work_new(bl_split_work **out, struct bl_err *err);
void bl_split_work_free(bl_split_work *work);

/* Cut valid UTF-8 into pieces, none of them empty. */
BL_MUST_USE bl_status bl_splitter_run(const bl_splitter *splitter, bl_split_work *work,
                                      const char *text, size_t n, bl_piece_sink sink,
                                      struct bl_err *err);

#endif
