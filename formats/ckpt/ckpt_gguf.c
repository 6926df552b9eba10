/*
 * ckpt_gguf.c - GGUF names to canonical names, by the family's table: every canonical tensor that
 * the configuration calls for is looked up under its GGUF name, and where it lies is noted. What
 * the file holds besides keeps its own name.
 */
#include "formats/ckpt/ckpt_gguf.h"

#include "base/alloc.h"
#include "base/map.h"
#include "base/size.h"
#include "formats/arch/rope.h"
#include "formats/dtype/amax.h"
#include "formats/hfquant/hfquant.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 256 };

struct listing {
    const bl_container *gguf;
    const bl_config *config;
    bl_arena *arena;
    bl_map by_name; /* GGUF name -> stored */
    bool *taken;    /* stored tensor i has a canonical name */
    bl_tensor *tensor;
    bl_gguf_place *place;
    size_t n, room;
    struct bl_err *err;
};

static bl_status complain(const struct listing *l, size_t stored, const char *what)
{
    return bl_fail(l->err, BL_E_FORMAT, "%s: tensor '%s': %s", l->gguf->path,
                   l->gguf->stored[stored].name, what);
}

/* Whether the file has this tensor; if so it is taken. */
static bool take(size_t *out, const struct listing *l, const char *name)
{
    uint32_t i;

    if (!bl_map_get(&i, &l->by_name, name, strlen(name)))
        return false;
    *out = i;
    l->taken[i] = true;
    return true;
}

static bl_status find(size_t *out, const struct listing *l, const char *name)
{
    if (take(out, l, name))
        return BL_OK;
    return bl_fail(l->err, BL_E_FORMAT, "%s: tensor '%s' is missing", l->gguf->path, name);
}

static bl_status grow(struct listing *l)
{
    size_t room = l->room ? 2 * l->room : 256;
    bl_tensor *tensor;
    bl_gguf_place *place;

    if (l->n < l->room)
        return BL_OK;
    /* An arena does not grow in place: the old arrays stay behind, at most as large again. */
    tensor = bl_arena_alloc(l->arena, room, sizeof(*tensor));
    place = bl_arena_alloc(l->arena, room, sizeof(*place));
    if (!tensor || !place)
        return bl_fail_nomem(l->err, l->gguf->path);
    if (l->n > 0) {
        memcpy(tensor, l->tensor, l->n * sizeof(*tensor));
        memcpy(place, l->place, l->n * sizeof(*place));
    }
    l->tensor = tensor;
    l->place = place;
    l->room = room;
    return BL_OK;
}

/* Append a canonical tensor stored in tensor i, of which it has n_bytes. */
static bl_status append(struct listing *l, const char *name, uint32_t ndim, const uint64_t *dim,
                        size_t i, uint64_t n_bytes, const bl_gguf_place *place, uint64_t row_unit)
{
    bl_status rc = grow(l);
    bl_tensor *t;

    if (rc != BL_OK)
        return rc;
    t = &l->tensor[l->n];
    *t = (bl_tensor){ .name = bl_arena_strdup(l->arena, name),
                      .type_name = bl_dtype_name(l->gguf->stored[i].dtype),
                      .dtype = l->gguf->stored[i].dtype,
                      .ndim = ndim,
                      .n_bytes = n_bytes,
                      .row_unit = row_unit };
    if (!t->name)
        return bl_fail_nomem(l->err, l->gguf->path);
    memcpy(t->dim, dim, ndim * sizeof(*dim));
    l->place[l->n++] = *place;
    return BL_OK;
}

static bool has_shape(const bl_stored *t, uint32_t ndim, uint64_t d0, uint64_t d1, uint64_t d2)
{
    return t->ndim == ndim && t->dim[0] == d0 && (ndim < 2 || t->dim[1] == d1) &&
           (ndim < 3 || t->dim[2] == d2);
}

/*
 * NAME.scale, a tensor of n F32 values, multiplies what NAME.weight holds (a matrix, or expert e of
 * a stack of n): llama.cpp applies it to products with them. Most files have none.
 */
static bl_status find_factor(float *out, struct listing *l, const char *weight, uint64_t e,
                             uint64_t n)
{
    size_t at, stem = strlen(weight);
    char name[NAME_BYTES];
    bl_status rc;

    *out = 1;
    if (stem < 7 || strcmp(weight + stem - 7, ".weight") != 0)
        return BL_OK;
    snprintf(name, sizeof(name), "%.*s.scale", (int)(stem - 7), weight);
    if (!take(&at, l, name))
        return BL_OK;
    if (l->gguf->stored[at].dtype != BL_F32 || !has_shape(&l->gguf->stored[at], 1, n, 0, 0))
        return complain(l, at, "is not one F32 for each matrix that it scales");
    rc = bl_container_read(l->gguf, at, e * sizeof(*out), out, sizeof(*out), l->err);
    if (rc == BL_OK && !isfinite(*out))
        return complain(l, at, "a factor is not a finite number");
    return rc;
}

/*
 * The form before the split. Some files have both, for programs of either age: the whole is
 * enough, and the halves say nothing else.
 */
static bl_status list_whole_kv_b(struct listing *l, const char *name, size_t whole,
                                 const char *const gguf_name[3])
{
    const bl_gguf_place place = { .layout = BL_LAYOUT_SAME,
                                  .stored = { whole, whole },
                                  .factor = 1 };
    const bl_stored *t = &l->gguf->stored[whole];
    size_t half;

    (void)take(&half, l, gguf_name[0]);
    (void)take(&half, l, gguf_name[1]);
    return append(l, name, t->ndim, t->dim, whole, t->n_bytes, &place, 1);
}

static bl_status list_kv_b(struct listing *l, const bl_arch_row *row, uint32_t layer)
{
    const bl_config *c = l->config;
    const bl_kv_b s = { c->qk_nope_head_dim, c->v_head_dim, c->kv_lora_rank };
    const uint64_t dim[2] = { bl_arch_dim(c, row->rows), bl_arch_dim(c, row->cols) };
    bl_gguf_place place = { .layout = BL_LAYOUT_KV_B, .kv_b = s, .factor = 1 };
    char buffer[NAME_BYTES], name[NAME_BYTES];
    const char *gguf_name[3];
    const bl_stored *k, *v;
    size_t whole;
    bl_status rc;

    if (!bl_arch_kv_b_names(gguf_name, buffer, sizeof(buffer), row, layer) ||
        !bl_arch_expand(name, sizeof(name), row->name, layer, 0))
        return bl_fail(l->err, BL_E_UNSUPPORTED, "a tensor name is too long");
    if (take(&whole, l, gguf_name[2]))
        return list_whole_kv_b(l, name, whole, gguf_name);
    rc = find(&place.stored[0], l, gguf_name[0]);
    if (rc == BL_OK)
        rc = find(&place.stored[1], l, gguf_name[1]);
    if (rc != BL_OK)
        return rc;
    k = &l->gguf->stored[place.stored[0]];
    v = &l->gguf->stored[place.stored[1]];
    if (!has_shape(k, 3, c->n_heads, s.lora, s.nope))
        return complain(l, place.stored[0], "its shape is not heads x latent x head dimension");
    if (!has_shape(v, 3, c->n_heads, s.v, s.lora))
        return complain(l, place.stored[1], "its shape is not heads x head dimension x latent");
    return append(l, name, 2, dim, place.stored[0], k->n_bytes + v->n_bytes, &place, s.nope + s.v);
}

static bl_status list_stack(struct listing *l, const bl_arch_row *row, uint32_t layer)
{
    const bl_config *c = l->config;
    const uint64_t dim[2] = { bl_arch_dim(c, row->rows), bl_arch_dim(c, row->cols) };
    bl_gguf_place place = { .layout = BL_LAYOUT_STACK };
    char gguf_name[NAME_BYTES], name[NAME_BYTES];
    const bl_stored *t;
    bl_status rc;

    if (!bl_arch_expand(gguf_name, sizeof(gguf_name), row->gguf, layer, 0))
        return bl_fail(l->err, BL_E_UNSUPPORTED, "a tensor name is too long");
    rc = find(&place.stored[0], l, gguf_name);
    if (rc != BL_OK)
        return rc;
    t = &l->gguf->stored[place.stored[0]];
    if (!has_shape(t, 3, c->n_experts, dim[0], dim[1]))
        return complain(l, place.stored[0], "its shape is not that of all experts, stacked");
    for (uint32_t e = 0; e < c->n_experts && rc == BL_OK; e++) {
        place.first_row = e * dim[0];
        if (!bl_arch_expand(name, sizeof(name), row->name, layer, e))
            return bl_fail(l->err, BL_E_UNSUPPORTED, "a tensor name is too long");
        rc = find_factor(&place.factor, l, gguf_name, e, c->n_experts);
        if (rc == BL_OK)
            rc = append(l, name, 2, dim, place.stored[0], t->n_bytes / c->n_experts, &place, 1);
    }
    return rc;
}

static bl_status list_one(struct listing *l, const bl_arch_row *row, uint32_t layer)
{
    bl_gguf_place place = { .layout = row->layout, .head_dim = l->config->head_dim };
    char gguf_name[NAME_BYTES], name[NAME_BYTES];
    const bl_stored *t;
    bl_status rc;

    if (!bl_arch_expand(gguf_name, sizeof(gguf_name), row->gguf, layer, 0) ||
        !bl_arch_expand(name, sizeof(name), row->name, layer, 0))
        return bl_fail(l->err, BL_E_UNSUPPORTED, "a tensor name is too long");
    rc = find(&place.stored[0], l, gguf_name);
    if (rc == BL_OK)
        rc = find_factor(&place.factor, l, gguf_name, 0, 1);
    if (rc != BL_OK)
        return rc;
    t = &l->gguf->stored[place.stored[0]];
    return append(l, name, t->ndim, t->dim, place.stored[0], t->n_bytes, &place, 1);
}

static bl_status list_row(struct listing *l, const bl_arch_row *row, uint32_t layer)
{
    switch (row->layout) {
    case BL_LAYOUT_KV_B:
        return list_kv_b(l, row, layer);
    case BL_LAYOUT_STACK:
        return list_stack(l, row, layer);
    default:
        return list_one(l, row, layer);
    }
}

static bl_status list_known(struct listing *l)
{
    const bl_config *c = l->config;
    bl_status rc = BL_OK;
    size_t i_divisors;

    if (c->rope_scaling == BL_ROPE_DIVISORS)
        (void)take(&i_divisors, l, BL_ROPE_TENSOR); /* configuration, and read as such */
    for (size_t i = 0; i < c->arch->n_rows && rc == BL_OK; i++)
        if (c->arch->row[i].where == BL_ONCE && bl_arch_row_applies(&c->arch->row[i], c, 0))
            rc = list_row(l, &c->arch->row[i], 0);
    for (uint32_t layer = 0; layer < c->n_layers + c->n_mtp_layers; layer++)
        for (size_t i = 0; i < c->arch->n_rows && rc == BL_OK; i++)
            if (c->arch->row[i].where != BL_ONCE && bl_arch_row_applies(&c->arch->row[i], c, layer))
                rc = list_row(l, &c->arch->row[i], layer);
    return rc;
}

static bl_status list_others(struct listing *l)
{
    bl_status rc = BL_OK;

    for (size_t i = 0; i < l->gguf->n_stored && rc == BL_OK; i++) {
        const bl_stored *t = &l->gguf->stored[i];
        const bl_gguf_place place = { .layout = BL_LAYOUT_SAME, .stored = { i, i }, .factor = 1 };

        if (!l->taken[i])
            rc = append(l, t->name, t->ndim, t->dim, i, t->n_bytes, &place, 1);
    }
    return rc;
}

bl_status bl_gguf_list(bl_tensor **tensors, bl_gguf_place **places, size_t *n, bl_arena *arena,
                       const bl_container *gguf, const bl_config *config, struct bl_err *err)
{
    struct listing l = { .gguf = gguf, .config = config, .arena = arena, .err = err };
    bl_status rc = BL_OK;

    l.taken = bl_calloc(gguf->n_stored, sizeof(*l.taken));
    if (!l.taken)
        return bl_fail_nomem(err, gguf->path);
    for (size_t i = 0; i < gguf->n_stored && rc == BL_OK; i++)
        rc = bl_map_put(&l.by_name, gguf->stored[i].name, strlen(gguf->stored[i].name), (uint32_t)i,
                        NULL, err);
    if (rc == BL_OK)
        rc = list_known(&l);
    if (rc == BL_OK)
        rc = list_others(&l);
    bl_map_release(&l.by_name);
    bl_free(l.taken);
    *tensors = l.tensor;
    *places = l.place;
    *n = l.n;
    return rc;
}

static bl_status read_stored(const bl_container *gguf, const bl_gguf_place *place,
                             const bl_tensor *tensor, uint64_t row, uint64_t n_rows, float *out,
                             struct bl_err *err)
{
    const bl_rows first = bl_hfquant_stored_rows(gguf, place->stored[0]);
    bl_rows second;

    switch (place->layout) {
    case BL_LAYOUT_KV_B:
        second = bl_hfquant_stored_rows(gguf, place->stored[1]);
        return bl_view_kv_b(&first, &second, place->kv_b, row, n_rows, out, err);
    case BL_LAYOUT_ROPE_PAIRS:
        if (tensor->ndim == 1)
            return n_rows > 0 ? bl_view_rope_pairs_of_bias(&first, place->head_dim, false, out, err)
                              : BL_OK;
        return bl_view_rope_pairs(&first, place->head_dim, false, row, n_rows, out, err);
    case BL_LAYOUT_STACK:
    case BL_LAYOUT_SAME:
        break;
    }
    return first.read(first.context, first.tensor, place->first_row + row, n_rows, out, err);
}

bl_status bl_gguf_read_rows(const bl_container *gguf, const bl_gguf_place *place,
                            const bl_tensor *tensor, uint64_t row, uint64_t n_rows, float *out,
                            struct bl_err *err)
{
    bl_status rc = read_stored(gguf, place, tensor, row, n_rows, out, err);
    size_t n = (size_t)(n_rows * tensor->n_cols);

    if (rc != BL_OK || place->factor == 1)
        return rc;
    for (size_t i = 0; i < n; i++)
        out[i] *= place->factor;
    if (!isfinite(bl_f32_from_bits(bl_amax_bits_of_run(out, n))))
        return bl_container_fail(err, BL_E_FORMAT, gguf, place->stored[0],
                                 "a value times the tensor's factor %g is beyond F32",
                                 (double)place->factor);
    return BL_OK;
}

void bl_gguf_prefetch(const bl_container *gguf, const bl_gguf_place *place, const bl_tensor *tensor)
{
    if (place->layout == BL_LAYOUT_STACK) { /* expert by expert, n_bytes each */
        bl_container_prefetch(gguf, place->stored[0],
                              place->first_row / tensor->n_rows * tensor->n_bytes, tensor->n_bytes);
        return;
    }
    bl_container_prefetch(gguf, place->stored[0], 0, UINT64_MAX);
    if (place->layout == BL_LAYOUT_KV_B)
        bl_container_prefetch(gguf, place->stored[1], 0, UINT64_MAX);
}

void bl_gguf_prefetch_rows(const bl_container *gguf, const bl_gguf_place *place,
                           const bl_tensor *tensor, uint64_t row, uint64_t n_rows)
{
    uint64_t row_bytes = tensor->n_bytes / bl_max_u64(tensor->n_rows, 1);

    if (place->layout == BL_LAYOUT_STACK || place->layout == BL_LAYOUT_SAME)
        bl_container_prefetch(gguf, place->stored[0], (place->first_row + row) * row_bytes,
                              n_rows * row_bytes);
    else if (row == 0)
        bl_gguf_prefetch(gguf, place, tensor);
}
