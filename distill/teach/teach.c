/* teach.c - see teach.h. Which shards there are and are missing; what they will take. */
#include "distill/teach/teach_shard.h"

#include "base/alloc.h"
#include "base/sink.h"
#include "base/size.h"
#include "base/utf8.h"
#include "formats/ckpt/fingerprint.h"
#include "formats/logits/cache_folder.h"
#include "formats/logits/cache_writer.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

static bool is_mine(const bl_teach *t, uint32_t i_shard)
{
    return i_shard % t->options->n_parts == t->options->i_part;
}

static bl_status describe(bl_cache_info *info, const bl_ckpt *ckpt, const bl_pack *pack,
                          const bl_teach_options *o, struct bl_err *err)
{
    const uint64_t n_tokens = (uint64_t)pack->n_seqs * pack->n_positions;
    const uint64_t n_shards = bl_ceil_div_u64(n_tokens, o->shard_tokens);

    *info = (bl_cache_info){ .kind = o->kind,
                             .vocab_size = bl_ckpt_config(ckpt)->vocab_size,
                             .n_positions = pack->n_positions,
                             .n_seqs = pack->n_seqs,
                             .n_shards = (uint32_t)bl_min_u64(n_shards, pack->n_seqs),
                             .n_draws = o->n_draws,
                             .n_top = o->n_top,
                             .seed = o->seed,
                             .tokenizer = pack->tokenizer,
                             .text = pack->text,
                             .packing = pack->packing };
    if (o->kind == BL_CACHE_HIDDEN)
        info->hidden_size = bl_ckpt_config(ckpt)->hidden_size;
    bl_utf8_path_name(info->name, sizeof(info->name), bl_ckpt_path(ckpt));
    return bl_container_fingerprint(&info->model, bl_ckpt_container(ckpt), err);
}

/* Of how many shards the cache in the folder is, 0 where there is none. */
static bl_status count_shards(uint32_t *n, const bl_teach *t, struct bl_err *err)
{
    bl_status rc;

    *n = 0;
    rc = bl_cache_folder_count(n, t->options->folder, err);
    return rc == BL_E_MISMATCH || rc == BL_E_NOMEM ? rc : BL_OK; /* no folder, no shard in it */
}

/* What is there of each shard. One with another number of shards has other names. */
static bl_status look(bl_teach *t, struct bl_err *err)
{
    uint32_t n;
    bl_status rc = count_shards(&n, t, err);

    if (rc == BL_OK && n != 0 && n != t->info.n_shards)
        return bl_fail(err, BL_E_MISMATCH,
                       "%s: has a cache of %" PRIu32 " shards, this one would be of %" PRIu32
                       ": another text, --tokens, --ctx or --shard-tokens; remove it or use "
                       "--force",
                       t->options->folder, n, t->info.n_shards);
    for (uint32_t i = 0; i < t->info.n_shards && rc == BL_OK; i++)
        rc = bl_cache_shard_done(&t->is_done[i], t->options->folder, &t->info, i, err);
    return rc;
}

/* With force: shards that this cache has no names for go; the others are replaced one by one. */
static bl_status clear(const bl_teach *t, struct bl_err *err)
{
    uint32_t n;
    bl_status rc = count_shards(&n, t, err);

    for (uint32_t i = 0; i < n && n != t->info.n_shards && rc == BL_OK; i++) {
        char *path = bl_cache_shard_path(t->options->folder, i, n);

        rc = path ? bl_sink_remove(path, err) : bl_fail_nomem(err, t->options->folder);
        bl_free(path);
    }
    return rc;
}

bl_status bl_teach_begin(bl_teach *out, const bl_ckpt *ckpt, const bl_pack *pack,
                         const bl_teach_options *options, struct bl_err *err)
{
    bl_teach t = { .options = options, .ckpt = ckpt, .pack = pack };
    bl_status rc = describe(&t.info, ckpt, pack, options, err);

    assert(options->n_parts > 0 && options->i_part < options->n_parts);
    if (rc == BL_OK) {
        t.is_done = bl_calloc(t.info.n_shards, sizeof(*t.is_done));
        rc = t.is_done ? BL_OK : bl_fail_nomem(err, "shards");
    }
    if (rc == BL_OK && !options->force)
        rc = look(&t, err);
    for (uint32_t i = 0; i < t.info.n_shards && rc == BL_OK; i++) {
        t.n_mine += is_mine(&t, i);
        t.n_done += is_mine(&t, i) && t.is_done[i];
    }
    if (rc == BL_OK)
        *out = t;
    else
        bl_teach_release(&t);
    return rc;
}

void bl_teach_release(bl_teach *teach)
{
    bl_free(teach->is_done);
    *teach = (bl_teach){ 0 };
}

bl_status bl_teach_run(bl_teach *teach, struct bl_err *err)
{
    bl_status rc = teach->options->force ? clear(teach, err) : BL_OK;

    for (uint32_t i = 0; i < teach->info.n_shards && rc == BL_OK; i++) {
        if (!is_mine(teach, i) || teach->is_done[i])
            continue;
        rc = bl_teach_make_shard(teach, i, err);
        teach->is_done[i] = rc == BL_OK;
    }
    return rc;
}

/* Bytes of n of the vocabulary's ids as a set, and so many bits beside each. */
static double set_bytes(const bl_cache_info *info, double n, double bits)
{
    return n * (log2(info->vocab_size / n) + 1.44 + bits) / 8;
}

/* Bytes an answer is likely to take in a file. N draws are about 1.8 sqrt(N) ids in large models. */
static double answer_estimate(const bl_cache_info *info)
{
    const double top = info->n_top, draws = info->n_draws, fixed = 8 + log2(info->vocab_size) / 8;

    switch (info->kind) {
    case BL_CACHE_SAMPLED:
        return fixed + set_bytes(info, 1.8 * sqrt(draws), 1);
    case BL_CACHE_TOP_K:
        return fixed + 3 + set_bytes(info, top, 8);
    case BL_CACHE_MIXED:
        return fixed + 3 + set_bytes(info, top, 8) + set_bytes(info, draws, 8);
    case BL_CACHE_HIDDEN:
        return fixed + 2.0 * info->hidden_size;
    }
    return 0;
}

bl_status bl_teach_plan_make(bl_teach_plan *out, const bl_teach *teach, struct bl_err *err)
{
    bl_teach_plan plan = { 0 };
    bl_status rc = BL_OK;

    for (uint32_t i = 0; i < teach->info.n_shards && rc == BL_OK; i++) {
        bl_score score = bl_teach_score(teach, i);
        const uint64_t n_tokens = (uint64_t)score.n_seqs * score.n_positions;
        bl_score_options run;
        bl_score_plan shard;

        if (!is_mine(teach, i) || teach->is_done[i])
            continue;
        score.n_rows =
            bl_teach_count_scored(teach->pack, bl_teach_first_seq(&teach->info, i), score.n_seqs);
        rc = bl_teach_run_options(&run, teach, n_tokens, err);
        if (rc == BL_OK)
            rc = bl_score_plan_make(&shard, &score, &run, err);
        if (rc != BL_OK)
            break;
        shard.memory += bl_teach_held_bytes(teach, n_tokens);
        if (plan.shard.memory < shard.memory)
            plan.shard = shard;
        plan.n_tokens += n_tokens;
        plan.n_scored += score.n_rows;
        plan.read += shard.read;
        plan.n_flop += shard.n_flop;
    }
    plan.bytes_estimate = (uint64_t)(answer_estimate(&teach->info) * (double)plan.n_scored);
    if (rc == BL_OK)
        *out = plan;
    return rc;
}
