/* teach.c - see teach.h. */
#include "distill/teach.h"

#include "base/alloc.h"
#include "base/sink.h"
#include "base/size.h"
#include "base/utf8.h"
#include "distill/draw.h"
#include "formats/ckpt/fingerprint.h"
#include "formats/logits/cache_folder.h"
#include "formats/logits/cache_writer.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Bytes of draws at a time; then the head is read again. */
#define GROUP_BYTES ((uint64_t)256 << 20)

/* What the writer holds of a shard, at most, and what a scored position takes here. */
enum { GATHERED_ENTRY_BYTES = 6, GATHERED_TOKEN_BYTES = 24, ROW_BYTES = 12 };

/* One shard on its way: the positions that are scored, and the sequence that is being filled. */
struct shard {
    bl_teach *teach;
    bl_cache_shard *writer;
    uint32_t i, first_seq, n_seqs;
    size_t *row; /* [n_rows] in the shard */
    int32_t *target;
    size_t n_rows, room;
    uint64_t first_record; /* of the cache's scored positions */
    size_t place;          /* the next position of the shard that is to be filled */
    bl_cache_seq seq;
    bl_draw_record record;
};

static uint32_t first_seq(const bl_cache_info *info, uint32_t i_shard)
{
    return (uint32_t)((uint64_t)info->n_seqs * i_shard / info->n_shards);
}

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

/* Positions of sequences [first, first + n) that have an answer. */
static size_t count_scored(const bl_pack *pack, uint32_t first, uint32_t n)
{
    const size_t end = (size_t)(first + n) * pack->n_positions;
    size_t sum = 0;

    for (size_t i = (size_t)first * pack->n_positions; i < end; i++)
        sum += bl_pack_target(pack, i) >= 0;
    return sum;
}

static bl_status choose_rows(struct shard *s, struct bl_err *err)
{
    const bl_pack *pack = s->teach->pack;
    const size_t first = (size_t)s->first_seq * pack->n_positions;
    const size_t n = (size_t)s->n_seqs * pack->n_positions;

    s->first_record = count_scored(pack, 0, s->first_seq);
    s->row = bl_alloc(n, sizeof(*s->row));
    s->target = bl_alloc(n, sizeof(*s->target));
    if (!s->row || !s->target)
        return bl_fail_nomem(err, "scored positions");
    for (size_t i = 0; i < n; i++) {
        int32_t target = bl_pack_target(pack, first + i);

        if (target < 0)
            continue;
        s->row[s->n_rows] = i;
        s->target[s->n_rows++] = target;
    }
    return BL_OK;
}

/* Where position i of the sequence is: what is the same whatever the teacher says. */
static void begin_position(struct shard *s, size_t i)
{
    const bl_pack *pack = s->teach->pack;
    const size_t at = (size_t)s->first_seq * pack->n_positions + s->place;
    bl_cache_seq *seq = &s->seq;

    if (i == 0)
        seq->first[0] = 0;
    seq->token[i] = pack->token[at];
    seq->start[i] = pack->start[at];
    seq->target[i] = bl_pack_target(pack, at);
    seq->log_p[i] = seq->entropy[i] = seq->log_sum[i] = seq->tail[i] = 0;
    seq->first[i + 1] = seq->first[i];
    if (seq->hidden)
        memset(seq->hidden + i * s->teach->info.hidden_size, 0,
               s->teach->info.hidden_size * sizeof(float));
}

static bl_status take_record(struct shard *s, size_t i, const float *x, struct bl_err *err)
{
    const bl_draw_record *r = &s->record;
    const size_t hidden = s->teach->info.hidden_size;
    bl_cache_seq *seq = &s->seq;
    const uint32_t first = seq->first[i];
    bl_status rc = BL_OK;

    if ((size_t)first + r->n > seq->n_room)
        rc = bl_cache_seq_reserve(seq, seq->n_positions, (size_t)first + r->n, (uint32_t)hidden,
                                  err);
    if (rc != BL_OK)
        return rc;
    if (!isfinite(r->log_sum))
        return bl_fail(err, BL_E_MISMATCH, "%s: logits that are not finite",
                       bl_ckpt_path(s->teach->ckpt));
    seq->log_p[i] = r->log_p;
    seq->entropy[i] = r->entropy;
    seq->log_sum[i] = r->log_sum;
    seq->tail[i] = r->tail;
    if (r->n > 0) {
        memcpy(seq->id + first, r->id, r->n * sizeof(*r->id));
        memcpy(seq->weight + first, r->weight, r->n * sizeof(*r->weight));
        memcpy(seq->count + first, r->count, r->n * sizeof(*r->count));
    }
    seq->first[i + 1] = first + r->n;
    if (seq->hidden)
        memcpy(seq->hidden + i * hidden, x, hidden * sizeof(*x));
    s->teach->n_scored++;
    s->teach->nll -= (double)r->log_p;
    s->teach->entropy += (double)r->entropy;
    return BL_OK;
}

/* Fill positions up to `end` of the shard: those that are not scored, or the scored one at `end` - 1. */
static bl_status fill(struct shard *s, size_t end, bool scored, const float *x, struct bl_err *err)
{
    const uint32_t n_positions = s->teach->info.n_positions;
    bl_status rc = BL_OK;

    for (; s->place < end && rc == BL_OK; s->place++) {
        size_t i = s->place % n_positions;

        begin_position(s, i);
        if (scored && s->place + 1 == end)
            rc = take_record(s, i, x, err);
        if (rc == BL_OK && i + 1 == n_positions)
            rc = bl_cache_shard_add(s->writer, &s->seq, err);
    }
    return rc;
}

/* Scored positions [first, first + n): drawn, and laid down in their order. */
static bl_status draw_group(struct shard *s, const bl_head *head, size_t first, size_t n,
                            struct bl_err *err)
{
    const size_t hidden = (size_t)head->table->n_cols;
    bl_draw draw = { 0 };
    bl_status rc =
        bl_draw_init(&draw, &s->teach->info, s->first_record + first, s->target + first, n, err);

    if (rc == BL_OK)
        rc = bl_head_run(head, 1, n, bl_draw_add, &draw, err);
    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        bl_draw_record_of(&s->record, &draw, i);
        rc = fill(s, s->row[first + i] + 1, true, head->x + i * hidden, err);
    }
    bl_draw_release(&draw);
    return rc;
}

/* Positions whose draws are held at a time: whole blocks of the head, so that no logit depends on it. */
static uint64_t group_tokens(const bl_cache_info *info)
{
    return bl_max_u64(GROUP_BYTES / bl_draw_token_bytes(info) / BL_HEAD_TOKENS, 1) * BL_HEAD_TOKENS;
}

static bl_status read_table(void *context, float *out, uint64_t row, uint64_t n_rows,
                            struct bl_err *err)
{
    const bl_head *head = context;

    return bl_weights_read(out, head->weights, head->table, row, n_rows, err);
}

static bl_status write_head(const struct shard *s, const bl_head *head, struct bl_err *err)
{
    const bl_teach *t = s->teach;
    bl_head copy = *head;

    return bl_cache_write_head(t->options->folder, &t->info, head->table->dtype == BL_BF16,
                               t->options->force && t->n_scored == 0, read_table, &copy, err);
}

static bl_status take_heads(void *context, const bl_head *head, size_t n_models, size_t first,
                            size_t n, struct bl_err *err)
{
    struct shard *s = context;
    const size_t group = (size_t)bl_min_u64(group_tokens(&s->teach->info), n);
    bl_status rc = BL_OK;

    assert(n_models == 1);
    if (s->teach->info.kind == BL_CACHE_HIDDEN && first == 0)
        rc = write_head(s, head, err);
    for (size_t i = 0; i < n && rc == BL_OK; i += group) {
        bl_head here = *head;

        here.x += i * (size_t)head->table->n_cols;
        rc = draw_group(s, &here, first + i, (size_t)bl_min_u64(group, n - i), err);
    }
    return rc;
}

static bl_score score_of(const bl_teach *t, uint32_t i_shard)
{
    const uint32_t first = first_seq(&t->info, i_shard);
    const size_t at = (size_t)first * t->info.n_positions;
    bl_score score = { .token = t->pack->token + at,
                       .start = t->pack->start + at,
                       .n_seqs = first_seq(&t->info, i_shard + 1) - first,
                       .n_positions = t->info.n_positions };

    bl_score_set_models(&score, t->ckpt, NULL, NULL);
    return score;
}

/* Bytes that are held beside the model's run: draws, and what the writer gathers. */
static uint64_t held_bytes(const bl_teach *t, uint64_t n_tokens)
{
    const bl_cache_info *info = &t->info;
    const uint64_t draws = bl_min_u64(group_tokens(info), n_tokens) * bl_draw_token_bytes(info);
    const uint64_t entries = (uint64_t)info->n_draws + info->n_top;

    return draws + n_tokens * (GATHERED_TOKEN_BYTES + ROW_BYTES + GATHERED_ENTRY_BYTES * entries);
}

/* The run's options with the room for what is held taken away. */
static bl_status run_options(bl_score_options *out, const bl_teach *t, uint64_t n_tokens,
                             struct bl_err *err)
{
    const uint64_t held = held_bytes(t, n_tokens);

    *out = t->options->run;
    out->keep = out->scratch != NULL;
    out->force = t->options->force;
    out->resume = !out->force;
    if (out->memory && out->memory <= held)
        return bl_fail(err, BL_E_USAGE,
                       "a shard's answers take %" PRIu64 " MB beside the model: give more --memory "
                       "or less --shard-tokens",
                       held / 1000000 + 1);
    if (out->memory)
        out->memory -= held;
    return BL_OK;
}

static bl_status run_shard(struct shard *s, struct bl_err *err)
{
    const bl_teach *t = s->teach;
    const size_t n = (size_t)s->n_seqs * t->info.n_positions;
    bl_score score = score_of(t, s->i);
    bl_score_options run;
    bl_status rc = run_options(&run, t, n, err);

    if (rc == BL_OK)
        rc = choose_rows(s, err);
    if (rc == BL_OK)
        rc = bl_cache_seq_reserve(&s->seq, t->info.n_positions, 0, t->info.hidden_size, err);
    if (rc == BL_OK) /* it is not there, or not wanted; what a killed run left is replaced */
        rc = bl_cache_shard_begin(&s->writer, t->options->folder, &t->info, s->i, true, err);
    if (rc != BL_OK)
        return rc;
    s->seq.n_positions = t->info.n_positions;
    score.row = s->row;
    score.n_rows = s->n_rows;
    score.heads = take_heads;
    score.context = s;
    rc = bl_score_run(&score, &run, err);
    if (rc == BL_OK)
        rc = fill(s, n, false, NULL, err);
    return rc == BL_OK ? bl_cache_shard_commit(&s->writer, err) : rc;
}

static bl_status make_shard(bl_teach *t, uint32_t i, struct bl_err *err)
{
    const uint32_t first = first_seq(&t->info, i);
    struct shard *s = bl_calloc(1, sizeof(*s)); /* a record is too large for the stack */
    bl_status rc;

    if (!s)
        return bl_fail_nomem(err, "a shard");
    s->teach = t;
    s->i = i;
    s->first_seq = first;
    s->n_seqs = first_seq(&t->info, i + 1) - first;
    rc = run_shard(s, err);
    bl_cache_shard_abort(&s->writer);
    bl_cache_seq_release(&s->seq);
    bl_free(s->row);
    bl_free(s->target);
    bl_free(s);
    return rc;
}

bl_status bl_teach_run(bl_teach *teach, struct bl_err *err)
{
    bl_status rc = teach->options->force ? clear(teach, err) : BL_OK;

    for (uint32_t i = 0; i < teach->info.n_shards && rc == BL_OK; i++) {
        if (!is_mine(teach, i) || teach->is_done[i])
            continue;
        rc = make_shard(teach, i, err);
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
        bl_score score = score_of(teach, i);
        const uint64_t n_tokens = (uint64_t)score.n_seqs * score.n_positions;
        bl_score_options run;
        bl_score_plan shard;

        if (!is_mine(teach, i) || teach->is_done[i])
            continue;
        score.n_rows = count_scored(teach->pack, first_seq(&teach->info, i), score.n_seqs);
        rc = run_options(&run, teach, n_tokens, err);
        if (rc == BL_OK)
            rc = bl_score_plan_make(&shard, &score, &run, err);
        if (rc != BL_OK)
            break;
        shard.memory += held_bytes(teach, n_tokens);
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
