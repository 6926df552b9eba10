/* distill_teach.c - a text through the teacher, and what it says kept. */
#include "cli/distill_commands.h"
#include "cli/score_plan.h"
#include "distill/teach/draw.h"
#include "distill/teach/teach.h"
#include "formats/logits/cache_reader.h"

#include <inttypes.h>
#include <math.h>

enum {
    MAX_PARTS = 1 << 16,
    DEFAULT_DRAWS = 50,
    DEFAULT_TOP = 64,
    DEFAULT_MIXED_DRAWS = 16,
    DEFAULT_MIXED_TOP = 8
};

struct options {
    bl_common common;
    const char *output, *text, *kind, *separator, *part, *scratch;
    uint64_t draws, top, ctx, max_tokens, seed, shard_tokens, memory;
    uint32_t i_part, n_parts;
    bl_cache_kind cache_kind;
};

static bl_status check_kind(struct options *o, struct bl_err *err)
{
    const bool draws = o->cache_kind == BL_CACHE_SAMPLED || o->cache_kind == BL_CACHE_MIXED;
    const bool top = o->cache_kind == BL_CACHE_TOP_K || o->cache_kind == BL_CACHE_MIXED;
    const uint64_t most = draws && top ? BL_DRAW_MAX_MIXED : BL_CACHE_MAX_KEPT;

    if (o->draws != BL_NOT_GIVEN && !draws)
        return bl_fail(err, BL_E_USAGE, "--draws is of --kind sampled and mixed");
    if (o->top != BL_NOT_GIVEN && !top)
        return bl_fail(err, BL_E_USAGE, "--top is of --kind top-k and mixed");
    if (o->seed != 0 && !draws)
        return bl_fail(err, BL_E_USAGE, "--seed is of --kind sampled and mixed");
    o->draws = !draws                     ? 0
               : o->draws != BL_NOT_GIVEN ? o->draws
               : top                      ? DEFAULT_MIXED_DRAWS
                                          : DEFAULT_DRAWS;
    o->top = !top ? 0 : o->top != BL_NOT_GIVEN ? o->top : draws ? DEFAULT_MIXED_TOP : DEFAULT_TOP;
    if ((draws && o->draws < 1) || (top && o->top < 1) || o->draws > most || o->top > most ||
        o->draws + o->top > most)
        return bl_fail(err, BL_E_USAGE, "%s of --kind %s %s at least 1 and at most %" PRIu64,
                       !top     ? "--draws"
                       : !draws ? "--top"
                                : "--draws and --top together",
                       o->kind, draws && top ? "are" : "is", most);
    return BL_OK;
}

static bl_status check_options(struct options *o, struct bl_err *err)
{
    bl_status rc = BL_OK;

    if (!o->output)
        return bl_fail(err, BL_E_USAGE, "-o CACHE is missing");
    if (!o->text)
        return bl_fail(err, BL_E_USAGE, "--text FILE is missing");
    if (!bl_cache_kind_by_name(&o->cache_kind, o->kind))
        return bl_fail(err, BL_E_USAGE, "--kind '%s' is none of sampled, top-k, mixed, hidden",
                       o->kind);
    if (o->ctx < 8 || o->ctx > 1 << 20)
        return bl_fail(err, BL_E_USAGE, "--ctx is from 8 to 1048576");
    if (o->max_tokens == 0)
        return bl_fail(err, BL_E_USAGE, "--tokens is at least 1");
    if (o->shard_tokens == 0)
        return bl_fail(err, BL_E_USAGE, "--shard-tokens is at least 1");
    o->max_tokens = o->max_tokens == BL_NOT_GIVEN ? 0 : o->max_tokens;
    rc = check_kind(o, err);
    return rc == BL_OK ? bl_cli_parse_part(&o->i_part, &o->n_parts, o->part, MAX_PARTS, err) : rc;
}

/* What was, or will be, done: the same lines in front of both reports. */
static void put_text_head(bl_text *out, const bl_teach *t, const struct options *o)
{
    const bl_pack *p = t->pack;

    bl_text_put_name(out, o->output);
    bl_text_printf(out, ": what %s says of each next token, %s", t->info.name, o->kind);
    if (t->info.n_top > 0)
        bl_text_printf(out, ", %" PRIu32 " likeliest", t->info.n_top);
    if (t->info.n_draws > 0)
        bl_text_printf(out, ", %" PRIu32 " draws", t->info.n_draws);
    bl_text_printf(out, "\ndocuments          %12" PRIu64 "\n", p->n_documents);
    bl_text_printf(out, "tokens             %12" PRIu64, (uint64_t)p->n_seqs * p->n_positions);
    if (p->n_dropped > 0)
        bl_text_printf(out, ", and %" PRIu64 " left out at the end", p->n_dropped);
    bl_text_printf(out, "\nsequences          %12" PRIu32 " of %" PRIu32 " tokens\n", p->n_seqs,
                   p->n_positions);
    bl_text_printf(out, "shards             %12" PRIu32, t->info.n_shards);
    if (t->n_mine < t->info.n_shards)
        bl_text_printf(out, ", %" PRIu32 " of them in part %s", t->n_mine, o->part);
    if (t->n_done > 0)
        bl_text_printf(out, ", %" PRIu32 " already there", t->n_done);
    bl_text_puts(out, "\n");
}

static void put_json_head(bl_json_writer *w, const bl_teach *t, const struct options *o)
{
    const bl_pack *p = t->pack;

    bl_json_pair_string(w, "cache", o->output);
    bl_json_pair_string(w, "teacher", t->info.name);
    bl_json_pair_string(w, "kind", o->kind);
    bl_json_pair_u64(w, "draws", t->info.n_draws);
    bl_json_pair_u64(w, "top", t->info.n_top);
    bl_json_pair_u64(w, "documents", p->n_documents);
    bl_json_pair_u64(w, "tokens", (uint64_t)p->n_seqs * p->n_positions);
    bl_json_pair_u64(w, "tokens_left_out", p->n_dropped);
    bl_json_pair_u64(w, "sequences", p->n_seqs);
    bl_json_pair_u64(w, "ctx", p->n_positions);
    bl_json_pair_u64(w, "shards", t->info.n_shards);
    bl_json_pair_u64(w, "shards_of_part", t->n_mine);
    bl_json_pair_u64(w, "shards_there", t->n_done);
}

static bool is_complete(const bl_teach *t)
{
    for (uint32_t i = 0; i < t->info.n_shards; i++)
        if (!t->is_done[i])
            return false;
    return true;
}

/* Bytes of all shards by scored position, 0 while some are missing. */
static bl_status find_density(double *out, const bl_teach *t, const char *path, struct bl_err *err)
{
    bl_cache *cache = NULL;
    bl_cache_sizes sizes;
    bl_status rc;

    *out = 0;
    if (!is_complete(t))
        return BL_OK;
    rc = bl_cache_open(&cache, path, err);
    if (rc != BL_OK)
        return rc;
    sizes = bl_cache_sizes_of(cache);
    if (sizes.n_scored > 0)
        *out = (double)sizes.file / (double)sizes.n_scored;
    bl_cache_close(cache);
    return BL_OK;
}

static bl_status report(const bl_teach *t, const struct options *o, struct bl_err *err)
{
    const double n = t->n_scored > 0 ? (double)t->n_scored : (double)NAN;
    bl_text out = { 0 };
    bl_json_writer w = { .text = &out };
    double density;
    bl_status rc = find_density(&density, t, o->output, err);

    if (o->common.json) {
        bl_json_begin_object(&w);
        put_json_head(&w, t, o);
        bl_json_pair_bool(&w, "complete", is_complete(t));
        bl_json_pair_u64(&w, "scored_now", t->n_scored);
        bl_json_pair_f64(&w, "perplexity_now", exp(t->nll / n));
        bl_json_pair_f64(&w, "entropy_now", t->entropy / n);
        bl_json_pair_f64(&w, "bytes_per_token", density > 0 ? density : (double)NAN);
        bl_json_end_object(&w);
        bl_text_puts(&out, "\n");
    } else {
        put_text_head(&out, t, o);
        if (t->n_scored > 0)
            bl_text_printf(&out, "perplexity         %12.4f of the teacher on %" PRIu64 " tokens\n",
                           exp(t->nll / n), t->n_scored);
        if (density > 0)
            bl_text_printf(&out, "bytes a token      %12.2f\n", density);
        else
            bl_text_puts(&out, "other shards are still missing: other parts, and distill merge\n");
    }
    if (rc == BL_OK)
        rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

static bl_status print_plan(const bl_teach *t, const struct options *o, struct bl_err *err)
{
    bl_text out = { 0 };
    bl_json_writer w = { .text = &out };
    bl_teach_plan plan;
    bl_score_plan all;
    char bytes[32];
    bl_status rc = bl_teach_plan_make(&plan, t, err);

    if (rc != BL_OK)
        return rc;
    all = plan.shard;
    all.n_tokens = plan.n_tokens;
    all.read = plan.read;
    all.n_flop = plan.n_flop;
    if (o->common.json) {
        bl_json_begin_object(&w);
        put_json_head(&w, t, o);
        bl_json_pair_u64(&w, "tokens_to_run", all.n_tokens);
        bl_json_pair_u64(&w, "memory_bytes", all.memory);
        bl_json_pair_u64(&w, "scratch_bytes", all.scratch);
        bl_json_pair_u64(&w, "read_bytes", all.read);
        bl_json_pair_f64(&w, "flop", all.n_flop);
        bl_json_pair_u64(&w, "cache_bytes_estimate", plan.bytes_estimate);
        bl_json_end_object(&w);
        bl_text_puts(&out, "\n");
    } else {
        put_text_head(&out, t, o);
        bl_text_printf(&out, "the cache, about   %12s\n",
                       bl_text_bytes(bytes, plan.bytes_estimate));
        bl_cli_put_score_plan(&out, &all, (int)o->common.n_threads, false);
    }
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

static bl_status make_cache(const bl_ckpt *ckpt, const bl_pack *pack, const struct options *o,
                            struct bl_err *err)
{
    bl_teach_options options = { .folder = o->output,
                                 .run = { .n_threads = (int)o->common.n_threads,
                                          .memory = o->memory,
                                          .scratch = o->scratch },
                                 .kind = o->cache_kind,
                                 .n_draws = (uint32_t)o->draws,
                                 .n_top = (uint32_t)o->top,
                                 .seed = o->seed,
                                 .shard_tokens = o->shard_tokens,
                                 .i_part = o->i_part,
                                 .n_parts = o->n_parts,
                                 .force = o->common.force };
    bl_teach teach = { 0 };
    bl_status rc = bl_teach_begin(&teach, ckpt, pack, &options, err);

    if (rc == BL_OK && o->common.dry_run) {
        rc = print_plan(&teach, o, err);
    } else if (rc == BL_OK) {
        options.run.progress = bl_progress_new(
            "distill: teach", (teach.n_mine - teach.n_done) * bl_score_bytes(ckpt, NULL),
            o->common.progress);
        rc = bl_teach_run(&teach, err);
        bl_progress_free(options.run.progress);
        if (rc == BL_OK)
            rc = report(&teach, o, err);
    }
    bl_teach_release(&teach);
    return rc;
}

static bl_status teach(const char *path, const struct options *o, struct bl_err *err)
{
    const bl_pack_options options = { .n_positions = (uint32_t)o->ctx,
                                      .separator = o->separator,
                                      .max_tokens = o->max_tokens };
    bl_ckpt *ckpt = NULL;
    bl_pack pack = { 0 };
    bl_status rc = bl_cli_check_output(o->output, path, err);

    if (rc == BL_OK)
        rc = bl_cli_check_output(o->output, o->text, err);
    if (rc == BL_OK)
        rc = bl_ckpt_open(&ckpt, path, err);
    if (rc == BL_OK && !bl_ckpt_has_config(ckpt))
        rc = bl_fail(err, BL_E_USAGE, "%s: without a configuration it cannot be run", path);
    if (rc == BL_OK)
        rc = bl_pack_text(&pack, ckpt, o->text, &options, err);
    if (rc == BL_OK)
        rc = make_cache(ckpt, &pack, o, err);
    bl_pack_release(&pack);
    bl_ckpt_close(ckpt);
    return rc;
}

int bl_cmd_distill_teach(const bl_command *command, int argc, char **argv)
{
    struct options o = { .kind = "sampled",
                         .draws = BL_NOT_GIVEN,
                         .top = BL_NOT_GIVEN,
                         .ctx = 512,
                         .max_tokens = BL_NOT_GIVEN,
                         .shard_tokens = 1 << 18 };
    const bl_option table[] = {
        { "--output", 'o', BL_OPTION_STRING, &o.output, "CACHE", "the folder for the shards" },
        { "--text", 0, BL_OPTION_STRING, &o.text, "FILE|DIR",
          "UTF-8 text, or a folder of such files: a document each" },
        { "--kind", 0, BL_OPTION_STRING, &o.kind, "KIND",
          "what is kept: sampled (default), top-k, mixed or hidden" },
        { "--draws", 0, BL_OPTION_U64, &o.draws, "N",
          "draws of a token: sampled (default 50), mixed (default 16)" },
        { "--top", 0, BL_OPTION_U64, &o.top, "K",
          "likeliest tokens that are kept: top-k (default 64), mixed (default 8)" },
        { "--ctx", 0, BL_OPTION_U64, &o.ctx, "N", "tokens in a sequence (default 512)" },
        { "--tokens", 0, BL_OPTION_U64, &o.max_tokens, "N", "of the text, at most (default all)" },
        { "--separator", 0, BL_OPTION_STRING, &o.separator, "LINE",
          "a line that stands between the documents of a file" },
        { "--seed", 0, BL_OPTION_U64, &o.seed, "S", "of the draws (default 0)" },
        { "--shard-tokens", 0, BL_OPTION_U64, &o.shard_tokens, "N",
          "in a shard: one run of the model (default 262144)" },
        { "--part", 0, BL_OPTION_STRING, &o.part, "i/N",
          "only every N-th shard, from the i-th on: one machine's share" },
        { "--memory", 0, BL_OPTION_SIZE, &o.memory, "SIZE",
          "of the process, at most (default 4GiB where that is enough)" },
        { "--scratch", 0, BL_OPTION_STRING, &o.scratch, "DIR",
          "for hidden states: what does not fit, and all after each layer" },
        BL_OPTION_DRY_RUN(o.common),
        { "--force", 0, BL_OPTION_FLAG, &o.common.force, NULL, "begin again: replace shards" },
        BL_OPTION_JSON(o.common),
        BL_OPTION_THREADS(o.common),
        BL_OPTION_QUIET(o.common),
        BL_OPTION_PROGRESS(o.common),
        BL_OPTION_HELP(o.common),
        BL_OPTION_END,
    };
    struct bl_err err = { 0 };
    const char *path;
    size_t n;
    int early = bl_cli_parse(&path, &n, 1, 1, command, table, &o.common, argc, argv);
    bl_status rc;

    if (early != BL_CLI_RUN)
        return early;
    rc = check_options(&o, &err);
    if (rc == BL_OK)
        rc = teach(path, &o, &err);
    return bl_cli_finish(command, rc, &err);
}
