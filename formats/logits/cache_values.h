/*
 * cache_values.h - numbers of a cache as integers, and back (docs/format-cache.md, section 4).
 * What lies outside of a range goes to its end. Halves round to even.
 */
#ifndef BL_FORMATS_CACHE_VALUES_H
#define BL_FORMATS_CACHE_VALUES_H

#include <stdint.h>

enum {
    BL_CACHE_STAT_BYTES = 8, /* ln p u24, entropy u16, log-sum-exp u24 */
    BL_CACHE_TAIL_BYTES = 3, /* behind them in top-k and mixed */
    BL_CACHE_STAT_BYTES_MAX = BL_CACHE_STAT_BYTES + BL_CACHE_TAIL_BYTES,
    BL_CACHE_MAX_WEIGHT_CODE = 24319
};

uint32_t bl_cache_log_p_code(float log_p); /* 24 bits: steps of 2^-17 down from 0 */
float bl_cache_log_p_of(uint32_t code);
uint32_t bl_cache_entropy_code(float entropy); /* 16 bits: steps of 2^-11 nats */
float bl_cache_entropy_of(uint32_t code);
uint32_t bl_cache_log_sum_code(float log_sum); /* 24 bits: steps of 2^-13 from -1024 */
float bl_cache_log_sum_of(uint32_t code);
uint32_t bl_cache_tail_code(float tail); /* 24 bits: steps of 1 / (2^24 - 1) */
float bl_cache_tail_of(uint32_t code);
uint32_t bl_cache_weight_code(float weight); /* ln in steps of 2^-8 down from 8, to -87 */
float bl_cache_weight_of(uint32_t code);

#endif
