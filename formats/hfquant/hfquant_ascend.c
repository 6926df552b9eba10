/*
 * hfquant_ascend.c - quant_model_description.json, by which vLLM-Ascend and MindIE know how a
 * tensor is stored: a flat object, tensor name -> "FLOAT" or "W8A8_DYNAMIC" (other words are other
 * layouts). Members that name no tensor (model_quant_type, version, metadata) describe the whole.
 */
#include "formats/hfquant/hfquant_group.h"

#include "base/alloc.h"

#include <string.h>

static bl_status mark(bl_grouping *g, const bl_json_value *member)
{
    const char *name = bl_json_key(member), *word = bl_json_string(member);
    uint32_t i;

    if (!bl_map_get(&i, &g->by_name, name, strlen(name)))
        return BL_OK;
    if (word && strcmp(word, "FLOAT") == 0)
        return BL_OK;
    if (!word || strcmp(word, "W8A8_DYNAMIC") != 0)
        return bl_fail(g->err, BL_E_UNSUPPORTED,
                       "%s/" BL_ASCEND_DESCRIPTION ": '%s' is '%s', which is not handled",
                       g->container->path, name, word ? word : "not a string");
    g->is_int8[i] = true;
    return BL_OK;
}

static bl_status mark_all(bl_grouping *g, const bl_json_value *root)
{
    bl_status rc = BL_OK;

    if (bl_json_type_of(root) != BL_JSON_OBJECT)
        return bl_fail(g->err, BL_E_FORMAT, "%s/" BL_ASCEND_DESCRIPTION ": not a JSON object",
                       g->container->path);
    if (g->quantization.storage != BL_STORAGE_PLAIN)
        return bl_fail(g->err, BL_E_UNSUPPORTED,
                       "%s: both a quantization_config and a " BL_ASCEND_DESCRIPTION,
                       g->container->path);
    g->is_int8 = bl_arena_alloc(g->arena, g->container->n_stored, sizeof(*g->is_int8));
    if (!g->is_int8)
        return bl_fail_nomem(g->err, g->container->path);
    g->quantization.storage = BL_STORAGE_ASCEND_INT8;
    for (const bl_json_value *m = bl_json_first(root); m && rc == BL_OK; m = bl_json_next(m))
        rc = mark(g, m);
    return rc;
}

/* Its parts (X.weight_scale, X.weight_offset) are listed too: then they are no codes. */
static void unmark_parts(bl_grouping *g)
{
    for (size_t i = 0; i < g->container->n_stored; i++) {
        const char *name = g->container->stored[i].name, *end = strrchr(name, '.');

        if (end && (strcmp(end, ".weight_scale") == 0 || strcmp(end, ".weight_offset") == 0))
            g->is_int8[i] = false;
    }
}

bl_status bl_group_description(bl_grouping *g)
{
    char *text = NULL, *name;
    bl_json *json = NULL;
    size_t n;
    bl_status rc = bl_container_side_file(g->container, BL_ASCEND_DESCRIPTION, &text, &n, g->err);

    if (rc != BL_OK || !text)
        return rc;
    name = bl_format("%s/" BL_ASCEND_DESCRIPTION, g->container->path);
    rc = name ? bl_json_parse(&json, name, text, n, 0, g->err)
              : bl_fail_nomem(g->err, BL_ASCEND_DESCRIPTION);
    if (rc == BL_OK)
        rc = mark_all(g, bl_json_root(json));
    if (rc == BL_OK)
        unmark_parts(g);
    bl_json_free(json);
    bl_free(name);
    bl_free(text);
    return rc;
}
