/* init_view.c - see init_view.h. */
#include "distill/init/init_view.h"

#include "base/alloc.h"
#include "base/size.h"
#include "formats/arch/config_write.h"
#include "formats/tokenizer/tokenizer_write.h"

#include <string.h>

enum { NAME_BYTES = 256 };

static bl_status read_data(const bl_container *container, size_t i, uint64_t offset, void *out,
                           size_t n, struct bl_err *err)
{
    const bl_init_view *view = (const bl_init_view *)container;
    const bl_rows *rows = &view->rows[i];
    const uint64_t row_bytes = rows->n_cols * sizeof(float), row = offset / row_bytes;
    const uint64_t n_rows = bl_ceil_div_u64(offset + n, row_bytes) - row;
    float *whole;
    bl_status rc;

    whole = bl_alloc((size_t)n_rows, (size_t)row_bytes);
    if (!whole)
        return bl_fail_nomem(err, view->stored[i].name);
    rc = rows->read(rows->context, rows->tensor, row, n_rows, whole, err);
    if (rc == BL_OK)
        memcpy(out, (const char *)whole + (offset - row * row_bytes), n);
    bl_free(whole);
    return rc;
}

static bl_status read_side_file(const bl_container *container, const char *name, char **out,
                                size_t *n_bytes, struct bl_err *err)
{
    const bl_init_view *view = (const bl_init_view *)container;

    *out = NULL;
    for (size_t i = 0; i < container->n_side_files; i++) {
        const bl_text *text = &view->side_text[i];

        if (strcmp(view->side_name[i], name) != 0)
            continue;
        *out = bl_strndup(text->bytes ? text->bytes : "", text->n);
        if (!*out)
            return bl_fail_nomem(err, name);
        if (n_bytes)
            *n_bytes = text->n;
    }
    return BL_OK;
}

static void close_view(bl_container *container)
{
    bl_init_view *view = (bl_init_view *)container;

    for (size_t i = 0; i < container->n_side_files; i++)
        bl_text_release(&view->side_text[i]);
    bl_arena_release(&view->arena);
    bl_free(view->stored);
    bl_free(view->rows);
    bl_free(view->base.path);
    bl_free(view);
}

static const struct bl_container_ops ops = { .read = read_data,
                                             .side_file = read_side_file,
                                             .close = close_view };

bl_status bl_init_view_new(bl_init_view **out, const char *path, struct bl_err *err)
{
    bl_init_view *view = bl_calloc(1, sizeof(*view));

    if (!view)
        return bl_fail_nomem(err, path);
    view->shard_name[0] = "model.safetensors";
    view->base = (bl_container){ .ops = &ops,
                                 .kind = "safetensors",
                                 .path = bl_strdup(path),
                                 .n_shards = 1,
                                 .shard_name = view->shard_name,
                                 .side_file_name = view->side_name };
    if (!view->base.path) {
        bl_init_view_free(view);
        return bl_fail_nomem(err, path);
    }
    *out = view;
    return BL_OK;
}

void bl_init_view_free(bl_init_view *view)
{
    if (view)
        close_view(&view->base);
}

static bl_status make_room(bl_init_view *view, struct bl_err *err)
{
    const size_t room = view->room ? 2 * view->room : 256;
    bl_stored *stored;
    bl_rows *rows;

    if (view->n < view->room)
        return BL_OK;
    stored = bl_realloc(view->stored, room, sizeof(*stored));
    if (!stored)
        return bl_fail_nomem(err, view->base.path);
    view->stored = stored;
    rows = bl_realloc(view->rows, room, sizeof(*rows));
    if (!rows)
        return bl_fail_nomem(err, view->base.path);
    view->rows = rows;
    view->room = room;
    return BL_OK;
}

static bl_status add_tensor(bl_init_view *view, const bl_config *config, const bl_arch_row *row,
                            uint32_t layer, bl_init_rows_fn rows_of, void *context,
                            struct bl_err *err)
{
    char name[NAME_BYTES];
    bl_stored *stored;
    bl_rows *rows;
    bl_status rc = make_room(view, err);

    if (rc != BL_OK)
        return rc;
    if (!bl_arch_expand(name, sizeof(name), row->name, layer, 0))
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: too long a name", row->name);
    stored = &view->stored[view->n];
    rows = &view->rows[view->n];
    *stored =
        (bl_stored){ .name = bl_arena_strdup(&view->arena, name),
                     .dtype = BL_F32,
                     .ndim = row->cols == BL_DIM_1 ? 1 : 2,
                     .dim = { bl_arch_dim(config, row->rows), bl_arch_dim(config, row->cols) },
                     .offset = view->base.n_file_bytes };
    if (!stored->name)
        return bl_fail_nomem(err, view->base.path);
    if (!bl_dtype_bytes(&stored->n_bytes, BL_F32, stored->ndim, stored->dim) ||
        !bl_add_u64(&view->base.n_file_bytes, view->base.n_file_bytes, stored->n_bytes))
        return bl_fail(err, BL_E_USAGE, "tensor '%s' would be too large", name);
    rc = rows_of(rows, context, row, layer, stored->name, err);
    rows->n_cols = stored->dim[stored->ndim - 1];
    if (rc == BL_OK)
        view->n++;
    return rc;
}

/* Tensors outside the layers, the embedding or the others. */
static bl_status add_once(bl_init_view *view, const bl_config *config, bool embedding,
                          bl_init_rows_fn rows_of, void *context, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t i = 0; i < config->arch->n_rows && rc == BL_OK; i++) {
        const bl_arch_row *row = &config->arch->row[i];

        if (row->where == BL_ONCE && (row->role == BL_ROLE_EMBEDDING) == embedding &&
            bl_arch_row_applies(row, config, 0))
            rc = add_tensor(view, config, row, 0, rows_of, context, err);
    }
    return rc;
}

bl_status bl_init_view_add_all(bl_init_view *view, const bl_config *config, bl_init_rows_fn rows_of,
                               void *context, struct bl_err *err)
{
    bl_status rc = add_once(view, config, true, rows_of, context, err);

    for (uint32_t l = 0; l < config->n_layers; l++)
        for (size_t i = 0; i < config->arch->n_rows && rc == BL_OK; i++) {
            const bl_arch_row *row = &config->arch->row[i];

            if (row->where != BL_ONCE && bl_arch_row_applies(row, config, l))
                rc = add_tensor(view, config, row, l, rows_of, context, err);
        }
    return rc == BL_OK ? add_once(view, config, false, rows_of, context, err) : rc;
}

bl_status bl_init_view_add_side_file(bl_init_view *view, const char *name, const char *bytes,
                                     size_t n, struct bl_err *err)
{
    size_t at = view->base.n_side_files;
    char *copy = bl_arena_strdup(&view->arena, name);
    bl_text text = { 0 };
    bl_status rc;

    if (!copy)
        return bl_fail_nomem(err, name);
    if (at == BL_INIT_MAX_SIDE_FILES)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: one side file too many", name);
    bl_text_add(&text, bytes, n);
    rc = bl_text_check(&text, err);
    if (rc != BL_OK) {
        bl_text_release(&text);
        return rc;
    }
    for (; at > 0 && strcmp(view->side_name[at - 1], name) > 0; at--) {
        view->side_name[at] = view->side_name[at - 1];
        view->side_text[at] = view->side_text[at - 1];
    }
    view->side_name[at] = copy;
    view->side_text[at] = text;
    view->base.n_side_files++;
    return BL_OK;
}

/* Add a text that was made, and release it. */
static bl_status add_made(bl_init_view *view, const char *name, bl_text *text, bl_status rc,
                          struct bl_err *err)
{
    if (rc == BL_OK)
        rc = bl_init_view_add_side_file(view, name, text->bytes, text->n, err);
    bl_text_release(text);
    return rc;
}

static bl_status copy_files(bl_init_view *view, const bl_ckpt *model, struct bl_err *err)
{
    static const char *const names[] = {
        "added_tokens.json", "chat_template.jinja",     "generation_config.json",
        "merges.txt",        "special_tokens_map.json", "tokenizer.json",
        "tokenizer.model",   "tokenizer_config.json",   "vocab.json"
    };
    bl_status rc = BL_OK;

    for (size_t i = 0; i < sizeof(names) / sizeof(*names) && rc == BL_OK; i++) {
        char *bytes = NULL;
        size_t n = 0;

        rc = bl_ckpt_side_file(model, names[i], &bytes, &n, err);
        if (rc == BL_OK && bytes)
            rc = bl_init_view_add_side_file(view, names[i], bytes, n, err);
        bl_free(bytes);
    }
    return rc;
}

static bl_status make_files(bl_init_view *view, const bl_ckpt *model, struct bl_err *err)
{
    const bl_config *config = bl_ckpt_config(model);
    bl_tokenizer_file *tokenizer = NULL;
    bl_text text = { 0 };
    bl_status rc = bl_ckpt_tokenizer_file(&tokenizer, model, err);

    if (rc == BL_OK)
        rc = add_made(view, "generation_config.json", &text,
                      bl_generation_config_write(&text, config, err), err);
    if (rc == BL_OK)
        rc = add_made(view, "tokenizer.json", &text, bl_tokenizer_write_json(&text, tokenizer, err),
                      err);
    if (rc == BL_OK)
        rc = add_made(
            view, "tokenizer_config.json", &text,
            bl_tokenizer_write_config(&text, tokenizer, config->max_position_embeddings, err), err);
    bl_tokenizer_file_free(tokenizer);
    return rc;
}

bl_status bl_init_view_add_tokenizer(bl_init_view *view, const bl_ckpt *model, struct bl_err *err)
{
    return bl_ckpt_container(model)->n_side_files > 0 ? copy_files(view, model, err)
                                                      : make_files(view, model, err);
}

bl_status bl_init_view_open(bl_ckpt **out, bl_init_view *view, struct bl_err *err)
{
    view->base.n_stored = view->n;
    view->base.stored = view->stored;
    return bl_ckpt_of(out, &view->base, err);
}
