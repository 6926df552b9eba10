/* distill_inspect.c - a cache read whole: what it is of, what it is worth, what it takes. */
#include "cli/distill_commands.h"
#include "distill/teach/summary.h"

#include <inttypes.h>
#include <stdio.h>

struct view {
    const bl_cache_info *info;
    bl_cache_sizes sizes;
    bl_cache_summary summary;
    const char *path;
};

static const char *hex(char out[33], bl_hash128 hash)
{
    (void)snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
    return out;
}

static bool has_exact(const bl_cache_info *info)
{
    return info->kind == BL_CACHE_TOP_K || info->kind == BL_CACHE_MIXED;
}

static void put_bytes(bl_text *out, const char *name, uint64_t n, uint64_t n_scored)
{
    bl_text_printf(out, "  %-16s %14" PRIu64, name, n);
    if (n_scored > 0)
        bl_text_printf(out, " %12.3f", (double)n / (double)n_scored);
    bl_text_puts(out, "\n");
}

static void put_identity(bl_text *out, const struct view *v)
{
    const bl_cache_info *i = v->info;
    char hash[33];

    bl_text_printf(out, "kind             %s", bl_cache_kind_name(i->kind));
    if (i->n_top > 0)
        bl_text_printf(out, ", %" PRIu32 " likeliest", i->n_top);
    if (i->n_draws > 0)
        bl_text_printf(out, ", %" PRIu32 " draws, seed %" PRIu64, i->n_draws, i->seed);
    if (i->hidden_size > 0)
        bl_text_printf(out, ", %" PRIu32 " values", i->hidden_size);
    bl_text_puts(out, "\nteacher          ");
    bl_text_put_name(out, i->name);
    bl_text_printf(out, " %s\n", hex(hash, i->model));
    bl_text_printf(out, "vocabulary       %" PRIu32 " %s\n", i->vocab_size,
                   hex(hash, i->tokenizer));
    bl_text_printf(out, "text             %s\n", hex(hash, i->text));
    bl_text_printf(out, "packing          %s\n", hex(hash, i->packing));
    bl_text_printf(out,
                   "sequences        %" PRIu32 " of %" PRIu32 " tokens in %" PRIu32 " shard%s\n",
                   i->n_seqs, i->n_positions, i->n_shards, i->n_shards == 1 ? "" : "s");
}

static void put_text(bl_text *out, const struct view *v)
{
    const bl_cache_summary *s = &v->summary;
    const uint64_t n = s->n_scored;

    put_identity(out, v);
    bl_text_printf(out, "tokens           %" PRIu64 ", %" PRIu64 " with an answer\n",
                   (uint64_t)v->info->n_seqs * v->info->n_positions, n);
    bl_text_printf(out, "perplexity       %.4f of the text in the teacher\n", s->perplexity);
    bl_text_printf(out, "entropy          %.4f nats, mean\n", s->mean_entropy);
    if (v->info->kind != BL_CACHE_HIDDEN) {
        bl_text_printf(out,
                       "ids a token      %.3f; half have at most %" PRIu32
                       ", 99 %% at most %" PRIu32 "\n",
                       s->mean_ids, s->median_ids, s->p99_ids);
        bl_text_printf(out, "target           among the ids of %.2f %% of the tokens\n",
                       100 * s->covered);
    }
    if (has_exact(v->info))
        bl_text_printf(out, "tail             %.3f %% of the mass is with ids that are not exact\n",
                       100 * s->mean_tail);
    bl_text_puts(out, "\nbytes                       all      a token\n");
    put_bytes(out, v->info->kind == BL_CACHE_HIDDEN ? "states" : "entries", v->sizes.entries, n);
    put_bytes(out, "statistics", v->sizes.statistics, n);
    put_bytes(out, "tokens", v->sizes.tokens, n);
    put_bytes(out, "tables", v->sizes.tables, n);
    put_bytes(out, "shards, whole", v->sizes.file, n);
    if (v->sizes.head > 0)
        put_bytes(out, "output head", v->sizes.head, n);
}

static void put_hash(bl_json_writer *w, const char *key, bl_hash128 value)
{
    char hash[33];

    bl_json_pair_string(w, key, hex(hash, value));
}

static void put_json(bl_text *out, const struct view *v)
{
    const bl_cache_info *i = v->info;
    const bl_cache_summary *s = &v->summary;
    bl_json_writer w = { .text = out };

    bl_json_begin_object(&w);
    bl_json_pair_string(&w, "path", v->path);
    bl_json_pair_string(&w, "kind", bl_cache_kind_name(i->kind));
    bl_json_pair_u64(&w, "draws", i->n_draws);
    bl_json_pair_u64(&w, "top", i->n_top);
    bl_json_pair_u64(&w, "hidden_size", i->hidden_size);
    bl_json_pair_u64(&w, "seed", i->seed);
    bl_json_pair_string(&w, "teacher", i->name);
    put_hash(&w, "teacher_hash", i->model);
    bl_json_pair_u64(&w, "vocab_size", i->vocab_size);
    put_hash(&w, "tokenizer_hash", i->tokenizer);
    put_hash(&w, "text_hash", i->text);
    put_hash(&w, "packing_hash", i->packing);
    bl_json_pair_u64(&w, "sequences", i->n_seqs);
    bl_json_pair_u64(&w, "ctx", i->n_positions);
    bl_json_pair_u64(&w, "shards", i->n_shards);
    bl_json_pair_u64(&w, "scored", s->n_scored);
    bl_json_pair_u64(&w, "entries", s->n_entries);
    bl_json_pair_f64(&w, "perplexity", s->perplexity);
    bl_json_pair_f64(&w, "mean_nll", s->mean_nll);
    bl_json_pair_f64(&w, "mean_entropy", s->mean_entropy);
    bl_json_pair_f64(&w, "mean_ids", s->mean_ids);
    bl_json_pair_u64(&w, "median_ids", s->median_ids);
    bl_json_pair_u64(&w, "p99_ids", s->p99_ids);
    bl_json_pair_f64(&w, "target_covered", s->covered);
    bl_json_pair_f64(&w, "mean_tail", s->mean_tail);
    bl_json_put_key(&w, "bytes");
    bl_json_begin_object(&w);
    bl_json_pair_u64(&w, "entries", v->sizes.entries);
    bl_json_pair_u64(&w, "statistics", v->sizes.statistics);
    bl_json_pair_u64(&w, "tokens", v->sizes.tokens);
    bl_json_pair_u64(&w, "tables", v->sizes.tables);
    bl_json_pair_u64(&w, "shards", v->sizes.file);
    bl_json_pair_u64(&w, "head", v->sizes.head);
    bl_json_end_object(&w);
    bl_json_end_object(&w);
    bl_text_puts(out, "\n");
}

static bl_status inspect(const char *path, const bl_common *common, struct bl_err *err)
{
    struct view view = { .path = path };
    bl_progress *progress = NULL;
    bl_cache *cache = NULL;
    bl_text out = { 0 };
    bl_status rc = bl_cache_open(&cache, path, err);

    if (rc == BL_OK) {
        view.info = bl_cache_info_of(cache);
        view.sizes = bl_cache_sizes_of(cache);
        progress = bl_progress_new("distill: inspect", view.sizes.file, common->progress);
        rc = bl_cache_summarize(&view.summary, cache, (int)common->n_threads, progress, err);
        bl_progress_free(progress);
    }
    if (rc == BL_OK) {
        (common->json ? put_json : put_text)(&out, &view);
        rc = bl_cli_print(&out, err);
    }
    bl_text_release(&out);
    bl_cache_close(cache);
    return rc;
}

int bl_cmd_distill_inspect(const bl_command *command, int argc, char **argv)
{
    bl_common common = { 0 };
    const bl_option table[] = {
        BL_OPTION_JSON(common),     BL_OPTION_THREADS(common), BL_OPTION_QUIET(common),
        BL_OPTION_PROGRESS(common), BL_OPTION_HELP(common),    BL_OPTION_END,
    };
    struct bl_err err = { 0 };
    const char *path;
    size_t n;
    int early = bl_cli_parse(&path, &n, 1, 1, command, table, &common, argc, argv);

    if (early != BL_CLI_RUN)
        return early;
    return bl_cli_finish(command, inspect(path, &common, &err), &err);
}
