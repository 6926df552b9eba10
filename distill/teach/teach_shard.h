/*
 * teach_shard.h - one shard of a cache that is being made. Internal to teach.c and teach_shard.c.
 */
#ifndef BL_DISTILL_TEACH_SHARD_H
#define BL_DISTILL_TEACH_SHARD_H

#include "distill/teach/teach.h"

/* Shard i has sequences [bl_teach_first_seq(i), bl_teach_first_seq(i + 1)). */
uint32_t bl_teach_first_seq(const bl_cache_info *info, uint32_t i_shard);

/* Positions of sequences [first, first + n) that have an answer. */
size_t bl_teach_count_scored(const bl_pack *pack, uint32_t first, uint32_t n);

/* The run of the model; which positions are scored is left to the caller. */
bl_score bl_teach_score(const bl_teach *teach, uint32_t i_shard);

/* Bytes that are held beside the run of n_tokens: draws, and what the writer gathers. */
uint64_t bl_teach_held_bytes(const bl_teach *teach, uint64_t n_tokens);

/* The run's options with the room for that taken away; BL_E_USAGE when there is none left. */
BL_MUST_USE bl_status bl_teach_run_options(bl_score_options *out, const bl_teach *teach,
                                           uint64_t n_tokens, struct bl_err *err);

BL_MUST_USE bl_status bl_teach_make_shard(bl_teach *teach, uint32_t i_shard, struct bl_err *err);

#endif
