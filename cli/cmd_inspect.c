/*
 * cmd_inspect.c - what a checkpoint holds. Parameters are counted over canonical tensors, so
 * scales and packing do not count; the MTP layer is counted apart, as the publishers do.
 */
#include "cli/cli.h"
#include "base/hash.h"
#include "formats/bln/bln_reader.h"
#include "formats/ckpt/ckpt.h"
#include "formats/json/json_writer.h"
#include "formats/slice/pruning.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Sums over tensors that share a role and a type. */
struct group {
    bl_role role;
    const char *type_name;
    bool is_mtp;
    uint64_t n_tensors, n_values, n_bytes;
};

enum { MAX_GROUPS = 256 };

struct summary {
    uint64_t n_parameters; /* of the main model */
    uint64_t n_active;     /* that one token passes through, embedding row not counted */
    uint64_t n_mtp_parameters;
    uint64_t n_bytes;
    struct group group[MAX_GROUPS];
    size_t n_groups;
    bl_pruning pruning; /* what was taken out, where the checkpoint says so */
    bool is_pruned;
};

static struct group *find_group(struct summary *s, const bl_tensor *t)
{
    for (size_t i = 0; i < s->n_groups; i++) {
        struct group *g = &s->group[i];

        if (g->role == t->role && g->is_mtp == t->is_mtp && strcmp(g->type_name, t->type_name) == 0)
            return g;
    }
    if (s->n_groups == MAX_GROUPS)
        return &s->group[MAX_GROUPS - 1];
    s->group[s->n_groups] =
        (struct group){ .role = t->role, .type_name = t->type_name, .is_mtp = t->is_mtp };
    return &s->group[s->n_groups++];
}

/* Values that a token meets: experts by the share that is chosen, no embedding but a tied head. */
static uint64_t active_values(const bl_config *c, const bl_tensor *t)
{
    if (t->role == BL_ROLE_EXPERT)
        return t->expert < (int32_t)c->n_experts_used ? t->n_values : 0;
    if (t->role == BL_ROLE_EMBEDDING)
        return c->tie_word_embeddings ? t->n_values : 0;
    return t->n_values;
}

static void summarise(struct summary *s, const bl_ckpt *ckpt)
{
    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++) {
        const bl_tensor *t = bl_ckpt_tensor(ckpt, i);
        struct group *g = find_group(s, t);

        g->n_tensors++;
        g->n_values += t->n_values;
        g->n_bytes += t->n_bytes;
        s->n_bytes += t->n_bytes;
        if (t->is_mtp) {
            s->n_mtp_parameters += t->n_values;
            continue;
        }
        s->n_parameters += t->n_values;
        s->n_active += active_values(bl_ckpt_config(ckpt), t);
    }
    for (size_t i = 1; i < s->n_groups; i++) { /* insertion sort: MTP last, then by role */
        struct group g = s->group[i];
        size_t j = i;

        for (; j > 0 && (s->group[j - 1].is_mtp > g.is_mtp ||
                         (s->group[j - 1].is_mtp == g.is_mtp && s->group[j - 1].role > g.role));
             j--)
            s->group[j] = s->group[j - 1];
        s->group[j] = g;
    }
}

static void put_shape(bl_text *out, const bl_tensor *t)
{
    bl_text_puts(out, "[");
    for (uint32_t d = 0; d < t->ndim; d++)
        bl_text_printf(out, "%s%" PRIu64, d ? ", " : "", t->dim[d]);
    bl_text_puts(out, "]");
}

static void print_tensors(bl_text *out, const bl_ckpt *ckpt)
{
    bl_text_printf(out, "\n%-14s %-18s %12s  %-16s %s\n", "type", "shape", "bytes", "role", "name");
    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++) {
        const bl_tensor *t = bl_ckpt_tensor(ckpt, i);
        bl_text shape = { 0 };

        put_shape(&shape, t);
        bl_text_printf(out, "%-14s %-18s %12" PRIu64 "  %-16s ", t->type_name,
                       shape.bytes ? shape.bytes : "", t->n_bytes, bl_role_name(t->role));
        bl_text_put_name(out, t->name);
        bl_text_puts(out, "\n");
        bl_text_release(&shape);
    }
}

static void print_config(bl_text *out, const bl_config *c)
{
    bl_text_printf(out, "architecture   %s (%s)\n", c->arch->hf_class, c->arch->model_type);
    bl_text_printf(out, "layers         %" PRIu32, c->n_layers);
    if (c->n_experts > 0)
        bl_text_printf(out, " (%" PRIu32 " dense)", c->first_k_dense);
    if (c->n_mtp_layers > 0)
        bl_text_printf(out, " + %" PRIu32 " MTP", c->n_mtp_layers);
    bl_text_printf(out,
                   "\nhidden         %" PRIu32 ", vocabulary %" PRIu32 ", context %" PRIu32 "\n",
                   c->hidden_size, c->vocab_size, c->max_position_embeddings);
    if (c->kv_lora_rank > 0)
        bl_text_printf(
            out, "attention      %" PRIu32 " heads, latent %" PRIu32 " + rotary %" PRIu32 "\n",
            c->n_heads, c->kv_lora_rank, c->qk_rope_head_dim);
    else
        bl_text_printf(out,
                       "attention      %" PRIu32 " heads, %" PRIu32 " KV heads of %" PRIu32 "\n",
                       c->n_heads, c->n_kv_heads, c->head_dim);
    if (c->n_experts > 0)
        bl_text_printf(out,
                       "experts        %" PRIu32 " in %" PRIu32 " groups, %" PRIu32
                       " a token, %" PRIu32 " shared\n",
                       c->n_experts, c->n_group, c->n_experts_used, c->n_shared_experts);
}

/* What it was before experts and layers were taken out. */
static void print_pruning(bl_text *out, const bl_pruning *p, const bl_config *c)
{
    bl_text_printf(out,
                   "pruned         by %s, from %" PRIu32 " experts and %" PRIu32
                   " layers; model %016" PRIx64 "%016" PRIx64 "\n",
                   p->method, p->n_experts_before, p->n_layers_before, p->model[0].high,
                   p->model[0].low);
    if (c->n_layers < p->n_layers_before) {
        bl_text_puts(out, "its layers    ");
        for (uint32_t l = 0; l < c->n_layers; l++)
            bl_text_printf(out, " %" PRIu32, p->layer[l]);
        bl_text_puts(out, "\n");
    }
}

/* Who made a .bln, and how. */
static void print_origin(bl_text *out, const bl_container *container)
{
    const char *tool, *recipe;
    size_t n_tool, n_recipe;

    if (strcmp(container->kind, BL_BLN_KIND) != 0)
        return;
    tool = bl_bln_tool(container, &n_tool);
    recipe = bl_bln_recipe(container, &n_recipe);
    bl_text_printf(out, "made by        %.*s%s%.*s\n", (int)n_tool, tool ? tool : "",
                   recipe ? ", " : "", (int)n_recipe, recipe ? recipe : "");
    bl_text_printf(out, "made from      %zu shards, %zu side files\n\n", bl_bln_n_shards(container),
                   container->n_side_files);
}

static void print_text(bl_text *out, const bl_ckpt *ckpt, const struct summary *s, bool tensors)
{
    const bl_container *container = bl_ckpt_container(ckpt);
    char a[32], b[32];

    bl_text_put_name(out, bl_ckpt_path(ckpt));
    bl_text_printf(out, ": %s, %zu file%s, %s\n", container->kind, container->n_shards,
                   container->n_shards == 1 ? "" : "s", bl_text_bytes(a, container->n_file_bytes));
    if (bl_ckpt_has_config(ckpt)) {
        print_config(out, bl_ckpt_config(ckpt));
        if (s->is_pruned)
            print_pruning(out, &s->pruning, bl_ckpt_config(ckpt));
        bl_text_printf(out, "parameters     %" PRIu64 ", %" PRIu64 " active per token\n",
                       s->n_parameters, s->n_active);
        if (s->n_mtp_parameters > 0)
            bl_text_printf(out, "MTP apart      %" PRIu64 "\n", s->n_mtp_parameters);
    } else {
        bl_text_printf(out, "values         %" PRIu64 " (no configuration: tensors as stored)\n",
                       s->n_parameters);
    }
    bl_text_printf(out, "tensors        %zu (%zu as stored), %s, %.3f bits per weight\n\n",
                   bl_ckpt_n_tensors(ckpt), container->n_stored, bl_text_bytes(b, s->n_bytes),
                   8.0 * (double)s->n_bytes /
                       (double)(s->n_parameters + s->n_mtp_parameters
                                    ? s->n_parameters + s->n_mtp_parameters
                                    : 1));
    print_origin(out, container);
    bl_text_printf(out, "%-22s %-16s %8s %18s %18s\n", "role", "type", "tensors", "values",
                   "bytes");
    for (size_t i = 0; i < s->n_groups; i++) {
        const struct group *g = &s->group[i];
        char role[40];

        snprintf(role, sizeof(role), "%s%s", g->is_mtp ? "MTP: " : "", bl_role_name(g->role));
        bl_text_printf(out, "%-22s %-16s %8" PRIu64 " %18" PRIu64 " %18" PRIu64 "\n", role,
                       g->type_name, g->n_tensors, g->n_values, g->n_bytes);
    }
    if (tensors)
        print_tensors(out, ckpt);
}

static void put_json_tensor(bl_json_writer *w, const bl_tensor *t)
{
    bl_json_begin_object(w);
    bl_json_pair_string(w, "name", t->name);
    bl_json_pair_string(w, "type", t->type_name);
    bl_json_pair_string(w, "role", bl_role_name(t->role));
    bl_json_put_key(w, "shape");
    bl_json_begin_array(w);
    for (uint32_t d = 0; d < t->ndim; d++)
        bl_json_put_u64(w, t->dim[d]);
    bl_json_end_array(w);
    bl_json_pair_u64(w, "bytes", t->n_bytes);
    bl_json_pair_bool(w, "mtp", t->is_mtp);
    bl_json_end_object(w);
}

static void put_json_groups(bl_json_writer *w, const struct summary *s)
{
    bl_json_put_key(w, "groups");
    bl_json_begin_array(w);
    for (size_t i = 0; i < s->n_groups; i++) {
        const struct group *g = &s->group[i];

        bl_json_begin_object(w);
        bl_json_pair_string(w, "role", bl_role_name(g->role));
        bl_json_pair_bool(w, "mtp", g->is_mtp);
        bl_json_pair_string(w, "type", g->type_name);
        bl_json_pair_u64(w, "tensors", g->n_tensors);
        bl_json_pair_u64(w, "values", g->n_values);
        bl_json_pair_u64(w, "bytes", g->n_bytes);
        bl_json_end_object(w);
    }
    bl_json_end_array(w);
}

static void print_json(bl_text *out, const bl_ckpt *ckpt, const struct summary *s, bool tensors)
{
    const bl_container *container = bl_ckpt_container(ckpt);
    bl_json_writer writer = { .text = out }, *w = &writer;

    bl_json_begin_object(w);
    bl_json_pair_string(w, "path", bl_ckpt_path(ckpt));
    bl_json_pair_string(w, "container", container->kind);
    bl_json_pair_string(w, "architecture",
                        bl_ckpt_has_config(ckpt) ? bl_ckpt_config(ckpt)->arch->model_type : NULL);
    bl_json_pair_u64(w, "files", container->n_shards);
    bl_json_pair_u64(w, "file_bytes", container->n_file_bytes);
    bl_json_pair_u64(w, "parameters", s->n_parameters);
    bl_json_pair_u64(w, "active_parameters", s->n_active);
    bl_json_pair_u64(w, "mtp_parameters", s->n_mtp_parameters);
    bl_json_pair_u64(w, "tensors", bl_ckpt_n_tensors(ckpt));
    bl_json_pair_u64(w, "stored_tensors", container->n_stored);
    bl_json_pair_u64(w, "tensor_bytes", s->n_bytes);
    put_json_groups(w, s);
    if (s->is_pruned) {
        bl_text record = { 0 };

        bl_pruning_write(&record, &s->pruning);
        bl_json_put_key(w, "pruning");
        bl_json_put_raw(w, record.bytes ? record.bytes : "null");
        bl_text_release(&record);
    }
    if (tensors) {
        bl_json_put_key(w, "tensor_list");
        bl_json_begin_array(w);
        for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++)
            put_json_tensor(w, bl_ckpt_tensor(ckpt, i));
        bl_json_end_array(w);
    }
    bl_json_end_object(w);
    bl_text_puts(out, "\n");
}

/* "HASH  NAME" of each file that a .bln was made from. */
static bl_status print_sums(bl_text *out, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bl_container *c = bl_ckpt_container(ckpt);
    const bool is_bln = strcmp(c->kind, BL_BLN_KIND) == 0;
    const size_t n = is_bln ? bl_bln_n_shards(c) + c->n_side_files : 0;

    for (size_t i = 0; i < n; i++) {
        uint8_t sum[BL_SHA256_BYTES];
        const char *name;

        if (!bl_bln_source_sha256(sum, &name, c, i))
            return bl_fail(err, BL_E_UNSUPPORTED,
                           "%s: was made without --sha256, so it does not know the sums", c->path);
        for (size_t k = 0; k < sizeof(sum); k++)
            bl_text_printf(out, "%02x", sum[k]);
        bl_text_printf(out, "  %s\n", name);
    }
    return n > 0 ? BL_OK : bl_fail(err, BL_E_USAGE, "%s: is no .bln; sha256sum does it", c->path);
}

int bl_cmd_inspect(const bl_command *command, int argc, char **argv)
{
    bl_common common = { 0 };
    bool tensors = false, sums = false;
    const bl_option table[] = {
        { "--tensors", 0, BL_OPTION_FLAG, &tensors, NULL, "list every tensor" },
        { "--sums", 0, BL_OPTION_FLAG, &sums, NULL,
          "of a .bln: the SHA-256 of its source files, as sha256sum writes it" },
        BL_OPTION_JSON(common),
        BL_OPTION_HELP(common),
        BL_OPTION_END,
    };
    struct bl_err err = { 0 };
    struct summary summary = { 0 };
    bl_ckpt *ckpt = NULL;
    bl_text out = { 0 };
    const char *path;
    size_t n;
    int early = bl_cli_parse(&path, &n, 1, 1, command, table, &common, argc, argv);
    bl_status rc;

    if (early != BL_CLI_RUN)
        return early;
    rc = bl_ckpt_open(&ckpt, path, &err);
    if (rc == BL_OK && sums) {
        rc = print_sums(&out, ckpt, &err);
        if (rc == BL_OK)
            rc = bl_cli_print(&out, &err);
    } else if (rc == BL_OK) {
        summarise(&summary, ckpt);
        rc = bl_pruning_read(&summary.pruning, &summary.is_pruned, ckpt, &err);
    }
    if (rc == BL_OK && !sums) {
        (common.json ? print_json : print_text)(&out, ckpt, &summary, tensors);
        rc = bl_cli_print(&out, &err);
    }
    bl_text_release(&out);
    bl_pruning_release(&summary.pruning);
    bl_ckpt_close(ckpt);
    return bl_cli_finish(command, rc, &err);
}
