/* slice.c - see slice.h: the record of what was taken out, and the new numbers. */
#include "formats/slice/slice.h"

#include "formats/ckpt/identity.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/slice/slice_table.h"

#include <stdio.h>
#include <string.h>

/* What the source says of itself; a model that was never pruned is its own original. */
bl_status bl_slice_source_record(bl_pruning *out, const bl_ckpt *source, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(source);
    const uint32_t n_layers = c->n_layers + c->n_mtp_layers;
    bool there = false;
    bl_status rc = bl_pruning_read(out, &there, source, err);

    if (rc != BL_OK || there)
        return rc;
    rc = bl_pruning_init(out, n_layers, c->n_experts, err);
    if (rc != BL_OK)
        return rc;
    out->n_layers_before = c->n_layers;
    out->n_experts_before = c->n_experts;
    for (uint32_t l = 0; l < n_layers; l++) {
        out->layer[l] = l;
        for (uint32_t e = 0; e < c->n_experts && bl_config_layer_is_moe(c, l); e++)
            out->expert[(size_t)l * c->n_experts + e] = e;
    }
    return BL_OK;
}

/* "reap+easy-ep": a model that was pruned twice. */
static void set_method(bl_pruning *out, const bl_pruning *was, const char *method)
{
    if (was->n_models > 0)
        snprintf(out->method, sizeof(out->method), "%.63s+%.63s", was->method, method);
    else
        snprintf(out->method, sizeof(out->method), "%s", method);
}

/* The models before, and the source behind them; of very many the original and the last stay. */
static bl_status set_models(bl_pruning *out, const bl_pruning *was, const bl_ckpt *source,
                            struct bl_err *err)
{
    memcpy(out->model, was->model, sizeof(out->model));
    out->n_models = was->n_models;
    if (out->n_models == BL_PRUNING_MAX_MODELS)
        out->n_models--;
    return bl_ckpt_identity(&out->model[out->n_models++], source, err);
}

static bl_status make_record(bl_pruning *out, const bl_ckpt *source, const bl_slice *slice,
                             struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(source);
    const uint32_t n_mtp = slice->keeps_mtp ? c->n_mtp_layers : 0, n = slice->n_experts;
    bl_pruning was = { 0 }, now = { 0 };
    bl_status rc = bl_slice_source_record(&was, source, err);

    if (rc == BL_OK)
        rc = bl_pruning_init(&now, slice->n_layers + n_mtp, n, err);
    if (rc == BL_OK)
        rc = set_models(&now, &was, source, err);
    if (rc != BL_OK) {
        bl_pruning_release(&was);
        bl_pruning_release(&now);
        return rc;
    }
    set_method(&now, &was, slice->method);
    now.n_layers_before = was.n_layers_before;
    now.n_experts_before = was.n_experts_before;
    for (uint32_t l = 0; l < now.n_layers; l++) {
        const uint32_t from =
            l < slice->n_layers ? slice->layer[l] : c->n_layers + l - slice->n_layers;

        now.layer[l] = was.layer[from];
        for (uint32_t i = 0; i < n && bl_config_layer_is_moe(c, from); i++) {
            const uint32_t e = n == c->n_experts ? i : slice->expert[(size_t)from * n + i];

            now.expert[(size_t)l * n + i] = was.expert[(size_t)from * c->n_experts + e];
        }
    }
    bl_pruning_release(&was);
    *out = now;
    return BL_OK;
}

bl_status bl_slice_record(bl_text *out, const bl_ckpt *source, const bl_slice *slice,
                          struct bl_err *err)
{
    bl_pruning record = { 0 };
    bl_status rc = make_record(&record, source, slice, err);

    if (rc != BL_OK)
        return rc;
    bl_pruning_write(out, &record);
    bl_pruning_release(&record);
    return bl_text_check(out, err);
}

bl_slice_numbers bl_slice_numbers_of(const bl_config *c, const bl_slice *slice)
{
    bl_slice_numbers n = { .n_layers = slice->n_layers,
                           .n_mtp_layers = slice->keeps_mtp ? c->n_mtp_layers : 0,
                           .n_experts = slice->n_experts,
                           .n_experts_used = slice->experts_per_token ? slice->experts_per_token
                                                                      : c->n_experts_used,
                           .n_group = slice->ungroup ? 1 : c->n_group,
                           .topk_group = slice->ungroup ? 1 : c->topk_group };

    for (uint32_t l = 0; l < slice->n_layers; l++)
        n.first_k_dense += slice->layer[l] < c->first_k_dense;
    return n;
}

static bl_status make_table(bl_slice_table *out, const bl_ckpt *source, const bl_slice *slice,
                            struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(source);

    if (slice->n_layers < c->n_layers && c->n_experts > 0 && c->moe_layer_freq > 1)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: every %u-th layer has experts: without some layers no "
                       "configuration says which",
                       bl_ckpt_path(source), c->moe_layer_freq);
    return bl_slice_table_make(out, source, slice, err);
}

bl_status bl_slice_bytes(uint64_t *out, const bl_ckpt *source, const bl_slice *slice,
                         struct bl_err *err)
{
    bl_slice_table table = { 0 };
    bl_status rc = make_table(&table, source, slice, err);

    *out = 0;
    for (size_t i = 0; i < table.n; i++)
        *out += table.stored[i].n_bytes;
    bl_slice_table_release(&table);
    return rc;
}

bl_status bl_slice_open(bl_ckpt **out, const bl_ckpt *source, const bl_slice *slice,
                        struct bl_err *err)
{
    bl_slice_table table = { 0 };
    bl_container *container = NULL;
    bl_status rc = make_table(&table, source, slice, err);

    if (rc == BL_OK)
        rc = (bl_gguf_meta_of(bl_ckpt_container(source)) ? bl_slice_gguf : bl_slice_folder)(
            &container, source, slice, &table, err);
    return rc == BL_OK ? bl_ckpt_of(out, container, err) : rc;
}
