/*
 * teach.h - a packed text through the teacher, and what it says into the shards of a cache
 * (formats/logits/cache.h).
 *
 * A shard is one run of the streamed model over its sequences: every weight is read once a shard. Its
 * answers are drawn (draw.h) from the logits as they pass, a group of positions at a time. What is in
 * a shard follows from model, text and options alone, so shards may be made by several machines, in
 * any order, and again. Shards that are there and of this cache are not made again.
 */
#ifndef BL_DISTILL_TEACH_H
#define BL_DISTILL_TEACH_H

#include "distill/teach/pack.h"
#include "formats/logits/cache.h"
#include "verify/score.h"

typedef struct bl_teach_options {
    const char *folder;   /* of the cache */
    bl_score_options run; /* scratch: the states of a shard that was cut off are gone on with */
    bl_cache_kind kind;
    uint32_t n_draws, n_top; /* as in bl_cache_info */
    uint64_t seed, shard_tokens;
    uint32_t i_part, n_parts; /* shards i_part, i_part + n_parts, ... */
    bool force;               /* make shards that are there again, of whatever cache they are */
} bl_teach_options;

/* A cache that is to be made. */
typedef struct bl_teach {
    const bl_teach_options *options; /* borrowed, as are pack and ckpt */
    const bl_ckpt *ckpt;
    const bl_pack *pack;
    bl_cache_info info;
    bool *is_done;           /* [info.n_shards] */
    uint32_t n_mine, n_done; /* shards of this part, and those of them that are there */
    /* what was made */
    uint64_t n_scored;
    double nll, entropy; /* sums over the scored positions, in nats */
} bl_teach;

/*
 * Say what the cache will be, and look at what is there. BL_E_MISMATCH when a shard in the folder is of
 * another cache (what differs), BL_E_FORMAT when it is damaged; with force neither is looked at.
 * The caller releases *out.
 */
BL_MUST_USE bl_status bl_teach_begin(bl_teach *out, const bl_ckpt *ckpt, const bl_pack *pack,
                                     const bl_teach_options *options, struct bl_err *err);
void bl_teach_release(bl_teach *teach); /* zeroed is allowed */

/* Make the shards that are missing. run.progress gets bl_score_bytes() of the teacher for each. */
BL_MUST_USE bl_status bl_teach_run(bl_teach *teach, struct bl_err *err);

/* What that will take. */
typedef struct bl_teach_plan {
    bl_score_plan shard;     /* of the largest one; memory with what is gathered of answers */
    uint64_t n_tokens;       /* through the network, all shards that are missing */
    uint64_t n_scored;       /* positions with an answer among them */
    uint64_t read;           /* bytes of weights */
    double n_flop;           /* floating point operations */
    uint64_t bytes_estimate; /* of the shards */
} bl_teach_plan;

BL_MUST_USE bl_status bl_teach_plan_make(bl_teach_plan *out, const bl_teach *teach,
                                         struct bl_err *err);

#endif
