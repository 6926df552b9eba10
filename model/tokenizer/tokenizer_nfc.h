/*
 * tokenizer_nfc.h - the door to utf8proc: normal form C as the reference has it, and the check of
 * UTF-8; private to model/tokenizer.
 */
#ifndef BL_MODEL_TOKENIZER_NFC_H
#define BL_MODEL_TOKENIZER_NFC_H

#include "base/err.h"
#include "base/text.h"

/* The offset of the first byte that is not UTF-8 (RFC 3629), or n. */
size_t bl_utf8_valid_prefix(const char *text, size_t n);

/*
 * Replace *out by text (valid UTF-8) in normal form C. When text is in that form already by a
 * quick look, out is left alone and *changed is false.
 */
BL_MUST_USE bl_status bl_nfc(bl_text *out, bool *changed, const char *text, size_t n,
                             struct bl_err *err);

#endif
