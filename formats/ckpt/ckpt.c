/*
 * ckpt.c - open anything, list it under canonical names, decode its rows. What lies where is found
 * by hfquant (Hugging Face names) or ckpt_gguf.c (GGUF names); this file only asks them.
 */
#include "formats/ckpt/ckpt.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/map.h"
#include "base/size.h"
#include "base/source.h"
#include "formats/bln/bln_layout.h"
#include "formats/bln/bln_reader.h"
#include "formats/ckpt/ckpt_gguf.h"
#include "formats/dtype/float_bits.h"
#include "formats/gguf/gguf_metadata.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/hf/hf_dir.h"
#include "formats/hfquant/hfquant.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_HEADER_BYTES = 100000000 /* of a safetensors file */ };

struct bl_ckpt {
    bl_container *container;
    bl_config config;
    bool has_config;
    bool is_gguf;
    bl_arena arena;
    size_t n_tensors;
    bl_tensor *tensor;
    bl_parts *parts;      /* of tensor i; Hugging Face names */
    bl_gguf_place *place; /* of tensor i; GGUF names */
    bl_map by_name;
};

typedef bl_status open_function(bl_container **out, const char *path, struct bl_err *err);

/* Which reader the file wants, by its first bytes; open_gguf is the one for GGUF. */
static bl_status open_file(bl_container **out, const char *path, open_function *open_gguf,
                           struct bl_err *err)
{
    unsigned char magic[8] = { 0 };
    bl_source *source = NULL;
    bl_status rc = bl_source_open(&source, path, err);

    if (rc != BL_OK)
        return rc;
    rc = bl_source_read(source, 0, magic, (size_t)bl_min_u64(source->size, sizeof(magic)), err);
    bl_source_close(source);
    if (rc != BL_OK)
        return rc;
    if (memcmp(magic, "GGUF", 4) == 0)
        return open_gguf(out, path, err);
    if (bl_bln_has_magic(magic, BL_BLN_SUPERBLOCK))
        return bl_bln_open(out, path, err);
    /* Otherwise the length of a header, of at most 100 MB, and its first byte. */
    if (bl_load_u64(magic) > MAX_HEADER_BYTES)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: is neither safetensors nor GGUF nor .bln by its first bytes", path);
    return bl_hf_open(out, path, err);
}

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bl_status open_container(bl_container **out, const char *path, struct bl_err *err)
{
    return is_folder(path) ? bl_hf_open(out, path, err) : open_file(out, path, bl_gguf_open, err);
}

static bl_status read_config(bl_ckpt *ckpt, struct bl_err *err)
{
    bl_json *json = NULL;
    char *text = NULL, *name = NULL;
    size_t n;
    bl_status rc;

    if (ckpt->is_gguf) {
        ckpt->has_config = true;
        return bl_gguf_read_config(&ckpt->config, &ckpt->arena, ckpt->container, err);
    }
    rc = bl_container_side_file(ckpt->container, "config.json", &text, &n, err);
    if (rc != BL_OK || !text)
        return rc;
    name = bl_format("%s/config.json", ckpt->container->path);
    rc = name ? bl_json_parse(&json, name, text, n, 0, err) : bl_fail_nomem(err, "config.json");
    if (rc == BL_OK)
        rc = bl_config_parse(&ckpt->config, name, json, err);
    ckpt->has_config = rc == BL_OK;
    bl_json_free(json);
    bl_free(name);
    bl_free(text);
    return rc;
}

/* The matrix of a tensor; shapes were checked when the container was opened. */
static bl_status measure(bl_tensor *t, struct bl_err *err)
{
    if (!bl_dim_product(&t->n_values, t->ndim, t->dim))
        return bl_fail(err, BL_E_FORMAT, "tensor '%s': its shape overflows 64 bits", t->name);
    t->n_cols = t->ndim > 0 ? t->dim[t->ndim - 1] : 1;
    t->n_rows = t->n_cols > 0 ? t->n_values / t->n_cols : 0;
    if (t->row_unit == 0)
        t->row_unit = 1;
    return BL_OK;
}

/* Role, layer and expert by the family's table; a shape that contradicts the configuration fails. */
static bl_status classify(const bl_ckpt *ckpt, bl_tensor *t, struct bl_err *err)
{
    const bl_config *c = &ckpt->config;
    const bl_arch_row *row = NULL;
    uint64_t rows, cols;

    t->role = BL_ROLE_OTHER;
    t->layer = t->expert = -1;
    if (ckpt->has_config)
        row = bl_arch_match(c->arch, t->name, &t->layer, &t->expert);
    if (!row)
        return BL_OK;
    t->role = row->role;
    t->is_mtp = t->layer >= 0 && (uint32_t)t->layer >= c->n_layers;
    rows = bl_arch_dim(c, row->rows);
    cols = bl_arch_dim(c, row->cols);
    if (t->ndim != (row->cols == BL_DIM_1 ? 1u : 2u) || t->dim[0] != rows ||
        (t->ndim == 2 && t->dim[1] != cols))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tensor '%s': its shape is not [%" PRIu64 "%s%" PRIu64
                       "], as the configuration says",
                       ckpt->container->path, t->name, rows,
                       row->cols == BL_DIM_1 ? "] or [" : ", ",
                       row->cols == BL_DIM_1 ? rows : cols);
    if ((t->layer >= 0 && (uint32_t)t->layer >= c->n_layers + c->n_mtp_layers) ||
        (t->expert >= 0 && (uint32_t)t->expert >= c->n_experts))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tensor '%s': the configuration has no such layer or expert",
                       ckpt->container->path, t->name);
    return BL_OK;
}

/*
 * Rows that one read of the container should take: of a .bln, those of a chunk, so that none is
 * decompressed twice.
 */
static uint64_t choose_row_unit(const bl_container *container, const bl_parts *p)
{
    const bl_dtype_traits *t = bl_dtype_traits_of(p->dtype);
    uint64_t n_cols = p->ndim > 0 ? p->dim[p->ndim - 1] : 1, row_bytes;
    const bool by_row = p->coding == BL_CODING_PLAIN || p->coding == BL_CODING_FP8_BLOCK ||
                        p->coding == BL_CODING_INT8_ROW;

    if (strcmp(container->kind, BL_BLN_KIND) != 0 || !by_row)
        return bl_hfquant_row_unit(p);
    row_bytes = n_cols / t->block_len * t->block_bytes;
    return row_bytes > 0 ? bl_max_u64(bl_bln_read_unit(container, p->values) / row_bytes, 1) : 1;
}

/* Canonical tensors out of Hugging Face names. */
static bl_status list_parts(bl_ckpt *ckpt, struct bl_err *err)
{
    bl_status rc = bl_hfquant_group(&ckpt->parts, &ckpt->n_tensors, &ckpt->arena, ckpt->container,
                                    ckpt->has_config ? &ckpt->config : NULL, err);

    if (rc != BL_OK)
        return rc;
    ckpt->tensor = bl_arena_alloc(&ckpt->arena, ckpt->n_tensors, sizeof(*ckpt->tensor));
    if (!ckpt->tensor)
        return bl_fail_nomem(err, ckpt->container->path);
    for (size_t i = 0; i < ckpt->n_tensors; i++) {
        const bl_parts *p = &ckpt->parts[i];
        bl_tensor *t = &ckpt->tensor[i];

        *t = (bl_tensor){ .name = p->name,
                          .type_name = p->type_name,
                          .dtype = p->dtype,
                          .ndim = p->ndim,
                          .n_bytes = p->n_bytes,
                          .row_unit = choose_row_unit(ckpt->container, p) };
        memcpy(t->dim, p->dim, sizeof(t->dim));
    }
    return BL_OK;
}

static bl_status build_table(bl_ckpt *ckpt, struct bl_err *err)
{
    bl_status rc = ckpt->is_gguf ? bl_gguf_list(&ckpt->tensor, &ckpt->place, &ckpt->n_tensors,
                                                &ckpt->arena, ckpt->container, &ckpt->config, err)
                                 : list_parts(ckpt, err);

    for (size_t i = 0; i < ckpt->n_tensors && rc == BL_OK; i++) {
        bl_tensor *t = &ckpt->tensor[i];
        bool twice = false;

        rc = measure(t, err);
        if (rc == BL_OK)
            rc = classify(ckpt, t, err);
        if (rc == BL_OK)
            rc = bl_map_put(&ckpt->by_name, t->name, strlen(t->name), (uint32_t)i, &twice, err);
        if (rc == BL_OK && twice)
            rc = bl_fail(err, BL_E_FORMAT, "%s: tensor '%s' is there in two encodings",
                         ckpt->container->path, t->name);
    }
    return rc;
}

bl_status bl_ckpt_open(bl_ckpt **out, const char *path, struct bl_err *err)
{
    bl_container *container = NULL;
    bl_status rc = open_container(&container, path, err);

    return rc == BL_OK ? bl_ckpt_of(out, container, err) : rc;
}

bl_status bl_ckpt_of(bl_ckpt **out, bl_container *container, struct bl_err *err)
{
    bl_ckpt *ckpt = bl_calloc(1, sizeof(*ckpt));
    bl_status rc;

    if (!ckpt) {
        rc = bl_fail_nomem(err, container->path);
        bl_container_close(container);
        return rc;
    }
    ckpt->container = container;
    ckpt->is_gguf = strcmp(container->kind, "gguf") == 0;
    rc = read_config(ckpt, err);
    if (rc == BL_OK)
        rc = build_table(ckpt, err);
    if (rc != BL_OK) {
        bl_ckpt_close(ckpt);
        return rc;
    }
    *out = ckpt;
    return BL_OK;
}

void bl_ckpt_close(bl_ckpt *ckpt)
{
    if (!ckpt)
        return;
    bl_container_close(ckpt->container);
    bl_map_release(&ckpt->by_name);
    bl_arena_release(&ckpt->arena);
    bl_free(ckpt);
}

const char *bl_ckpt_path(const bl_ckpt *ckpt)
{
    return ckpt->container->path;
}

const bl_container *bl_ckpt_container(const bl_ckpt *ckpt)
{
    return ckpt->container;
}

const bl_config *bl_ckpt_config(const bl_ckpt *ckpt)
{
    return &ckpt->config;
}

bool bl_ckpt_has_config(const bl_ckpt *ckpt)
{
    return ckpt->has_config;
}

size_t bl_ckpt_n_tensors(const bl_ckpt *ckpt)
{
    return ckpt->n_tensors;
}

const bl_tensor *bl_ckpt_tensor(const bl_ckpt *ckpt, size_t i)
{
    return &ckpt->tensor[i];
}

const bl_tensor *bl_ckpt_find(const bl_ckpt *ckpt, const char *name)
{
    uint32_t i;

    return bl_map_get(&i, &ckpt->by_name, name, strlen(name)) ? &ckpt->tensor[i] : NULL;
}

bl_status bl_ckpt_read_rows(const bl_ckpt *ckpt, const bl_tensor *tensor, uint64_t row,
                            uint64_t n_rows, float *out, struct bl_err *err)
{
    size_t i = (size_t)(tensor - ckpt->tensor);

    if (ckpt->is_gguf)
        return bl_gguf_read_rows(ckpt->container, &ckpt->place[i], tensor, row, n_rows, out, err);
    return bl_hfquant_read_rows(ckpt->container, &ckpt->parts[i], row, n_rows, out, err);
}

const bl_parts *bl_ckpt_parts(const bl_ckpt *ckpt, const bl_tensor *tensor)
{
    return ckpt->is_gguf ? NULL : &ckpt->parts[tensor - ckpt->tensor];
}

void bl_ckpt_prefetch(const bl_ckpt *ckpt, const bl_tensor *tensor)
{
    size_t i = (size_t)(tensor - ckpt->tensor);

    if (ckpt->is_gguf) {
        bl_gguf_prefetch(ckpt->container, &ckpt->place[i], tensor);
        return;
    }
    bl_container_prefetch(ckpt->container, ckpt->parts[i].values, 0, UINT64_MAX);
    if (ckpt->parts[i].coding != BL_CODING_PLAIN)
        bl_container_prefetch(ckpt->container, ckpt->parts[i].scales, 0, UINT64_MAX);
}

void bl_ckpt_prefetch_rows(const bl_ckpt *ckpt, const bl_tensor *tensor, uint64_t row,
                           uint64_t n_rows)
{
    const bl_container *c = ckpt->container;
    size_t i = (size_t)(tensor - ckpt->tensor);
    uint64_t row_bytes;

    if (ckpt->is_gguf) {
        bl_gguf_prefetch_rows(c, &ckpt->place[i], tensor, row, n_rows);
        return;
    }
    row_bytes = c->stored[ckpt->parts[i].values].n_bytes / bl_max_u64(tensor->n_rows, 1);
    bl_container_prefetch(c, ckpt->parts[i].values, row * row_bytes, n_rows * row_bytes);
    if (row == 0 && ckpt->parts[i].coding != BL_CODING_PLAIN)
        bl_container_prefetch(c, ckpt->parts[i].scales, 0, UINT64_MAX);
}

bl_status bl_ckpt_expect(const bl_tensor **out, const bl_ckpt *ckpt, const char *name,
                         uint64_t n_rows, uint64_t n_cols, struct bl_err *err)
{
    const bl_tensor *t = bl_ckpt_find(ckpt, name);

    if (!t)
        return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s' is missing", bl_ckpt_path(ckpt), name);
    if (t->n_rows != n_rows || t->n_cols != n_cols)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tensor '%s' is %" PRIu64 " x %" PRIu64 ", not %" PRIu64 " x %" PRIu64,
                       bl_ckpt_path(ckpt), name, t->n_rows, t->n_cols, n_rows, n_cols);
    *out = t;
    return BL_OK;
}

bl_status bl_ckpt_side_file(const bl_ckpt *ckpt, const char *name, char **out, size_t *n_bytes,
                            struct bl_err *err)
{
    return bl_container_side_file(ckpt->container, name, out, n_bytes, err);
}

static bl_status tokenizer_of(bl_tokenizer_file **out, const bl_container *container,
                              struct bl_err *err)
{
    char *json = NULL, *config = NULL, *name = NULL;
    size_t n_json = 0, n_config = 0;
    bl_status rc;

    if (bl_gguf_meta_of(container))
        return bl_gguf_read_tokenizer(out, container, err);
    rc = bl_container_side_file(container, "tokenizer.json", &json, &n_json, err);
    if (rc == BL_OK && !json)
        rc = bl_fail(err, BL_E_UNSUPPORTED, "%s: no tokenizer.json", container->path);
    if (rc == BL_OK)
        rc = bl_container_side_file(container, "tokenizer_config.json", &config, &n_config, err);
    if (rc == BL_OK) {
        name = bl_format("%s/tokenizer.json", container->path);
        rc = name ? bl_tokenizer_file_parse(out, name, json, n_json, config, n_config, err)
                  : bl_fail_nomem(err, "tokenizer.json");
    }
    bl_free(name);
    bl_free(json);
    bl_free(config);
    return rc;
}

bl_status bl_ckpt_tokenizer_file(bl_tokenizer_file **out, const bl_ckpt *ckpt, struct bl_err *err)
{
    return tokenizer_of(out, ckpt->container, err);
}

bl_status bl_ckpt_open_tokenizer(bl_tokenizer_file **out, const char *path, struct bl_err *err)
{
    bl_container *container = NULL;
    bl_status rc;

    if (is_folder(path))
        return bl_tokenizer_file_open(out, path, err);
    rc = open_file(&container, path, bl_gguf_open_metadata, err);
    if (rc == BL_OK)
        rc = tokenizer_of(out, container, err);
    bl_container_close(container);
    return rc;
}
