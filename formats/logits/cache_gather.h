/*
 * cache_gather.h - what a shard's sequences said, kept in memory until its tables can be made.
 *
 * About 6 bytes an entry, 10 an answer (13 with a tail), and the tokens packed.
 */
#ifndef BL_FORMATS_CACHE_GATHER_H
#define BL_FORMATS_CACHE_GATHER_H

#include "base/text.h"
#include "formats/logits/cache_layout.h"
#include "formats/logits/cache_record.h"

typedef struct bl_cache_gather {
    const bl_cache_info *info; /* borrowed, as is layout */
    const bl_cache_layout *layout;
    bl_cache_codes *codes; /* NULL: hidden */
    unsigned char *rows;   /* [layout->n_seqs][row_bytes] */
    size_t *first;         /* [layout->n_seqs + 1] where a sequence's answers begin in `answers` */
    bl_text
        answers; /* each: statistics, u16 entries, entries of u32 id (bit 31: drawn), u16 code */
    uint32_t n_seqs;   /* gathered */
    bl_cache_seq text; /* tokens of one, unpacked */
    uint32_t *n_of;    /* [vocab_size] in the text, once it is whole */
} bl_cache_gather;

BL_MUST_USE bl_status bl_cache_gather_begin(bl_cache_gather *out, const bl_cache_info *info,
                                            const bl_cache_layout *layout, struct bl_err *err);
void bl_cache_gather_release(bl_cache_gather *gather); /* zeroed is allowed */

/* Tokens alone: all that is kept of hidden states. */
void bl_cache_gather_text(bl_cache_gather *gather, const bl_cache_seq *seq);

/* n_scored and n_entries of *index are filled in. seq: as cache.h says, asserted. */
BL_MUST_USE bl_status bl_cache_gather_add(bl_cache_index *index, bl_cache_gather *gather,
                                          const bl_cache_seq *seq, struct bl_err *err);

/* When all sequences are there: the widths that take the fewest bytes, of those that are tried. */
BL_MUST_USE bl_status bl_cache_gather_widths(bl_cache_widths *out, bl_cache_gather *gather,
                                             struct bl_err *err);

/*
 * Then, when the tables of gather->codes are packed: the data of sequence i, behind what is in *out.
 * line and encoder: zeroed at first, and used again.
 */
BL_MUST_USE bl_status bl_cache_gather_code(bl_text *out, bl_cache_gather *gather,
                                           const bl_cache_widths *widths, uint32_t i,
                                           bl_cache_line *line, bl_range_encoder *encoder,
                                           struct bl_err *err);

/* Statistics of one position, in layout->stat_bytes. */
void bl_cache_pack_statistics(unsigned char *bytes, const bl_cache_seq *seq, uint32_t position,
                              uint32_t stat_bytes);

#endif
