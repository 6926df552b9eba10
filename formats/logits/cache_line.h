/*
 * cache_line.h - a set of ids as points on a line where frequent ids are wide (docs/format-cache.md,
 * section 7).
 *
 * Every id of the vocabulary has a width: `a` + `b` times its number in the shard's text + `c` times
 * that in the sequence's. A set in ascending order is coded id by id, as if its points had been thrown
 * on the line: the least of r points on what remains of it is below u with probability
 * 1 - (1 - u)^r. With all widths 1 a set of k out of V costs log2 of (V choose k), less
 * than 0.02 bits an id more. One id, the target, may be taken out of the line.
 *
 * Positions are computed with the four operations of IEEE double in one order: they are equal
 * everywhere.
 */
#ifndef BL_FORMATS_CACHE_LINE_H
#define BL_FORMATS_CACHE_LINE_H

#include "base/err.h"
#include "formats/logits/range_code.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The widths' numbers. The whole line is shorter than 2^32. */
typedef struct bl_cache_widths {
    uint32_t a, b, c; /* a > 0 */
} bl_cache_widths;

/* Whether a line of these is short enough: n_text tokens in the shard, n_seq in a sequence. */
bool bl_cache_widths_fit(const bl_cache_widths *widths, uint32_t vocab_size, uint64_t n_text,
                         uint64_t n_seq);

typedef struct bl_cache_line {
    uint32_t n_ids;
    uint32_t *left; /* [n_ids + 1] where each id begins; NULL: all widths are 1 */
    uint32_t out;   /* the id that is not there; n_ids: none */
} bl_cache_line;    /* zero-initialise */

/*
 * The line of one sequence. text[vocab_size]: how often each id is in the shard's text, read where
 * widths.b > 0. token[n]: the sequence. The memory is used again by the next call.
 */
BL_MUST_USE bl_status bl_cache_line_set(bl_cache_line *line, const bl_cache_widths *widths,
                                        uint32_t vocab_size, const uint32_t *text,
                                        const int32_t *token, uint32_t n, struct bl_err *err);
void bl_cache_line_release(bl_cache_line *line);

/* Ascending ids without line->out. */
void bl_cache_line_put(bl_range_encoder *encoder, const bl_cache_line *line, const uint32_t *id,
                       uint32_t n);
/* n at most the ids that are there. */
void bl_cache_line_get(uint32_t *id, bl_range_decoder *decoder, const bl_cache_line *line,
                       uint32_t n);
/* Bits that bl_cache_line_put() takes. */
double bl_cache_line_cost(const bl_cache_line *line, const uint32_t *id, uint32_t n);

#endif
