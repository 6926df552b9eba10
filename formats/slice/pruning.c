/* pruning.c - see pruning.h. */
#include "formats/slice/pruning.h"

#include "base/alloc.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/json/json_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LAYERS = 65536, MAX_EXPERTS = 65536 };

static const uint32_t no_expert = UINT32_MAX;

void bl_pruning_release(bl_pruning *p)
{
    bl_free(p->layer);
    bl_free(p->expert);
    *p = (bl_pruning){ 0 };
}

bl_status bl_pruning_init(bl_pruning *out, uint32_t n_layers, uint32_t n_experts,
                          struct bl_err *err)
{
    bl_pruning p = { .n_layers = n_layers, .n_experts = n_experts };

    p.layer = bl_calloc(n_layers, sizeof(*p.layer));
    p.expert = bl_alloc((size_t)n_layers * n_experts, sizeof(*p.expert));
    if (!p.layer || !p.expert) {
        bl_pruning_release(&p);
        return bl_fail_nomem(err, "what was pruned");
    }
    for (size_t i = 0; i < (size_t)n_layers * n_experts; i++)
        p.expert[i] = no_expert;
    *out = p;
    return BL_OK;
}

bool bl_pruning_descends(const bl_pruning *p, bl_hash128 identity)
{
    for (size_t i = 0; i < p->n_models; i++)
        if (bl_hash128_equal(p->model[i], identity))
            return true;
    return false;
}

static void put_numbers(bl_json_writer *w, const uint32_t *number, size_t n)
{
    bl_json_begin_array(w);
    for (size_t i = 0; i < n; i++)
        bl_json_put_u64(w, number[i]);
    bl_json_end_array(w);
}

void bl_pruning_write(bl_text *out, const bl_pruning *p)
{
    bl_json_writer w = { .text = out, .compact = true };

    bl_json_begin_object(&w);
    bl_json_pair_string(&w, "method", p->method);
    bl_json_pair_u64(&w, "num_hidden_layers", p->n_layers_before);
    bl_json_pair_u64(&w, "n_routed_experts", p->n_experts_before);
    bl_json_put_key(&w, "models");
    bl_json_begin_array(&w);
    for (size_t i = 0; i < p->n_models; i++) {
        char hex[33];

        snprintf(hex, sizeof(hex), "%016" PRIx64 "%016" PRIx64, p->model[i].high, p->model[i].low);
        bl_json_put_string(&w, hex);
    }
    bl_json_end_array(&w);
    bl_json_put_key(&w, "layers");
    put_numbers(&w, p->layer, p->n_layers);
    bl_json_put_key(&w, "experts");
    bl_json_begin_array(&w);
    for (uint32_t l = 0; l < p->n_layers; l++) {
        const uint32_t *row = p->expert + (size_t)l * p->n_experts;

        if (p->n_experts == 0 || row[0] == no_expert)
            bl_json_put_raw(&w, "null");
        else
            put_numbers(&w, row, p->n_experts);
    }
    bl_json_end_array(&w);
    bl_json_end_object(&w);
}

/* Reading: every step says whether the text is what it should be. */

static bool read_number(uint32_t *out, const bl_json_value *value, uint32_t limit)
{
    uint64_t n;

    if (!bl_json_u64(&n, value) || n >= limit)
        return false;
    *out = (uint32_t)n;
    return true;
}

static bool read_models(bl_pruning *p, const bl_json_value *list)
{
    const bl_json_value *v = bl_json_first(list);

    if (!list || bl_json_type_of(list) != BL_JSON_ARRAY)
        return false;
    for (; v; v = bl_json_next(v)) {
        const char *hex = bl_json_string(v);
        bl_hash128 *hash = &p->model[p->n_models];

        if (!hex || strlen(hex) != 32 || p->n_models == BL_PRUNING_MAX_MODELS)
            return false;
        for (int i = 0; i < 32; i++) {
            const int digit = bl_hex_digit(hex[i]);
            uint64_t *half = i < 16 ? &hash->high : &hash->low;

            if (digit < 0)
                return false;
            *half = *half << 4 | (uint64_t)digit;
        }
        p->n_models++;
    }
    return true;
}

/* Ascending numbers below limit. */
static bool read_numbers(uint32_t *out, size_t n, const bl_json_value *list, uint32_t limit)
{
    const bl_json_value *v = bl_json_first(list);

    for (size_t i = 0; i < n; i++, v = bl_json_next(v))
        if (!v || !read_number(&out[i], v, limit) || (i > 0 && out[i] <= out[i - 1]))
            return false;
    return v == NULL;
}

static bool read_experts(bl_pruning *p, const bl_json_value *list)
{
    const bl_json_value *v = bl_json_first(list);

    for (uint32_t l = 0; l < p->n_layers; l++, v = bl_json_next(v)) {
        uint32_t *row = p->expert + (size_t)l * p->n_experts;

        if (!v)
            return false;
        if (bl_json_type_of(v) == BL_JSON_NULL)
            continue;
        if (bl_json_type_of(v) != BL_JSON_ARRAY ||
            !read_numbers(row, p->n_experts, v, p->n_experts_before))
            return false;
    }
    return v == NULL;
}

static uint32_t count_experts(const bl_json_value *list)
{
    for (const bl_json_value *v = bl_json_first(list); v; v = bl_json_next(v))
        if (bl_json_type_of(v) == BL_JSON_ARRAY)
            return bl_json_size(v) < MAX_EXPERTS ? (uint32_t)bl_json_size(v) : 0;
    return 0;
}

/* *good false: the object is not what it should be. */
static bl_status read_object(bl_pruning *out, bool *good, const bl_json_value *object,
                             struct bl_err *err)
{
    const bl_json_value *layers = bl_json_get(object, "layers");
    const bl_json_value *experts = bl_json_get(object, "experts");
    const char *method = bl_json_string(bl_json_get(object, "method"));
    bl_status rc;

    *good = layers && experts && method && strlen(method) < BL_PRUNING_METHOD_BYTES &&
            bl_json_type_of(layers) == BL_JSON_ARRAY && bl_json_type_of(experts) == BL_JSON_ARRAY &&
            bl_json_size(layers) < MAX_LAYERS;
    if (!*good)
        return BL_OK;
    rc = bl_pruning_init(out, (uint32_t)bl_json_size(layers), count_experts(experts), err);
    if (rc != BL_OK)
        return rc;
    snprintf(out->method, sizeof(out->method), "%s", method);
    *good =
        read_number(&out->n_layers_before, bl_json_get(object, "num_hidden_layers"), MAX_LAYERS) &&
        read_number(&out->n_experts_before, bl_json_get(object, "n_routed_experts"),
                    MAX_EXPERTS + 1) &&
        read_models(out, bl_json_get(object, "models")) &&
        read_numbers(out->layer, out->n_layers, layers, 2 * MAX_LAYERS) &&
        read_experts(out, experts);
    return BL_OK;
}

/* Whether it speaks of this checkpoint. A conversion may have left MTP layers out. */
static bool fits(const bl_pruning *p, const bl_config *c)
{
    return p->n_layers >= c->n_layers + c->n_mtp_layers && p->n_experts == c->n_experts;
}

/* The text in a checkpoint: a whole object, or a config.json with it as a member. */
static bl_status find_text(char **out, size_t *n, bool *whole, const bl_ckpt *ckpt,
                           struct bl_err *err)
{
    const bl_gguf_meta *meta = bl_gguf_meta_of(bl_ckpt_container(ckpt));
    const bl_gguf_kv *kv = meta ? bl_gguf_find(meta, BL_PRUNING_KEY) : NULL;
    bl_gguf_string s = { 0 };
    bl_status rc;

    *whole = meta != NULL;
    *out = NULL;
    if (!meta)
        return bl_ckpt_side_file(ckpt, "config.json", out, n, err);
    if (!kv)
        return BL_OK;
    rc = bl_gguf_kv_string(&s, kv, err);
    if (rc != BL_OK)
        return rc;
    *out = bl_strndup(s.bytes, s.n);
    *n = s.n;
    return *out ? BL_OK : bl_fail_nomem(err, bl_ckpt_path(ckpt));
}

bl_status bl_pruning_read(bl_pruning *out, bool *there, const bl_ckpt *ckpt, struct bl_err *err)
{
    bl_pruning p = { 0 };
    bl_json *json = NULL;
    const bl_json_value *object = NULL;
    char *text = NULL;
    size_t n = 0;
    bool whole = false, good = true;
    bl_status rc = find_text(&text, &n, &whole, ckpt, err);

    *there = false;
    if (rc == BL_OK && text)
        rc = bl_json_parse(&json, whole ? BL_PRUNING_KEY : "config.json", text, n, 0, err);
    if (rc != BL_OK)
        bl_err_prefix(err, "%s", bl_ckpt_path(ckpt));
    if (rc == BL_OK && json)
        object = whole ? bl_json_root(json) : bl_json_get(bl_json_root(json), BL_PRUNING_MEMBER);
    if (object) {
        rc = read_object(&p, &good, object, err);
        if (rc == BL_OK && (!good || !fits(&p, bl_ckpt_config(ckpt))))
            rc = bl_fail(err, BL_E_FORMAT,
                         "%s: '" BL_PRUNING_MEMBER "' does not describe this checkpoint: remove it "
                         "if another program has changed the model",
                         bl_ckpt_path(ckpt));
    }
    bl_json_free(json);
    bl_free(text);
    if (rc == BL_OK && object) {
        *out = p;
        *there = true;
    } else {
        bl_pruning_release(&p);
    }
    return rc;
}

bl_status bl_pruning_text(bl_text *out, const bl_ckpt *ckpt, struct bl_err *err)
{
    bl_pruning p = { 0 };
    bool there = false;
    bl_status rc = bl_pruning_read(&p, &there, ckpt, err);

    if (rc != BL_OK || !there)
        return rc;
    bl_pruning_write(out, &p);
    bl_pruning_release(&p);
    return bl_text_check(out, err);
}
