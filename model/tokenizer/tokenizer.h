/*
 * tokenizer.h - text to token ids and back, equal to the Python package `tokenizers`.
 *
 * Encoding: added tokens that match as whole strings are taken first, leftmost and longest; the
 * rest is normalized (NFC where the file asks for it), cut by the split expressions in turn, and
 * each piece is merged by rank. docs/tokenizer.md has the rules and the known limits.
 *
 * A tokenizer does not change after bl_tokenizer_new(): threads may share it.
 */
#ifndef BL_MODEL_TOKENIZER_H
#define BL_MODEL_TOKENIZER_H

#include "base/err.h"
#include "base/text.h"
#include "formats/tokenizer/tokenizer_file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bl_tokenizer bl_tokenizer;

/* A list of token ids that grows. */
typedef struct bl_tokens {
    int32_t *id;
    size_t n, size;
} bl_tokens; /* zero-initialise */

BL_MUST_USE bl_status bl_tokens_add(bl_tokens *tokens, int32_t id, struct bl_err *err);
void bl_tokens_release(bl_tokens *tokens);

enum {
    BL_ENCODE_BOS = 1,          /* put BOS in front (the caller knows file->add_bos) */
    BL_ENCODE_EOS = 2,          /* put EOS behind */
    BL_ENCODE_NO_ADDED = 4,     /* the text's own added tokens are ordinary text */
    BL_DECODE_SKIP_SPECIAL = 1, /* leave special tokens out */
};

/*
 * Build the tables of a tokenizer; file is not needed afterwards. Fails with BL_E_UNSUPPORTED for a
 * split expression outside the known subset, a single_word token, or a vocabulary without bytes
 * that text can contain.
 */
BL_MUST_USE bl_status bl_tokenizer_new(bl_tokenizer **out, const bl_tokenizer_file *file,
                                       struct bl_err *err);
void bl_tokenizer_free(bl_tokenizer *tokenizer);

/*
 * Append the ids of n bytes of text to out (unchanged on failure). Text may contain NUL; when it is
 * not UTF-8 the call fails with BL_E_FORMAT and the place of the first bad byte.
 */
BL_MUST_USE bl_status bl_tokenizer_encode(bl_tokens *out, const bl_tokenizer *tokenizer,
                                          const char *text, size_t n, unsigned flags,
                                          struct bl_err *err);

/*
 * Append the bytes that n ids stand for. A cut through a character gives bytes that are not UTF-8.
 * Fails with BL_E_FORMAT for an id that is no token.
 */
BL_MUST_USE bl_status bl_tokenizer_decode(bl_text *out, const bl_tokenizer *tokenizer,
                                          const int32_t *id, size_t n, unsigned flags,
                                          struct bl_err *err);

#endif
