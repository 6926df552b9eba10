/* slice_counterpart.c - from what a pruned checkpoint says of itself back to what it was cut from. */
#include "formats/slice/slice.h"

#include "base/alloc.h"
#include "formats/ckpt/identity.h"
#include "formats/slice/slice_table.h"

/* Where a number stands in an ascending list; n when it does not. */
static uint32_t find(const uint32_t *list, uint32_t n, uint32_t number)
{
    for (uint32_t i = 0; i < n; i++)
        if (list[i] == number)
            return i;
    return n;
}

/* The slice of the reference, itself perhaps pruned (`was`), that has what `now` has. False: it lacks some. */
static bool match(bl_slice *slice, uint32_t *layer, uint32_t *expert, const bl_config *reference,
                  const bl_config *pruned, const bl_pruning *was, const bl_pruning *now)
{
    for (uint32_t l = 0; l < now->n_layers; l++) {
        const uint32_t from = find(was->layer, was->n_layers, now->layer[l]);
        const uint32_t *ids = was->expert + (size_t)from * was->n_experts;

        if (from == was->n_layers)
            return false;
        if (l < pruned->n_layers)
            layer[l] = from;
        for (uint32_t i = 0; i < now->n_experts && bl_config_layer_is_moe(reference, from); i++) {
            const uint32_t e =
                find(ids, was->n_experts, now->expert[(size_t)l * now->n_experts + i]);

            if (e == was->n_experts)
                return false;
            expert[(size_t)from * now->n_experts + i] = e;
        }
    }
    *slice = (bl_slice){ .n_layers = pruned->n_layers,
                         .layer = layer,
                         .keeps_mtp = now->n_layers > pruned->n_layers,
                         .n_experts = now->n_experts,
                         .expert = expert,
                         .ungroup = pruned->n_group == 1,
                         .experts_per_token = pruned->n_experts_used,
                         .method = now->method };
    return true;
}

static bl_status open_match(bl_ckpt **out, const bl_ckpt *reference, const bl_ckpt *pruned,
                            const bl_pruning *now, struct bl_err *err)
{
    const bl_config *c = bl_ckpt_config(reference);
    bl_pruning was = { 0 };
    uint32_t *layer = bl_alloc(now->n_layers, sizeof(*layer));
    uint32_t *expert =
        bl_calloc((size_t)(c->n_layers + c->n_mtp_layers) * now->n_experts, sizeof(*expert));
    bl_slice slice;
    bl_status rc = layer && expert ? bl_slice_source_record(&was, reference, err)
                                   : bl_fail_nomem(err, "a slice");

    if (rc == BL_OK && match(&slice, layer, expert, c, bl_ckpt_config(pruned), &was, now))
        rc = bl_slice_open(out, reference, &slice, err);
    bl_pruning_release(&was);
    bl_free(layer);
    bl_free(expert);
    return rc;
}

bl_status bl_slice_counterpart(bl_ckpt **out, const bl_ckpt *reference, const bl_ckpt *pruned,
                               struct bl_err *err)
{
    bl_pruning now = { 0 };
    bl_hash128 identity = { 0 };
    bool is_pruned = false;
    bl_status rc = BL_OK;

    *out = NULL;
    if (!bl_ckpt_has_config(reference) || !bl_ckpt_has_config(pruned))
        return BL_OK;
    rc = bl_pruning_read(&now, &is_pruned, pruned, err);
    if (rc == BL_OK && is_pruned)
        rc = bl_ckpt_identity(&identity, reference, err);
    if (rc == BL_OK && is_pruned && bl_pruning_descends(&now, identity))
        rc = open_match(out, reference, pruned, &now, err);
    bl_pruning_release(&now);
    return rc;
}
