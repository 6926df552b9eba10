/*
 * teach_shard.c - a run of the teacher over the sequences of one shard, its answers drawn and laid down
 * in the order of the text.
 */
#include "distill/teach/teach_shard.h"

#include "base/alloc.h"
#include "base/size.h"
#include "distill/teach/draw.h"
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
    size_t n_rows;
    uint64_t first_record; /* of the cache's scored positions */
    size_t place;          /* the next position of the shard that is to be filled */
    bl_cache_seq seq;
    bl_draw_record record;
};

uint32_t bl_teach_first_seq(const bl_cache_info *info, uint32_t i_shard)
{
    return (uint32_t)((uint64_t)info->n_seqs * i_shard / info->n_shards);
}

size_t bl_teach_count_scored(const bl_pack *pack, uint32_t first, uint32_t n)
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

    s->first_record = bl_teach_count_scored(pack, 0, s->first_seq);
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

bl_score bl_teach_score(const bl_teach *t, uint32_t i_shard)
{
    const uint32_t first = bl_teach_first_seq(&t->info, i_shard);
    const size_t at = (size_t)first * t->info.n_positions;
    bl_score score = { .token = t->pack->token + at,
                       .start = t->pack->start + at,
                       .n_seqs = bl_teach_first_seq(&t->info, i_shard + 1) - first,
                       .n_positions = t->info.n_positions };

    bl_score_set_models(&score, t->ckpt, NULL, NULL);
    return score;
}

uint64_t bl_teach_held_bytes(const bl_teach *t, uint64_t n_tokens)
{
    const bl_cache_info *info = &t->info;
    const uint64_t draws = bl_min_u64(group_tokens(info), n_tokens) * bl_draw_token_bytes(info);
    const uint64_t entries = (uint64_t)info->n_draws + info->n_top;

    return draws + n_tokens * (GATHERED_TOKEN_BYTES + ROW_BYTES + GATHERED_ENTRY_BYTES * entries);
}

bl_status bl_teach_run_options(bl_score_options *out, const bl_teach *t, uint64_t n_tokens,
                               struct bl_err *err)
{
    const uint64_t held = bl_teach_held_bytes(t, n_tokens);

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
    bl_score score = bl_teach_score(t, s->i);
    bl_score_options run;
    bl_status rc = bl_teach_run_options(&run, t, n, err);

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

bl_status bl_teach_make_shard(bl_teach *t, uint32_t i, struct bl_err *err)
{
    const uint32_t first = bl_teach_first_seq(&t->info, i);
    struct shard *s = bl_calloc(1, sizeof(*s)); /* a record is too large for the stack */
    bl_status rc;

    if (!s)
        return bl_fail_nomem(err, "a shard");
    s->teach = t;
    s->i = i;
    s->first_seq = first;
    s->n_seqs = bl_teach_first_seq(&t->info, i + 1) - first;
    rc = run_shard(s, err);
    bl_cache_shard_abort(&s->writer);
    bl_cache_seq_release(&s->seq);
    bl_free(s->row);
    bl_free(s->target);
    bl_free(s);
    return rc;
}
