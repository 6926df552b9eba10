/* distill_teach.c - a text through the teacher, and what it says kept. */
#include "cli/distill_commands.h"
#include "formats/logits/cache.h"

#include <string.h>

static const uint64_t not_given = UINT64_MAX;

enum { MAX_PARTS = 1 << 16, DEFAULT_DRAWS = 50, DEFAULT_TOP = 64, DEFAULT_MIXED_TOP = 8 };

struct options {
    bl_common common;
    const char *output, *text, *kind, *separator, *part, *scratch;
    uint64_t draws, top, ctx, max_tokens, seed, shard_tokens, memory;
    uint32_t i_part, n_parts;
    bl_cache_kind cache_kind;
};

static bool find_kind(bl_cache_kind *out, const char *name)
{
    static const char *const names[] = { "sampled", "top-k", "mixed", "hidden" };

    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (bl_cache_kind)(BL_CACHE_SAMPLED + i);
            return true;
        }
    return false;
}

static bl_status check_kind(struct options *o, struct bl_err *err)
{
    const bool draws = o->cache_kind == BL_CACHE_SAMPLED || o->cache_kind == BL_CACHE_MIXED;
    const bool top = o->cache_kind == BL_CACHE_TOP_K || o->cache_kind == BL_CACHE_MIXED;

    if (o->draws != not_given && !draws)
        return bl_fail(err, BL_E_USAGE, "--draws is of --kind sampled and mixed");
    if (o->top != not_given && !top)
        return bl_fail(err, BL_E_USAGE, "--top is of --kind top-k and mixed");
    if (o->seed != 0 && !draws)
        return bl_fail(err, BL_E_USAGE, "--seed is of --kind sampled and mixed");
    if (!draws)
        o->draws = 0;
    else if (o->draws == not_given)
        o->draws = DEFAULT_DRAWS;
    if (!top)
        o->top = 0;
    else if (o->top == not_given)
        o->top = o->cache_kind == BL_CACHE_TOP_K ? DEFAULT_TOP : DEFAULT_MIXED_TOP;
    if ((draws && o->draws < 1) || (top && o->top < 1) || o->draws > BL_CACHE_MAX_KEPT ||
        o->top > BL_CACHE_MAX_KEPT || o->draws + o->top > BL_CACHE_MAX_KEPT)
        return bl_fail(err, BL_E_USAGE, "--draws and --top are at least 1, together at most %d",
                       BL_CACHE_MAX_KEPT);
    return BL_OK;
}

static bl_status check_options(struct options *o, struct bl_err *err)
{
    bl_status rc = BL_OK;

    if (!o->output)
        return bl_fail(err, BL_E_USAGE, "-o CACHE is missing");
    if (!o->text)
        return bl_fail(err, BL_E_USAGE, "--text FILE is missing");
    if (!find_kind(&o->cache_kind, o->kind))
        return bl_fail(err, BL_E_USAGE, "--kind '%s' is none of sampled, top-k, mixed, hidden",
                       o->kind);
    if (o->ctx < 8 || o->ctx > 1 << 20)
        return bl_fail(err, BL_E_USAGE, "--ctx is from 8 to 1048576");
    if (o->max_tokens == 0)
        return bl_fail(err, BL_E_USAGE, "--tokens is at least 1");
    if (o->shard_tokens == 0)
        return bl_fail(err, BL_E_USAGE, "--shard-tokens is at least 1");
    if (o->separator && !*o->separator)
        return bl_fail(err, BL_E_USAGE, "--separator is a line that is not empty");
    o->max_tokens = o->max_tokens == not_given ? 0 : o->max_tokens;
    rc = check_kind(o, err);
    return rc == BL_OK ? bl_cli_parse_part(&o->i_part, &o->n_parts, o->part, MAX_PARTS, err) : rc;
}

int bl_cmd_distill_teach(const bl_command *command, int argc, char **argv)
{
    struct options o = { .kind = "sampled",
                         .draws = not_given,
                         .top = not_given,
                         .ctx = 512,
                         .max_tokens = not_given,
                         .shard_tokens = 1 << 18 };
    const bl_option table[] = {
        { "--output", 'o', BL_OPTION_STRING, &o.output, "CACHE", "the folder for the shards" },
        { "--text", 0, BL_OPTION_STRING, &o.text, "FILE|DIR",
          "UTF-8 text, or a folder of such files: a document each" },
        { "--kind", 0, BL_OPTION_STRING, &o.kind, "KIND",
          "what is kept: sampled (default), top-k, mixed or hidden" },
        { "--draws", 0, BL_OPTION_U64, &o.draws, "N", "of a token: sampled, mixed (default 50)" },
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
        rc = bl_fail(&err, BL_E_UNSUPPORTED, "%s: not yet", path);
    return bl_cli_finish(command, rc, &err);
}
