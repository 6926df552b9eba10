/* identity.c - see identity.h. */
#include "formats/ckpt/identity.h"

#include "base/alloc.h"
#include "base/le.h"
#include "base/size.h"
#include "formats/dtype/float_bits.h"

#include <string.h>

enum { PIECE_VALUES = 1 << 18, MAX_NAME = 256 };

static const char label[] = "baleen identity 1";

struct identity {
    const bl_ckpt *ckpt;
    const bl_config *config;
    bl_hasher *hasher;
    float *value; /* [PIECE_VALUES] or one row, the longer */
    unsigned char *bytes;
    uint64_t room; /* values */
};

static void add_u32(bl_hasher *hasher, uint32_t number)
{
    unsigned char bytes[4];

    bl_put_u32(bytes, number);
    bl_hasher_add(hasher, bytes, sizeof(bytes));
}

/* GGUF keeps these numbers as F32. */
static void add_f64(bl_hasher *hasher, double number)
{
    add_u32(hasher, bl_bits_from_f32((float)number));
}

static void add_attention(bl_hasher *h, const bl_config *c)
{
    add_u32(h, c->n_heads);
    if (c->arch->mla) {
        add_u32(h, c->q_lora_rank);
        add_u32(h, c->kv_lora_rank);
        add_u32(h, c->qk_nope_head_dim);
        add_u32(h, c->qk_rope_head_dim);
        add_u32(h, c->v_head_dim);
    } else {
        add_u32(h, c->n_kv_heads);
        add_u32(h, c->head_dim);
    }
    add_f64(h, c->rope_theta);
}

/* All groups of several are what one group is. */
static void add_experts(bl_hasher *h, const bl_config *c)
{
    const bool grouped = c->topk_group < c->n_group;

    add_u32(h, c->n_experts);
    if (c->n_experts == 0)
        return;
    add_u32(h, c->n_experts_used);
    add_u32(h, c->n_shared_experts);
    add_u32(h, c->moe_intermediate_size);
    add_u32(h, c->first_k_dense);
    add_u32(h, grouped ? c->n_group : 1);
    add_u32(h, grouped ? c->topk_group : 1);
    add_u32(h, c->scoring == BL_ROUTER_SIGMOID);
    add_u32(h, c->norm_topk_prob);
    add_f64(h, c->routed_scaling_factor);
}

static void add_config(bl_hasher *h, const bl_config *c)
{
    bl_hasher_add(h, label, sizeof(label));
    bl_hasher_add(h, c->arch->gguf_name, strlen(c->arch->gguf_name) + 1);
    add_u32(h, c->vocab_size);
    add_u32(h, c->hidden_size);
    add_u32(h, c->n_layers);
    add_u32(h, c->intermediate_size);
    add_f64(h, c->rms_norm_eps);
    add_attention(h, c);
    add_experts(h, c);
}

static bl_status make_room(struct identity *id, uint64_t n, struct bl_err *err)
{
    if (n <= id->room)
        return BL_OK;
    bl_free(id->value);
    bl_free(id->bytes);
    id->value = bl_alloc((size_t)n, sizeof(*id->value));
    id->bytes = bl_alloc((size_t)n, 2);
    id->room = n;
    return id->value && id->bytes ? BL_OK : bl_fail_nomem(err, "the identity of a model");
}

static bl_status add_tensor(struct identity *id, const char *name, struct bl_err *err)
{
    const bl_tensor *t = bl_ckpt_find(id->ckpt, name);
    bl_status rc = BL_OK;
    uint64_t step;

    if (!t)
        return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s' is missing", bl_ckpt_path(id->ckpt),
                       name);
    bl_hasher_add(id->hasher, name, strlen(name) + 1);
    step = bl_max_u64(PIECE_VALUES / bl_max_u64(t->n_cols, 1), 1);
    rc = make_room(id, bl_max_u64(PIECE_VALUES, t->n_cols), err);
    for (uint64_t row = 0; row < t->n_rows && rc == BL_OK; row += step) {
        const uint64_t n = bl_min_u64(step, t->n_rows - row);

        rc = bl_ckpt_read_rows(id->ckpt, t, row, n, id->value, err);
        for (uint64_t i = 0; i < n * t->n_cols && rc == BL_OK; i++)
            bl_put_u16(id->bytes + 2 * i, bl_bf16_from_f32(id->value[i]));
        if (rc == BL_OK)
            bl_hasher_add(id->hasher, id->bytes, (size_t)(2 * n * t->n_cols));
    }
    return rc;
}

/* Norms, biases and routers of the layers that are always run. */
static bool takes_part(const bl_arch_row *row)
{
    return row->where != BL_MTP_LAYERS &&
           (row->role == BL_ROLE_NORM || row->cols == BL_DIM_1 || row->role == BL_ROLE_ROUTER);
}

static bl_status add_rows(struct identity *id, bool once, uint32_t layer, struct bl_err *err)
{
    const bl_arch *arch = id->config->arch;
    bl_status rc = BL_OK;

    for (size_t i = 0; i < arch->n_rows && rc == BL_OK; i++) {
        const bl_arch_row *row = &arch->row[i];
        char name[MAX_NAME];

        if ((row->where == BL_ONCE) != once || !takes_part(row) ||
            !bl_arch_row_applies(row, id->config, layer))
            continue;
        rc = bl_arch_expand(name, sizeof(name), row->name, layer, 0)
                 ? add_tensor(id, name, err)
                 : bl_fail(err, BL_E_UNSUPPORTED, "a tensor name is too long");
    }
    return rc;
}

bl_status bl_ckpt_identity(bl_hash128 *out, const bl_ckpt *ckpt, struct bl_err *err)
{
    struct identity id = { .ckpt = ckpt, .config = bl_ckpt_config(ckpt) };
    bl_status rc;

    if (!bl_ckpt_has_config(ckpt))
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: without a configuration it is no model",
                       bl_ckpt_path(ckpt));
    rc = bl_hasher_new(&id.hasher, err);
    if (rc != BL_OK)
        return rc;
    add_config(id.hasher, id.config);
    rc = add_rows(&id, true, 0, err);
    for (uint32_t layer = 0; layer < id.config->n_layers && rc == BL_OK; layer++)
        rc = add_rows(&id, false, layer, err);
    if (rc == BL_OK)
        *out = bl_hasher_digest(id.hasher);
    bl_hasher_free(id.hasher);
    bl_free(id.value);
    bl_free(id.bytes);
    return rc;
}
