/*
 * cache_record.h - what a teacher said at one position, as codes (docs/format-cache.md, section 8).
 *
 * Statistics are known first: the probability of the target and the entropy say much about the
 * number of draws and ids to come. Then comes what the target has, then the others: their number,
 * their ids as a set, and their draws or weights in the order of the ids.
 */
#ifndef BL_FORMATS_CACHE_RECORD_H
#define BL_FORMATS_CACHE_RECORD_H

#include "formats/logits/cache.h"
#include "formats/logits/cache_codes.h"
#include "formats/logits/cache_line.h"

typedef struct bl_cache_answer {
    uint32_t log_p, entropy; /* codes of cache_values.h */
    uint32_t target;
    uint32_t n;
    uint32_t id[BL_CACHE_MAX_KEPT];   /* ascending */
    uint16_t code[BL_CACHE_MAX_KEPT]; /* sampled: draws; else code of the weight */
    bool drawn[BL_CACHE_MAX_KEPT];    /* mixed: of the sample */
} bl_cache_answer;

/* What to do with an answer: gather (codes), measure ids (line, id_bits), write (all but id_bits). */
typedef struct bl_cache_coder {
    bl_cache_codes *codes;
    bl_range_encoder *encoder;
    bl_cache_line *line;
    double *id_bits;
} bl_cache_coder;

void bl_cache_record_put(const bl_cache_coder *coder, const bl_cache_info *info,
                         const bl_cache_answer *answer);

/* log_p, entropy and target are given. decoder->bad when the codes say what cannot be. */
void bl_cache_record_get(bl_cache_answer *answer, bl_range_decoder *decoder,
                         const bl_cache_codes *codes, bl_cache_line *line,
                         const bl_cache_info *info);

#endif
