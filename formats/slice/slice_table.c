/* slice_table.c - see slice_table.h. Tensors are told apart by their stored names. */
#include "formats/slice/slice_table.h"

#include "base/alloc.h"
#include "base/size.h"

#include <inttypes.h>
#include <string.h>

static const uint32_t dropped = UINT32_MAX;

/* A number in a name: "<word><digits>" followed by '.' or the end. */
struct number {
    size_t begin, end; /* of the digits */
    uint32_t value;
};

/* The first "word<digits>" that begins at the start of a component of the name. */
static bool find_number(struct number *out, const char *name, const char *word)
{
    const size_t n_word = strlen(word);

    for (const char *at = strstr(name, word); at; at = strstr(at + 1, word)) {
        const char *digits = at + n_word, *end = digits + strspn(digits, "0123456789");
        uint64_t value = 0;

        if ((at > name && at[-1] != '.') || end == digits || end - digits > 9 ||
            (*end != '.' && *end != '\0'))
            continue;
        for (const char *d = digits; d < end; d++)
            value = value * 10 + (uint64_t)(*d - '0');
        *out = (struct number){ (size_t)(digits - name), (size_t)(end - name), (uint32_t)value };
        return true;
    }
    return false;
}

static bool has_prefix(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* What a name says: the layer (blk.3. or layers.3.) and the routed expert (experts.7.). */
struct place {
    bool in_layer, of_expert;
    struct number layer, expert;
    const char *rest; /* behind the layer's number and its point */
};

static struct place parse(const char *name)
{
    struct place p = { .rest = name };

    p.in_layer = find_number(&p.layer, name, "layers.") || find_number(&p.layer, name, "blk.");
    if (!p.in_layer)
        return p;
    p.rest = name + p.layer.end + (name[p.layer.end] == '.');
    p.of_expert = find_number(&p.expert, name, "experts.") && p.expert.begin > p.layer.end;
    return p;
}

/* Tensors that have one outermost index for each expert: routers, and the stacks of GGUF. */
static bool is_per_expert(const char *rest)
{
    return has_prefix(rest, "mlp.gate.") || has_prefix(rest, "ffn_gate_inp.") ||
           has_prefix(rest, "exp_probs_b") || strstr(rest, "_exps.") != NULL;
}

static void append(bl_text *out, const char *from, const char *to)
{
    bl_text_add(out, from, (size_t)(to - from));
}

bool bl_slice_rename(bl_text *out, const bl_slice_table *t, const char *name)
{
    const struct place p = parse(name);
    const char *at = name;

    if (p.in_layer && p.layer.value < t->n_source_layers) {
        const uint32_t layer = t->layer_to[p.layer.value];
        uint32_t expert = 0;

        if (layer == dropped)
            return false;
        if (p.of_expert && p.expert.value < t->n_source_experts) {
            expert = t->expert_to[(size_t)p.layer.value * t->n_source_experts + p.expert.value];
            if (expert == dropped)
                return false;
        }
        append(out, at, name + p.layer.begin);
        bl_text_printf(out, "%" PRIu32, layer);
        at = name + p.layer.end;
        if (p.of_expert && p.expert.value < t->n_source_experts) {
            append(out, at, name + p.expert.begin);
            bl_text_printf(out, "%" PRIu32, expert);
            at = name + p.expert.end;
        }
    }
    bl_text_puts(out, at);
    return true;
}

static bl_status make_maps(bl_slice_table *t, const bl_config *c, const bl_slice *slice,
                           struct bl_err *err)
{
    uint32_t next = 0;

    t->n_source_layers = c->n_layers + c->n_mtp_layers;
    t->n_source_experts = c->n_experts;
    t->layer_to = bl_arena_alloc(&t->arena, t->n_source_layers, sizeof(*t->layer_to));
    t->expert_to =
        bl_arena_alloc(&t->arena, (size_t)t->n_source_layers * c->n_experts, sizeof(*t->expert_to));
    if (!t->layer_to || !t->expert_to)
        return bl_fail_nomem(err, "a slice");
    for (uint32_t l = 0; l < t->n_source_layers; l++) {
        const bool stays =
            l < c->n_layers ? next < slice->n_layers && slice->layer[next] == l : slice->keeps_mtp;
        const uint32_t *expert = slice->expert + (size_t)l * slice->n_experts;
        uint32_t *to = t->expert_to + (size_t)l * c->n_experts, n = 0;

        t->layer_to[l] = stays ? next++ : dropped;
        for (uint32_t e = 0; e < c->n_experts; e++) {
            const bool all = slice->n_experts == c->n_experts || !bl_config_layer_is_moe(c, l);
            const bool kept = all || (n < slice->n_experts && expert[n] == e);

            to[e] = kept ? n++ : dropped;
        }
    }
    return BL_OK;
}

/* The kept experts of a layer as outermost indices; NULL without memory. */
static const uint32_t *units_of(bl_slice_table *t, uint32_t layer, uint32_t n)
{
    uint32_t *unit = bl_arena_alloc(&t->arena, n, sizeof(*unit));

    for (uint32_t e = 0, i = 0; unit && e < t->n_source_experts; e++)
        if (t->expert_to[(size_t)layer * t->n_source_experts + e] != dropped)
            unit[i++] = e;
    return unit;
}

/* Cut tensor i of the slice down to the experts that stay. */
static bl_status cut(bl_slice_table *t, size_t i, uint32_t layer, uint32_t n_experts,
                     struct bl_err *err)
{
    const size_t source = t->part[i].source;
    bl_stored *s = &t->stored[i];

    if (s->ndim == 0 || s->dim[0] != t->n_source_experts || s->n_bytes % s->dim[0] != 0 ||
        (s->ndim == 1 && bl_dtype_traits_of(s->dtype)->block_len > 1))
        return bl_container_fail(err, BL_E_UNSUPPORTED, t->source, source,
                                 "has not one part for each expert, so none can be taken out");
    t->part[i].unit_bytes = s->n_bytes / s->dim[0];
    t->part[i].unit = units_of(t, layer, n_experts);
    if (!t->part[i].unit)
        return bl_fail_nomem(err, "a slice");
    s->dim[0] = n_experts;
    s->n_bytes = t->part[i].unit_bytes * n_experts;
    return BL_OK;
}

/* Stored tensor `source` of the source, if it stays. */
static bl_status add(bl_slice_table *t, size_t source, const bl_config *c, const bl_slice *slice,
                     bl_text *name, struct bl_err *err)
{
    const bl_stored *from = &t->source->stored[source];
    const struct place p = parse(from->name);
    bl_status rc = BL_OK;

    name->n = 0;
    if (!bl_slice_rename(name, t, from->name))
        return BL_OK;
    rc = bl_text_check(name, err);
    if (rc != BL_OK)
        return rc;
    t->stored[t->n] = *from;
    t->stored[t->n].name = bl_arena_strndup(&t->arena, name->bytes, name->n);
    t->part[t->n] = (bl_slice_part){ .source = source };
    if (!t->stored[t->n].name)
        return bl_fail_nomem(err, "a slice");
    if (slice->n_experts < c->n_experts && p.in_layer && !p.of_expert &&
        p.layer.value < t->n_source_layers && bl_config_layer_is_moe(c, p.layer.value) &&
        is_per_expert(p.rest))
        rc = cut(t, t->n, p.layer.value, slice->n_experts, err);
    t->n++;
    return rc;
}

bl_status bl_slice_table_make(bl_slice_table *out, const bl_ckpt *source, const bl_slice *slice,
                              struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(source);
    bl_slice_table t = { .source = bl_ckpt_container(source) };
    bl_text name = { 0 };
    bl_status rc = make_maps(&t, c, slice, err);

    t.stored = bl_arena_alloc(&t.arena, t.source->n_stored, sizeof(*t.stored));
    t.part = bl_arena_alloc(&t.arena, t.source->n_stored, sizeof(*t.part));
    if (rc == BL_OK && (!t.stored || !t.part))
        rc = bl_fail_nomem(err, "a slice");
    for (size_t i = 0; i < t.source->n_stored && rc == BL_OK; i++)
        rc = add(&t, i, c, slice, &name, err);
    bl_text_release(&name);
    if (rc == BL_OK)
        *out = t;
    else
        bl_slice_table_release(&t);
    return rc;
}

void bl_slice_table_release(bl_slice_table *table)
{
    bl_arena_release(&table->arena);
    *table = (bl_slice_table){ 0 };
}

/* A run of bytes of tensor i that lie together in the source too. */
struct run {
    uint64_t offset; /* in the source's tensor */
    uint64_t n;
};

static struct run run_at(const bl_slice_table *t, size_t i, uint64_t offset, uint64_t n)
{
    const bl_slice_part *p = &t->part[i];
    uint64_t k, within;

    if (!p->unit)
        return (struct run){ offset, n };
    k = offset / p->unit_bytes;
    within = offset % p->unit_bytes;
    return (struct run){ p->unit[k] * p->unit_bytes + within,
                         bl_min_u64(n, p->unit_bytes - within) };
}

bl_status bl_slice_read(const bl_slice_table *t, size_t i, uint64_t offset, void *out, size_t n,
                        struct bl_err *err)
{
    unsigned char *to = out;
    bl_status rc = BL_OK;

    while (n > 0 && rc == BL_OK) {
        const struct run run = run_at(t, i, offset, n);

        rc = bl_container_read(t->source, t->part[i].source, run.offset, to, (size_t)run.n, err);
        to += run.n;
        offset += run.n;
        n -= (size_t)run.n;
    }
    return rc;
}

void bl_slice_prefetch(const bl_slice_table *t, size_t i, uint64_t offset, uint64_t n)
{
    while (n > 0) {
        const struct run run = run_at(t, i, offset, n);

        bl_container_prefetch(t->source, t->part[i].source, run.offset, run.n);
        offset += run.n;
        n -= run.n;
    }
}
