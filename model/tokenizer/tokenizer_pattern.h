/*
 * tokenizer_pattern.h - split expressions from Oniguruma's syntax to PCRE2's; private to
 * model/tokenizer.
 */
#ifndef BL_MODEL_TOKENIZER_PATTERN_H
#define BL_MODEL_TOKENIZER_PATTERN_H

#include "base/err.h"
#include "base/text.h"

/*
 * Append to out an expression that, compiled with PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE and
 * newline LF, matches what pattern (UTF-8) matches in Oniguruma's default syntax. It captures
 * nothing. Fails with BL_E_UNSUPPORTED for a construct outside the subset below, with its place.
 *
 *     literals, .  $  \r \n \t \f \v \xHH \x{H..} \uHHHH and escaped punctuation
 *     \p{X} \P{X} (X = L Lu Ll Lt Lm Lo M N Nd P S Z), \s \S \d \D, [...] and [^...]
 *     (...) (?:...) (?>...) (?=...) (?!...) (?<=...) (?<!...), (?i:...) over ASCII letters
 *     | ? * + {n} {n,} {n,m}, lazy or (but for braces) possessive
 */
BL_MUST_USE bl_status bl_pattern_translate(bl_text *out, const char *pattern, struct bl_err *err);

#endif
