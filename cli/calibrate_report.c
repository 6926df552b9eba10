/* calibrate_report.c - see calibrate_report.h. */
#include "cli/calibrate_report.h"

#include "base/size.h"
#include "formats/json/json_writer.h"

#include <inttypes.h>

enum { NAMED = 10 /* starved experts of a layer that are named one by one */ };

static void put_starved(bl_text *out, const bl_layer_coverage *l)
{
    const uint32_t n = (uint32_t)bl_min_u64(l->n_starved, NAMED);

    bl_text_printf(out, "    layer %" PRIu32 ":", l->layer);
    for (uint32_t i = 0; i < n; i++)
        bl_text_printf(out, " %" PRIu32, l->starved[i]);
    if (l->n_starved > n)
        bl_text_printf(out, " and %" PRIu32 " more", l->n_starved - n);
    bl_text_printf(out, " (%" PRIu32 " without a token)\n", l->n_unseen);
}

static void put_experts(bl_text *out, const bl_coverage *c)
{
    uint64_t least = UINT64_MAX, most = 0;
    double mean = 0;

    for (size_t i = 0; i < c->n_layers; i++) {
        least = bl_min_u64(least, c->layer[i].least);
        most = bl_max_u64(most, c->layer[i].most);
        mean += c->layer[i].mean / (double)c->n_layers;
    }
    bl_text_printf(out,
                   "  experts    %zu layers of %" PRIu32 ", tokens of one: %" PRIu64 " to %" PRIu64
                   ", mean %.1f\n",
                   c->n_layers, c->layer[0].n_experts, least, most, mean);
    if (c->n_starved == 0) {
        bl_text_puts(out, "  starved    none (less than 1 % of the mean, or no token)\n");
        return;
    }
    bl_text_printf(
        out, "  starved    %" PRIu64 " (less than 1 %% of the mean), %" PRIu64 " without a token\n",
        c->n_starved, c->n_unseen);
    for (size_t i = 0, named = 0; i < c->n_layers; i++) {
        if (c->layer[i].n_starved == 0)
            continue;
        if (named++ == NAMED) {
            bl_text_puts(out, "    and more layers: --json has all\n");
            return;
        }
        put_starved(out, &c->layer[i]);
    }
}

static void put_text(bl_text *out, const char *path, const bl_stats_info *info,
                     const bl_coverage *c)
{
    bl_text_put_name(out, path);
    bl_text_printf(out, "\n  tokens     %" PRIu64 " in sequences of %" PRIu32 "\n", info->n_tokens,
                   info->ctx);
    if (info->n_parts > 1)
        bl_text_printf(out, "  parts      %" PRIu32 " of %" PRIu32 "\n", bl_stats_n_parts_in(info),
                       info->n_parts);
    bl_text_printf(out, "  layers     %" PRIu32 "\n", info->n_layers);
    if (info->has_model)
        bl_text_printf(out, "  model      %016" PRIx64 "%016" PRIx64 "\n", info->identity.high,
                       info->identity.low);
    else
        bl_text_puts(out, "  model      not known: an imatrix does not say\n");
    if (c->n_layers > 0)
        put_experts(out, c);
}

static void put_layer(bl_json_writer *w, const bl_layer_coverage *l)
{
    bl_json_begin_object(w);
    bl_json_pair_u64(w, "layer", l->layer);
    bl_json_pair_u64(w, "experts", l->n_experts);
    bl_json_pair_u64(w, "least", l->least);
    bl_json_pair_u64(w, "most", l->most);
    bl_json_pair_f64(w, "mean", l->mean);
    bl_json_pair_u64(w, "unseen", l->n_unseen);
    bl_json_put_key(w, "starved");
    bl_json_begin_array(w);
    for (uint32_t i = 0; i < l->n_starved; i++)
        bl_json_put_u64(w, l->starved[i]);
    bl_json_end_array(w);
    bl_json_end_object(w);
}

static void put_identity(bl_json_writer *w, const bl_stats_info *info)
{
    bl_text hash = { 0 };

    if (info->has_model)
        bl_text_printf(&hash, "%016" PRIx64 "%016" PRIx64, info->identity.high, info->identity.low);
    bl_json_pair_string(w, "model", hash.bytes);
    w->text->failed = w->text->failed || hash.failed;
    bl_text_release(&hash);
}

static void put_json(bl_text *out, const char *path, const bl_stats_info *info,
                     const bl_coverage *c)
{
    bl_json_writer w = { .text = out };

    bl_json_begin_object(&w);
    bl_json_pair_string(&w, "file", path);
    bl_json_pair_u64(&w, "tokens", info->n_tokens);
    bl_json_pair_u64(&w, "ctx", info->ctx);
    bl_json_pair_u64(&w, "parts", info->n_parts);
    bl_json_pair_u64(&w, "parts_in", bl_stats_n_parts_in(info));
    bl_json_pair_u64(&w, "layers", info->n_layers);
    put_identity(&w, info);
    bl_json_pair_u64(&w, "starved", c->n_starved);
    bl_json_pair_u64(&w, "unseen", c->n_unseen);
    bl_json_put_key(&w, "coverage");
    bl_json_begin_array(&w);
    for (size_t i = 0; i < c->n_layers; i++)
        put_layer(&w, &c->layer[i]);
    bl_json_end_array(&w);
    bl_json_end_object(&w);
    bl_text_puts(out, "\n");
}

void bl_cli_put_calibration(bl_text *out, const char *path, const bl_stats_info *info,
                            const bl_coverage *coverage, bool json)
{
    (json ? put_json : put_text)(out, path, info, coverage);
}
