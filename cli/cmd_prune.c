/*
 * cmd_prune.c - a model with fewer experts, or fewer layers, in any container: stored bytes are cut, never
 * encoded again. With --dry-run and texts nothing is written: prunings are tried as masks.
 */
#include "base/alloc.h"
#include "base/hash.h"
#include "cli/prune_run.h"
#include "convert/cast.h"
#include "formats/slice/slice.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 65536 }; /* experts, layers */

static uint32_t given_or(uint64_t value, uint32_t otherwise)
{
    return value == BL_NOT_GIVEN ? otherwise : (uint32_t)value;
}

/* "reap,msan", or "all". */
static bl_status parse_methods(bl_prune_input *in, const char *text, struct bl_err *err)
{
    if (strcmp(text, "all") == 0) {
        for (int i = 0; i < BL_PRUNE_METHOD_COUNT; i++)
            in->method[in->n_methods++] = (bl_prune_method)i;
        return BL_OK;
    }
    for (const char *at = text;; at++) {
        const size_t n = strcspn(at, ",");
        char name[32];

        snprintf(name, sizeof(name), "%.*s", (int)(n < sizeof(name) ? n : sizeof(name) - 1), at);
        if (in->n_methods == BL_PRUNE_METHOD_COUNT ||
            !bl_prune_method_by_name(&in->method[in->n_methods], name))
            return bl_fail(err, BL_E_USAGE,
                           "--method is reap, msan, easy-ep, frequency, aimer or random, each "
                           "once, not '%s'",
                           text);
        in->n_methods++;
        at += n;
        if (*at == '\0')
            return BL_OK;
    }
}

/* "0.125,0.25" */
static bl_status parse_ratios(bl_prune_input *in, const char *text, struct bl_err *err)
{
    for (const char *at = text; at; at++) {
        char *end = NULL;
        const double ratio = strtod(at, &end);

        if (end == at || (*end != ',' && *end != '\0') || !(ratio >= 0 && ratio < 1) ||
            in->n_ratios == BL_PRUNE_MAX_RATIOS)
            return bl_fail(err, BL_E_USAGE,
                           "--sweep is a list of ratios from 0 to below 1, not '%s'", text);
        in->ratio[in->n_ratios++] = ratio;
        at = end;
        if (*at == '\0')
            return BL_OK;
    }
    return BL_OK;
}

/* "FILE" or "FILE:WEIGHT". */
static bl_status open_stats(bl_stats **out, double *weight, const char *text, struct bl_err *err)
{
    const char *colon = strrchr(text, ':');
    char *end = NULL, *path;
    size_t n = strlen(text);
    bl_status rc;

    *weight = 1;
    if (colon && colon[1] != '\0') {
        const double w = strtod(colon + 1, &end);

        if (*end == '\0') {
            if (!(w > 0) || !isfinite(w))
                return bl_fail(err, BL_E_USAGE, "--stats FILE:WEIGHT: a weight above 0, not '%s'",
                               colon + 1);
            *weight = w;
            n = (size_t)(colon - text);
        }
    }
    path = bl_strndup(text, n);
    if (!path)
        return bl_fail_nomem(err, text);
    rc = bl_stats_open(out, path, err);
    bl_free(path);
    return rc;
}

static bl_status open_domains(bl_prune_input *in, const bl_prune_options *o, struct bl_err *err)
{
    bl_status rc = BL_OK;

    if (o->stats.n > BL_PRUNE_MAX_DOMAINS)
        return bl_fail(err, BL_E_USAGE, "at most %d times --stats", BL_PRUNE_MAX_DOMAINS);
    for (size_t i = 0; i < o->stats.n && rc == BL_OK; i++) {
        bl_prune_domain *d = &in->domain[i];
        bool other_precision = false;

        rc = open_stats(&in->stats[i], &d->weight, o->stats.value[i], err);
        if (rc != BL_OK)
            break;
        d->stats = in->stats[i];
        in->n_domains++;
        rc = bl_stats_check(&other_precision, d->stats, in->ckpt, err);
        if (rc == BL_OK && other_precision)
            bl_cli_warn(o->convert.command, &o->convert.common,
                        "%s: statistics of the same model in another precision or container",
                        bl_stats_path(d->stats));
    }
    return rc;
}

static void close_domains(bl_prune_input *in)
{
    for (size_t i = 0; i < in->n_domains; i++)
        bl_stats_close(in->stats[i]);
}

static uint32_t experts_left(const bl_prune_options *o, const bl_config *c)
{
    if (o->n_experts != BL_NOT_GIVEN)
        return (uint32_t)o->n_experts;
    return o->ratio >= 0 ? bl_prune_count(c, o->ratio, o->ungroup) : c->n_experts;
}

/* What is done, for the record: "reap", "reap,layers". */
static void name_choice(char *out, size_t n, const bl_prune_options *o, const char *method)
{
    snprintf(out, n, "%s%s%s%s", method ? method : "", given_or(o->n_drop, 0) > 0 ? ",layers" : "",
             o->ungroup ? ",ungroup" : "",
             o->experts_per_token != BL_NOT_GIVEN ? ",experts-per-token" : "");
    if (!method)
        memmove(out, out + 1, strlen(out)); /* the comma; something is asked for */
}

/* By the one method. */
static bl_status choose(bl_prune_choice *out, char name[BL_PRUNING_METHOD_BYTES],
                        bl_prune_scores *scores, const bl_prune_options *o,
                        const bl_prune_input *in, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(in->ckpt);
    const bl_prune_order order = { .n_experts = experts_left(o, c),
                                   .ungroup = o->ungroup,
                                   .experts_per_token = given_or(o->experts_per_token, 0) };
    const bool cuts = c->n_experts > 0 && order.n_experts != c->n_experts;
    bl_status rc = BL_OK;

    if (c->n_experts == 0 && (o->n_experts != BL_NOT_GIVEN || o->ratio >= 0 || o->ungroup ||
                              o->experts_per_token != BL_NOT_GIVEN))
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: a model without experts",
                       bl_ckpt_path(in->ckpt));
    if (c->n_experts > 0)
        rc = bl_prune_check(c, &order, err); /* before what takes long */
    if (rc == BL_OK && c->n_experts > 0 && !cuts && given_or(o->n_drop, 0) == 0 && !o->ungroup &&
        o->experts_per_token == BL_NOT_GIVEN)
        rc = bl_fail(err, BL_E_USAGE, "nothing would go: %" PRIu32 " experts of %" PRIu32 " stay",
                     order.n_experts, c->n_experts);
    if (rc == BL_OK && cuts)
        rc = bl_prune_judge(scores, in->ckpt, in->method[0], in->domain, in->n_domains, o->seed,
                            !o->no_protection, (int)o->convert.common.n_threads, err);
    if (rc == BL_OK)
        rc = bl_prune_choose(out, c, cuts ? scores : NULL, &order, given_or(o->n_drop, 0),
                             in->domain, in->n_domains, err);
    if (rc != BL_OK)
        return rc;
    name_choice(name, BL_PRUNING_METHOD_BYTES, o,
                cuts ? bl_prune_method_name(in->method[0]) : NULL);
    out->method = name;
    out->keeps_mtp = !(o->convert.mtp && strcmp(o->convert.mtp, "drop") == 0);
    return BL_OK;
}

static void put_layers(bl_text *out, const bl_config *c, const bl_prune_choice *choice)
{
    uint32_t next = 0;

    bl_text_printf(out, "layers: %" PRIu32 " of %" PRIu32 ", without", choice->n_layers,
                   c->n_layers);
    for (uint32_t l = 0; l < c->n_layers; l++) {
        if (next < choice->n_layers && choice->layer[next] == l)
            next++;
        else
            bl_text_printf(out, " %" PRIu32, l);
    }
    bl_text_puts(out, "\n");
}

/* What is cut, before it is. */
static bl_status say_choice(const bl_prune_options *o, const bl_prune_input *in,
                            const bl_prune_choice *choice, const bl_prune_scores *scores,
                            struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(in->ckpt);
    const uint32_t n = choice->order.n_experts;
    bl_text out = { 0 };
    bl_status rc;

    if (c->n_experts > 0)
        bl_text_printf(&out, "experts: %" PRIu32 " of %" PRIu32 " in each layer", n, c->n_experts);
    if (n < c->n_experts)
        bl_text_printf(&out, ", by %s", bl_prune_method_name(in->method[0]));
    if ((n < c->n_experts || choice->order.ungroup) && c->n_group > 1)
        bl_text_printf(&out,
                       choice->order.ungroup ? ", the router's %" PRIu32 " groups made one"
                                             : ", the same number in each of %" PRIu32 " groups",
                       c->n_group);
    if (c->n_experts > 0)
        bl_text_printf(&out, "; %" PRIu32 " for each token\n",
                       choice->order.experts_per_token ? choice->order.experts_per_token
                                                       : c->n_experts_used);
    if (scores->n_super > 0)
        bl_text_printf(&out, "super experts, kept: %" PRIu32 "\n", scores->n_super);
    if (scores->n_few > 0 && !o->convert.common.quiet)
        bl_cli_warn(o->convert.command, &o->convert.common,
                    "%" PRIu32 " experts met fewer than %d tokens of the text", scores->n_few,
                    BL_PRUNE_FEW);
    if (choice->n_layers < c->n_layers)
        put_layers(&out, c, choice);
    rc = out.n > 0 ? bl_cli_print(&out, err) : BL_OK;
    bl_text_release(&out);
    return rc;
}

/* The choice as its record, for programs: --dry-run --json. */
static bl_status print_record(const bl_ckpt *view, struct bl_err *err)
{
    bl_text out = { 0 };
    bl_status rc = bl_pruning_text(&out, view, err);

    bl_text_puts(&out, "\n");
    if (rc == BL_OK)
        rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

/* Write the view as convert writes any checkpoint; a GGUF file to GGUF by bytes. */
static bl_status write_view(const bl_prune_options *o, const bl_ckpt *view, struct bl_err *err)
{
    bl_convert_options convert = o->convert;
    bl_text record = { 0 };
    bl_status rc = bl_pruning_text(&record, view, err);

    if (!convert.dtype && strcmp(bl_ckpt_container(view)->kind, "gguf") == 0 &&
        bl_cli_has_suffix(convert.output, ".gguf"))
        convert.dtype = "keep";
    if (strcmp(bl_ckpt_container(view)->kind, "gguf") == 0 ||
        bl_cli_has_suffix(convert.output, ".bln"))
        convert.mtp = NULL; /* the view is without them already */
    convert.more = record.bytes;
    if (rc == BL_OK)
        rc = bl_convert_run(&convert, view, err);
    bl_text_release(&record);
    return rc;
}

static bl_status prune(const bl_prune_options *o, const bl_prune_input *in, struct bl_err *err)
{
    bl_prune_choice choice = { 0 };
    bl_prune_scores scores = { 0 };
    char name[BL_PRUNING_METHOD_BYTES];
    bl_ckpt *view = NULL;
    bl_status rc = choose(&choice, name, &scores, o, in, err);

    if (rc == BL_OK) {
        const bl_slice slice = bl_prune_slice_of(&choice);

        rc = bl_slice_open(&view, in->ckpt, &slice, err);
    }
    if (rc == BL_OK && o->convert.common.dry_run && o->convert.common.json)
        rc = print_record(view, err);
    else if (rc == BL_OK) {
        rc = say_choice(o, in, &choice, &scores, err);
        if (rc == BL_OK && o->convert.output)
            rc = write_view(o, view, err);
    }
    bl_ckpt_close(view);
    bl_prune_scores_release(&scores);
    bl_prune_choice_release(&choice);
    return rc;
}

static bl_status check_trial_options(const bl_prune_options *o, struct bl_err *err)
{
    if (o->convert.output)
        return bl_fail(err, BL_E_USAGE, "with --text nothing is written: leave out -o");
    if (!o->convert.common.dry_run)
        return bl_fail(err, BL_E_USAGE,
                       "--text is for --dry-run: what is written is measured by "
                       "'baleen verify'");
    if (o->ctx != BL_NOT_GIVEN && (o->ctx < 8 || o->ctx > 1 << 20))
        return bl_fail(err, BL_E_USAGE, "--ctx is from 8 to 1048576");
    if (o->max_tokens == 0)
        return bl_fail(err, BL_E_USAGE, "--tokens is at least 1");
    if (o->n_seeds < 1 || o->n_seeds > 100)
        return bl_fail(err, BL_E_USAGE, "--seeds is from 1 to 100");
    return BL_OK;
}

/* What is to go, before a file is opened. */
static bl_status check_asked(const bl_prune_options *o, struct bl_err *err)
{
    const uint64_t number[] = { o->n_experts, o->experts_per_token, o->n_drop, o->rank_layer };

    for (size_t i = 0; i < sizeof(number) / sizeof(*number); i++)
        if (number[i] != BL_NOT_GIVEN && number[i] > MOST)
            return bl_fail(err, BL_E_USAGE, "%" PRIu64 " experts or layers: at most %d", number[i],
                           MOST);
    if (o->n_experts != BL_NOT_GIVEN && o->ratio >= 0)
        return bl_fail(err, BL_E_USAGE, "--experts and --ratio say the same: give one");
    if (o->n_experts == 0 || o->experts_per_token == 0)
        return bl_fail(err, BL_E_USAGE, "at least one expert must stay");
    if (o->ratio >= 1)
        return bl_fail(err, BL_E_USAGE, "--ratio is below 1: the share of experts that goes");
    if (o->n_experts == BL_NOT_GIVEN && o->ratio < 0 && !o->sweep && !o->ungroup &&
        o->rank_layer == BL_NOT_GIVEN && given_or(o->n_drop, 0) == 0 &&
        o->experts_per_token == BL_NOT_GIVEN)
        return bl_fail(err, BL_E_USAGE,
                       "what is to go? --experts N, --ratio X, --drop-layers N, --ungroup or "
                       "--experts-per-token N");
    return BL_OK;
}

static bl_status check_options(const bl_prune_options *o, const bl_prune_input *in,
                               const char *input, struct bl_err *err)
{
    const bl_convert_options *c = &o->convert;
    bl_status rc = check_asked(o, err);

    if (rc != BL_OK)
        return rc;
    if (o->text.n > 0)
        return check_trial_options(o, err);
    if (o->sweep || o->plot || o->rank_layer != BL_NOT_GIVEN)
        return bl_fail(err, BL_E_USAGE,
                       "--sweep, --rank-layer and --plot try prunings on a text: --dry-run --text "
                       "FILE");
    if (in->n_methods != 1)
        return bl_fail(err, BL_E_USAGE, "one --method, or several with --dry-run --text FILE");
    if (!c->output && !c->common.dry_run)
        return bl_fail(err, BL_E_USAGE, "-o OUT is missing (or --dry-run)");
    if (c->common.json && !c->common.dry_run)
        return bl_fail(err, BL_E_USAGE, "--json is for --dry-run");
    if (c->mtp && strcmp(c->mtp, "keep") != 0 && strcmp(c->mtp, "drop") != 0)
        return bl_fail(err, BL_E_USAGE, "--mtp is keep or drop, not '%s'", c->mtp);
    if (c->dtype && strcmp(c->dtype, "keep") != 0 && !bl_cast_encoder_by_name(c->dtype))
        return bl_fail(err, BL_E_USAGE, "--dtype is keep, f32, bf16 or f16, not '%s'", c->dtype);
    if (c->shard_size == 0)
        return bl_fail(err, BL_E_USAGE, "--shard-size is at least 1");
    rc = c->output ? bl_cli_check_output(c->output, input, err) : BL_OK;
    for (size_t i = 0; i < o->stats.n && rc == BL_OK && c->output; i++)
        rc = bl_cli_check_output(c->output, o->stats.value[i], err);
    return rc;
}

/* Of trials without a list: the one ratio that --ratio or --experts mean. */
static bl_status set_ratio(bl_prune_input *in, const bl_prune_options *o, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(in->ckpt);

    if (c->n_experts == 0)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: a model without experts",
                       bl_ckpt_path(in->ckpt));
    if (o->sweep)
        return BL_OK;
    if (o->n_experts != BL_NOT_GIVEN && o->n_experts > c->n_experts)
        return bl_fail(err, BL_E_USAGE, "the model has %" PRIu32 " experts in a layer",
                       c->n_experts);
    if (o->n_experts != BL_NOT_GIVEN)
        in->ratio[in->n_ratios++] = 1 - (double)o->n_experts / c->n_experts;
    else if (o->rank_layer == BL_NOT_GIVEN || o->ratio >= 0)
        in->ratio[in->n_ratios++] = o->ratio >= 0 ? o->ratio : 0;
    return BL_OK;
}

static bl_status run(bl_prune_options *o, const char *path, struct bl_err *err)
{
    bl_prune_input in = { 0 };
    bl_ckpt *ckpt = NULL;
    bl_status rc = parse_methods(&in, o->method, err);

    if (rc == BL_OK && o->sweep)
        rc = parse_ratios(&in, o->sweep, err);
    if (rc == BL_OK)
        rc = check_options(o, &in, path, err);
    if (rc == BL_OK)
        rc = bl_ckpt_open(&ckpt, path, err);
    in.ckpt = ckpt;
    if (rc == BL_OK && !bl_ckpt_has_config(ckpt))
        rc = bl_fail(err, BL_E_UNSUPPORTED,
                     "%s: no configuration, so nothing says what its "
                     "experts are",
                     path);
    if (rc == BL_OK)
        rc = open_domains(&in, o, err);
    if (rc == BL_OK && o->text.n > 0) {
        rc = set_ratio(&in, o, err);
        if (rc == BL_OK)
            rc = bl_prune_try(o, &in, err);
    } else if (rc == BL_OK) {
        rc = prune(o, &in, err);
    }
    close_domains(&in);
    bl_ckpt_close(ckpt);
    return rc;
}

static bl_prune_options defaults(const bl_command *command)
{
    return (bl_prune_options){
        .convert = { .command = command, .shard_size = BL_NO_SHARD_SIZE, .codec = "zstd" },
        .method = "reap",
        .n_experts = BL_NOT_GIVEN,
        .experts_per_token = BL_NOT_GIVEN,
        .n_drop = BL_NOT_GIVEN,
        .rank_layer = BL_NOT_GIVEN,
        .ctx = BL_NOT_GIVEN,
        .max_tokens = BL_NOT_GIVEN,
        .ratio = -1,
        .seed = 1,
        .n_seeds = 5
    };
}

int bl_cmd_prune(const bl_command *command, int argc, char **argv)
{
    bl_prune_options o = defaults(command);
    bl_common *common = &o.convert.common;
    const bl_option table[] = {
        { "--output", 'o', BL_OPTION_STRING, &o.convert.output, "OUT",
          "x.bln, x.gguf or a folder" },
        { "--experts", 0, BL_OPTION_U64, &o.n_experts, "N", "that stay in each layer" },
        { "--ratio", 0, BL_OPTION_F64, &o.ratio, "X", "share of the experts that goes: 0.25" },
        { "--stats", 0, BL_OPTION_LIST, &o.stats, "FILE[:WEIGHT]",
          "statistics of 'baleen calibrate'; several for several domains" },
        { "--method", 0, BL_OPTION_STRING, &o.method, "NAME",
          "reap (default), msan, easy-ep, frequency, aimer (no statistics), random" },
        { "--ungroup", 0, BL_OPTION_FLAG, &o.ungroup, NULL,
          "make the router's groups one: any number, and any experts, can stay" },
        { "--experts-per-token", 0, BL_OPTION_U64, &o.experts_per_token, "N",
          "fewer for each token than the model was made for" },
        { "--drop-layers", 0, BL_OPTION_U64, &o.n_drop, "N",
          "whole layers, those that turn the residual stream least" },
        { "--mtp", 0, BL_OPTION_STRING, &o.convert.mtp, "keep|drop",
          "the MTP layers (default: dropped from .gguf, kept elsewhere)" },
        { "--no-protection", 0, BL_OPTION_FLAG, &o.no_protection, NULL,
          "super experts may go like others" },
        { "--seed", 0, BL_OPTION_U64, &o.seed, "N", "of --method random (default 1)" },
        { "--dtype", 0, BL_OPTION_STRING, &o.convert.dtype, "TYPE",
          "keep, f32, bf16, f16 (default: keep where the output can, else bf16)" },
        { "--shard-size", 0, BL_OPTION_SIZE, &o.convert.shard_size, "SIZE",
          "data of one shard of a folder (default 5GB)" },
        { "--split", 0, BL_OPTION_SIZE, &o.convert.split_size, "SIZE",
          "a .gguf or .bln in several files, so much in each" },
        { "--text", 0, BL_OPTION_LIST, &o.text, "FILE",
          "with --dry-run: try it on this text, as a mask; may be repeated" },
        { "--sweep", 0, BL_OPTION_STRING, &o.sweep, "LIST",
          "with --text: ratios, 0.125,0.25; then --method may be a list too, or all" },
        { "--seeds", 0, BL_OPTION_U64, &o.n_seeds, "N",
          "with --text: of --method random, from --seed on (default 5)" },
        { "--rank-layer", 0, BL_OPTION_U64, &o.rank_layer, "L",
          "with --text: what each single expert of layer L is worth, and ratios there alone" },
        { "--plot", 0, BL_OPTION_STRING, &o.plot, "x.svg", "with --text: the table as a plot" },
        { "--ctx", 0, BL_OPTION_U64, &o.ctx, "N", "with --text: tokens of a chunk (default 512)" },
        { "--tokens", 0, BL_OPTION_U64, &o.max_tokens, "N",
          "with --text: of each text, at most (default all)" },
        { "--memory", 0, BL_OPTION_SIZE, &o.convert.memory, "SIZE",
          "of the process, at most; fewer threads or blocks of tokens if need be" },
        { "--scratch", 0, BL_OPTION_STRING, &o.scratch, "DIR",
          "with --text: for hidden states that do not fit" },
        BL_OPTION_THREADS(*common),
        BL_OPTION_FORCE(*common),
        BL_OPTION_RESUME(*common),
        BL_OPTION_STRICT(*common),
        BL_OPTION_DRY_RUN(*common),
        BL_OPTION_JSON(*common),
        BL_OPTION_QUIET(*common),
        BL_OPTION_PROGRESS(*common),
        BL_OPTION_HELP(*common),
        BL_OPTION_END,
    };
    struct bl_err err = { 0 };
    const char *path;
    size_t n;
    int early = bl_cli_parse(&path, &n, 1, 1, command, table, common, argc, argv);

    if (early != BL_CLI_RUN)
        return early;
    return bl_cli_finish(command, run(&o, path, &err), &err);
}
