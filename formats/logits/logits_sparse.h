/*
 * logits_sparse.h - one sparse record: the likeliest tokens, and a sample of the others.
 *
 * The top holds the likeliest tokens, most likely first; the tail is all the others. The sample is
 * drawn from the tail by priority (Duffield, Lund, Thorup 2007): token v gets the priority p_v / u_v
 * with u_v uniform on (0, 1), and those of the highest priorities are kept; the threshold is the
 * highest priority that was not. With the weight max(p_v, threshold) of each sampled token,
 *     sum over samples of weight_v f_v / p_v
 * is an unbiased estimate of the tail's sum of f, whatever f, and
 *     sum over samples of (f_v / p_v)^2 threshold max(0, threshold - p_v)
 * one of its variance.
 *
 * Log-probabilities are in steps of 2^-17 from 0 to -128 nats, where they stop.
 */
#ifndef BL_FORMATS_LOGITS_SPARSE_H
#define BL_FORMATS_LOGITS_SPARSE_H

#include "formats/logits/logits_layout.h"

typedef struct bl_logits_sparse {
    float target;              /* ln p of the token that follows, F32 */
    float tail;                /* p of the tail */
    float ln_threshold;        /* -INFINITY when the whole tail is in the sample */
    uint32_t n_top, n_samples; /* fewer than the file has room for when the vocabulary is small */
    uint32_t id[BL_LOGITS_MAX_KEPT]; /* n_top, then n_samples */
    float log_p[BL_LOGITS_MAX_KEPT];
} bl_logits_sparse;

/* How many of a vocabulary a record with that much room keeps. */
void bl_logits_sparse_counts(uint32_t *n_top, uint32_t *n_samples, uint32_t vocab_size,
                             uint32_t room_top, uint32_t room_samples);

uint32_t bl_logits_sparse_bytes(uint32_t room_top, uint32_t room_samples);

/* bytes[info's record_bytes] */
void bl_logits_pack_sparse(unsigned char *bytes, const bl_logits_sparse *record,
                           const bl_logits_info *info);

/* What is wrong with it, or NULL. */
const char *bl_logits_unpack_sparse(bl_logits_sparse *record, const unsigned char *bytes,
                                    const bl_logits_info *info);

#endif
