/*
 * init_cut.c - a teacher with fewer layers and channels, and its experts as one FFN: every tensor of the student
 * as rows and columns of tensors of the teacher.
 *
 * The FFN of a layer with experts is the shared expert, unscaled, and behind it the kept experts: their gate and
 * up rows under each other, their down columns, each times its scale, side by side. One width holds for all
 * layers: narrower ones end in channels of zeros.
 */
#include "base/alloc.h"
#include "base/size.h"
#include "distill/init/init_gather.h"
#include "distill/init/init_plan.h"
#include "distill/init/init_view.h"

#include <inttypes.h>
#include <string.h>

enum { NAME_BYTES = 256 };

struct builder {
    bl_init_plan *plan;
    bl_init_view *view;
    bl_config config; /* of the student */
    const uint32_t *hidden;
    const uint32_t **inner; /* [n_layers] copies that live as long as the view */
};

/* The part of a name behind the last dot but one: "gate_proj.weight". */
static const char *tail_of(const char *name)
{
    size_t n = strlen(name);

    for (int dots = 0; n > 0; n--)
        if (name[n - 1] == '.' && ++dots == 2)
            break;
    return name + n;
}

/* The row of this role that is for experts what `dense` is for a dense layer. */
static const bl_arch_row *find_row(const bl_arch *arch, const bl_arch_row *dense, bl_role role)
{
    for (size_t i = 0; i < arch->n_rows; i++)
        if (arch->row[i].role == role && arch->row[i].where == BL_MOE_LAYERS &&
            strcmp(tail_of(arch->row[i].name), tail_of(dense->name)) == 0)
            return &arch->row[i];
    return NULL;
}

static bl_status find_tensor(const bl_tensor **out, const bl_ckpt *teacher, const bl_arch_row *row,
                             uint32_t layer, uint32_t expert, struct bl_err *err)
{
    char name[NAME_BYTES];

    if (!row || !bl_arch_expand(name, sizeof(name), row->name, layer, expert))
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: experts without a place in a dense layer",
                       bl_ckpt_path(teacher));
    *out = bl_ckpt_find(teacher, name);
    if (!*out)
        return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s' is missing", bl_ckpt_path(teacher), name);
    return BL_OK;
}

/* The parts of an FFN matrix of layer l, which has experts. */
static bl_status add_experts(bl_init_gather *g, struct builder *b, const bl_arch_row *row,
                             uint32_t l, struct bl_err *err)
{
    const bl_init_plan *plan = b->plan;
    const bl_arch *arch = b->config.arch;
    const uint32_t layer = plan->cut->layer[l], k = plan->cut->n_experts;
    const bool shared = bl_init_shared_width(plan) > 0;
    bl_init_part *part = bl_arena_alloc(&b->view->arena, (size_t)k + shared, sizeof(*part));
    bl_status rc = part ? BL_OK : bl_fail_nomem(err, row->name);

    g->part = part;
    if (rc == BL_OK && shared) {
        part->scale = 1;
        rc = find_tensor(&part->tensor, plan->teacher, find_row(arch, row, BL_ROLE_SHARED_EXPERT),
                         layer, 0, err);
        g->n_parts++;
        part++;
    }
    for (size_t i = 0; i < k && rc == BL_OK; i++, part++) {
        part->scale = g->beside ? plan->scale[l * (size_t)k + i] : 1;
        rc = find_tensor(&part->tensor, plan->teacher, find_row(arch, row, BL_ROLE_EXPERT), layer,
                         plan->expert[l * (size_t)k + i], err);
        g->n_parts++;
    }
    return rc;
}

static bl_status add_same(bl_init_gather *g, struct builder *b, const bl_arch_row *row, uint32_t l,
                          struct bl_err *err)
{
    bl_init_part *part = bl_arena_alloc(&b->view->arena, 1, sizeof(*part));

    if (!part)
        return bl_fail_nomem(err, row->name);
    part->scale = bl_init_norm_scale(b->plan, row, l);
    g->part = part;
    g->n_parts = 1;
    return find_tensor(&part->tensor, b->plan->teacher, row,
                       row->where == BL_ONCE ? 0 : b->plan->cut->layer[l], 0, err);
}

static const uint32_t *map_of(const struct builder *b, bl_dim dim, uint32_t l)
{
    if (dim == BL_DIM_HIDDEN)
        return b->hidden;
    return dim == BL_DIM_FFN ? b->inner[l] : NULL;
}

static bl_status rows_of(bl_rows *out, void *context, const bl_arch_row *row, uint32_t l,
                         const char *name, struct bl_err *err)
{
    struct builder *b = context;
    const bool vector = row->cols == BL_DIM_1;
    const bl_dim cols = vector ? row->rows : row->cols;
    bl_init_gather *g = bl_arena_alloc(&b->view->arena, 1, sizeof(*g));

    if (!g)
        return bl_fail_nomem(err, name);
    *g = (bl_init_gather){ .ckpt = b->plan->teacher,
                           .beside = cols == BL_DIM_FFN,
                           .row = vector ? NULL : map_of(b, row->rows, l),
                           .col = map_of(b, cols, l),
                           .n_cols = bl_arch_dim(&b->config, cols) };
    *out = (bl_rows){ .read = bl_init_gather_read, .tensor = g };
    if (row->role == BL_ROLE_DENSE_MLP && bl_init_has_experts(b->plan, l))
        return add_experts(g, b, row, l, err);
    return add_same(g, b, row, l, err);
}

static const uint32_t *copy_map(bl_arena *arena, const uint32_t *map, uint64_t n)
{
    uint32_t *copy = bl_arena_alloc(arena, (size_t)n, sizeof(*copy));

    return copy ? memcpy(copy, map, (size_t)n * sizeof(*copy)) : NULL;
}

/* The chosen channels, where they live as long as the view. */
static bl_status keep_maps(struct builder *b, struct bl_err *err)
{
    const bl_init_plan *plan = b->plan;
    const bl_init_cut *cut = plan->cut;
    bool good;

    b->inner = bl_arena_alloc(&b->view->arena, cut->n_layers, sizeof(*b->inner));
    good = b->inner != NULL;
    if (good && plan->hidden) {
        b->hidden = copy_map(&b->view->arena, plan->hidden, cut->hidden);
        good = b->hidden != NULL;
    }
    for (uint32_t l = 0; l < cut->n_layers && good; l++)
        if (plan->inner[l]) {
            b->inner[l] = copy_map(&b->view->arena, plan->inner[l], cut->intermediate);
            good = b->inner[l] != NULL;
        }
    return good ? BL_OK : bl_fail_nomem(err, "channels");
}

static bl_status parse_config(bl_config *out, const bl_text *text, struct bl_err *err)
{
    bl_json *json = NULL;
    bl_status rc = bl_json_parse(&json, "config.json", text->bytes, text->n, 0, err);

    if (rc == BL_OK)
        rc = bl_config_parse(out, "config.json", json, err);
    bl_json_free(json);
    return rc;
}

/* The student with these widths, and the channels that the plan has. */
static bl_status open_student(bl_ckpt **out, bl_init_plan *plan, uint64_t hidden,
                              uint64_t intermediate, struct bl_err *err)
{
    struct builder b = { .plan = plan };
    bl_text text = { 0 };
    bl_status rc = bl_init_cut_config(&text, plan, hidden, intermediate, err);

    if (rc == BL_OK)
        rc = parse_config(&b.config, &text, err);
    if (rc == BL_OK)
        rc = bl_init_view_new(&b.view, bl_ckpt_path(plan->teacher), err);
    if (rc == BL_OK)
        rc = keep_maps(&b, err);
    if (rc == BL_OK)
        rc = bl_init_view_add_all(b.view, &b.config, rows_of, &b, err);
    if (rc == BL_OK)
        rc = bl_init_view_add_side_file(b.view, "config.json", text.bytes, text.n, err);
    if (rc == BL_OK)
        rc = bl_init_view_add_tokenizer(b.view, plan->teacher, err);
    bl_text_release(&text);
    if (rc == BL_OK)
        return bl_init_view_open(out, b.view, err);
    bl_init_view_free(b.view);
    return rc;
}

/* Widths of the layers, and whether what is asked for can be. */
static bl_status check(bl_init_plan *plan, bl_init_report *report, struct bl_err *err)
{
    const bl_init_cut *cut = plan->cut;
    const bl_config *c = bl_ckpt_config(plan->teacher);
    bool any = false;
    bl_status rc = BL_OK;

    for (uint32_t l = 0; l < cut->n_layers; l++) {
        const bool moe = bl_init_has_experts(plan, l);

        any = any || moe;
        plan->width[l] =
            moe ? bl_init_shared_width(plan) + (uint64_t)cut->n_experts * c->moe_intermediate_size
                : c->intermediate_size;
        plan->widest = bl_max_u64(plan->widest, plan->width[l]);
    }
    if (any && cut->n_experts == 0)
        return bl_fail(err, BL_E_USAGE,
                       "%s: the teacher has experts, a student is dense: --experts K, how many of "
                       "each layer become its FFN",
                       bl_ckpt_path(plan->teacher));
    if (!any && cut->n_experts > 0)
        return bl_fail(err, BL_E_USAGE, "%s: --experts, but none of these layers has any",
                       bl_ckpt_path(plan->teacher));
    if (cut->hidden > c->hidden_size)
        return bl_fail(err, BL_E_USAGE, "--hidden: the teacher has %" PRIu32 " channels",
                       c->hidden_size);
    if (c->head_dim > 0 && cut->hidden % c->n_heads != 0)
        return bl_fail(err, BL_E_USAGE,
                       "--hidden %" PRIu64 " is no multiple of the %" PRIu32
                       " heads, which transformers insists on",
                       cut->hidden, c->n_heads);
    if (cut->intermediate > plan->widest)
        return bl_fail(err, BL_E_USAGE,
                       "--intermediate: the widest FFN of these layers has %" PRIu64 " channels",
                       plan->widest);
    if (cut->stats)
        rc = bl_stats_check(&report->other_precision, cut->stats, plan->teacher, err);
    return rc;
}

static void release(bl_init_plan *plan)
{
    for (uint32_t l = 0; l < plan->cut->n_layers && plan->inner; l++)
        bl_free(plan->inner[l]);
    bl_free(plan->inner);
    bl_free(plan->hidden);
    bl_free(plan->norm);
    bl_free(plan->width);
    bl_free(plan->expert);
    bl_free(plan->scale);
}

static void fill_report(bl_init_report *report, const bl_init_plan *plan)
{
    const uint64_t asked = plan->cut->intermediate;

    report->intermediate = asked > 0 ? asked : plan->widest;
    for (uint32_t l = 0; l < plan->cut->n_layers; l++)
        report->n_padded += plan->width[l] < report->intermediate;
}

bl_status bl_init_cut_open(bl_ckpt **out, bl_init_report *report, const bl_ckpt *teacher,
                           const bl_init_cut *cut, struct bl_err *err)
{
    const uint64_t all = bl_ckpt_config(teacher)->hidden_size;
    bl_init_plan plan = { .teacher = teacher, .cut = cut };
    bl_ckpt *whole = NULL;
    bl_status rc = BL_OK;

    *report = (bl_init_report){ 0 };
    plan.width = bl_calloc(cut->n_layers, sizeof(*plan.width));
    plan.inner = bl_calloc(cut->n_layers, sizeof(*plan.inner));
    if (!plan.width || !plan.inner)
        rc = bl_fail_nomem(err, bl_ckpt_path(teacher));
    if (rc == BL_OK)
        rc = check(&plan, report, err);
    if (rc == BL_OK && cut->n_experts > 0)
        rc = bl_init_choose_experts(&plan, err);
    if (rc == BL_OK && (cut->hidden > 0 || cut->intermediate > 0))
        rc = open_student(&whole, &plan, all, plan.widest, err);
    if (rc == BL_OK && whole)
        rc = bl_init_choose_channels(&plan, whole, err);
    bl_ckpt_close(whole);
    if (rc == BL_OK)
        fill_report(report, &plan);
    if (rc == BL_OK)
        rc = open_student(out, &plan, cut->hidden > 0 ? cut->hidden : all, report->intermediate,
                          err);
    release(&plan);
    return rc;
}
