/*
 * hf_dir.c - opens the folder, reads every shard's header and holds the result against the index.
 */
#include "formats/hf/hf_dir.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/map.h"
#include "base/size.h"
#include "base/source.h"
#include "formats/hf/hf_index.h"
#include "formats/hf/hf_listing.h"
#include "formats/safetensors/safetensors_reader.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* R1's index has 9 MB, the largest tokenizer.json about 30 MB. */
enum { MAX_INDEX_BYTES = 100000000, MAX_SIDE_FILE_BYTES = 1 << 28 };

struct shard {
    bl_source *source;
    uint64_t data_offset;
    bl_arena names; /* of its tensors */
};

struct hf {
    bl_container base;
    struct shard *shard; /* base.n_shards of them; a source is NULL until it is open */
    bl_stored *stored;   /* base.stored */
    bl_hf_listing side_files;
    bl_arena arena; /* file names */
};

/* The index of a folder while its shards are held against it. */
struct matching {
    bl_hf_index index;
    bl_map entry;        /* tensor name -> number in the index */
    unsigned char *seen; /* for each number */
};

static bl_status read_data(const bl_container *container, size_t i, uint64_t offset, void *out,
                           size_t n, struct bl_err *err)
{
    const struct hf *hf = (const struct hf *)container;
    const bl_stored *t = &hf->stored[i];
    bl_status rc = bl_source_read(hf->shard[t->shard].source, t->offset + offset, out, n, err);

    if (rc != BL_OK && rc != BL_E_CANCELLED)
        bl_err_prefix(err, "tensor '%s'", t->name);
    return rc;
}

static void prefetch_data(const bl_container *container, size_t i, uint64_t offset, uint64_t n)
{
    const struct hf *hf = (const struct hf *)container;

    bl_source_prefetch(hf->shard[hf->stored[i].shard].source, hf->stored[i].offset + offset, n);
}

/* Read a file of the folder whole. */
static bl_status read_file(char **out, size_t *n_bytes, const char *folder, const char *name,
                           uint64_t max_bytes, struct bl_err *err)
{
    char *path = bl_format("%s/%s", folder, name);
    bl_status rc =
        path ? bl_source_read_file(out, n_bytes, path, max_bytes, err) : bl_fail_nomem(err, name);

    bl_free(path);
    return rc;
}

/* Only names that were found in the folder are opened, so no name leads out of it. */
static bl_status read_side_file(const bl_container *container, const char *name, char **out,
                                size_t *n_bytes, struct bl_err *err)
{
    if (bl_hf_listing_has(&((const struct hf *)container)->side_files, name))
        return read_file(out, n_bytes, container->path, name, MAX_SIDE_FILE_BYTES, err);
    *out = NULL;
    if (n_bytes)
        *n_bytes = 0;
    return BL_OK;
}

static bl_status read_header(const bl_container *container, size_t shard, char **out,
                             size_t *n_bytes, struct bl_err *err)
{
    const struct hf *hf = (const struct hf *)container;
    const struct shard *s = &hf->shard[shard];
    char *bytes;
    bl_status rc;

    assert(shard < container->n_shards);
    bytes = bl_alloc((size_t)s->data_offset, 1);
    if (!bytes)
        return bl_fail_nomem(err, s->source->name);
    rc = bl_source_read(s->source, 0, bytes, (size_t)s->data_offset, err);
    if (rc != BL_OK) {
        bl_free(bytes);
        return rc;
    }
    *out = bytes;
    *n_bytes = (size_t)s->data_offset;
    return BL_OK;
}

static void close_hf(bl_container *container)
{
    struct hf *hf = (struct hf *)container;

    for (size_t i = 0; i < hf->base.n_shards; i++) {
        bl_source_close(hf->shard[i].source);
        bl_arena_release(&hf->shard[i].names);
    }
    bl_free(hf->shard);
    bl_free(hf->stored);
    bl_arena_release(&hf->arena);
    bl_free(hf->base.path);
    bl_free(hf);
}

static const struct bl_container_ops hf_ops = { read_data, read_side_file, close_hf, prefetch_data,
                                                read_header };

static bl_status set_shards(struct hf *hf, const char *const *name, size_t n, struct bl_err *err)
{
    const char **copy = bl_arena_alloc(&hf->arena, n, sizeof(*copy));

    if (!copy)
        return bl_fail_nomem(err, hf->base.path);
    for (size_t i = 0; i < n; i++) {
        copy[i] = bl_arena_strdup(&hf->arena, name[i]);
        if (!copy[i])
            return bl_fail_nomem(err, hf->base.path);
    }
    hf->shard = bl_calloc(n, sizeof(*hf->shard));
    if (!hf->shard)
        return bl_fail_nomem(err, hf->base.path);
    hf->base.shard_name = copy;
    hf->base.n_shards = n;
    return BL_OK;
}

/* Everything in the folder that is not a shard and was not left by an unfinished run. */
static bl_status set_side_files(struct hf *hf, const bl_hf_listing *files, struct bl_err *err)
{
    const bl_hf_listing shards = { hf->base.shard_name, hf->base.n_shards };
    static const char partial[] = ".partial";
    const char **name = bl_arena_alloc(&hf->arena, files->n, sizeof(*name));
    size_t count = 0;

    if (!name)
        return bl_fail_nomem(err, hf->base.path);
    for (size_t i = 0; i < files->n; i++) {
        size_t n = strlen(files->name[i]), n_tail = sizeof(partial) - 1;
        bool unfinished = n >= n_tail && strcmp(files->name[i] + n - n_tail, partial) == 0;

        if (!unfinished && !bl_hf_listing_has(&shards, files->name[i]))
            name[count++] = files->name[i];
    }
    hf->side_files = (bl_hf_listing){ name, count };
    hf->base.n_side_files = count;
    hf->base.side_file_name = name;
    return BL_OK;
}

static bl_status load_index(struct matching *m, const char *folder, struct bl_err *err)
{
    char *text = NULL, *path = NULL;
    size_t n;
    bl_status rc = read_file(&text, &n, folder, BL_HF_INDEX_NAME, MAX_INDEX_BYTES, err);

    if (rc != BL_OK)
        return rc;
    path = bl_format("%s/%s", folder, BL_HF_INDEX_NAME);
    rc = path ? bl_hf_index_parse(&m->index, path, text, n, err) : bl_fail_nomem(err, folder);
    bl_free(path);
    bl_free(text);
    for (size_t i = 0; rc == BL_OK && i < m->index.n_tensors; i++)
        rc = bl_map_put(&m->entry, m->index.tensor_name[i], strlen(m->index.tensor_name[i]),
                        (uint32_t)i, NULL, err);
    if (rc != BL_OK)
        return rc;
    m->seen = bl_calloc(m->index.n_tensors, 1);
    return m->seen ? BL_OK : bl_fail_nomem(err, folder);
}

/* What the folder must hold before any shard is opened. */
static bl_status check_shards_exist(const bl_hf_listing *files, const struct matching *m,
                                    const char *folder, struct bl_err *err)
{
    const bl_hf_listing shards = { m->index.shard_name, m->index.n_shards };

    for (size_t i = 0; i < shards.n; i++)
        if (!bl_hf_listing_has(files, shards.name[i]))
            return bl_fail(err, BL_E_FORMAT, "%s/%s: the shard is missing, %s names it", folder,
                           shards.name[i], BL_HF_INDEX_NAME);
    if (bl_hf_listing_has(files, BL_HF_SINGLE_NAME) &&
        !bl_hf_listing_has(&shards, BL_HF_SINGLE_NAME))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: holds %s and also %s, which does not name it: remove one of them",
                       folder, BL_HF_SINGLE_NAME, BL_HF_INDEX_NAME);
    return BL_OK;
}

static bl_status survey_folder(struct hf *hf, struct matching *m, struct bl_err *err)
{
    static const char *const single = BL_HF_SINGLE_NAME;
    const char *folder = hf->base.path;
    bl_hf_listing files;
    bl_status rc = bl_hf_list_files(&files, &hf->arena, folder, err);

    if (rc != BL_OK)
        return rc;
    if (!bl_hf_listing_has(&files, BL_HF_CONFIG_NAME))
        return bl_fail(err, BL_E_FORMAT, "%s: not a Hugging Face checkpoint: no %s", folder,
                       BL_HF_CONFIG_NAME);
    if (bl_hf_listing_has(&files, BL_HF_INDEX_NAME)) {
        rc = load_index(m, folder, err);
        if (rc == BL_OK)
            rc = check_shards_exist(&files, m, folder, err);
        if (rc == BL_OK)
            rc = set_shards(hf, m->index.shard_name, m->index.n_shards, err);
    } else if (bl_hf_listing_has(&files, BL_HF_SINGLE_NAME)) {
        rc = set_shards(hf, &single, 1, err);
    } else {
        rc = bl_fail(err, BL_E_FORMAT, "%s: not a Hugging Face checkpoint: neither %s nor %s",
                     folder, BL_HF_INDEX_NAME, BL_HF_SINGLE_NAME);
    }
    return rc == BL_OK ? set_side_files(hf, &files, err) : rc;
}

/* Every tensor of shard k must be where the index says. */
static bl_status match_shard(struct matching *m, const bl_safetensors *st, const struct hf *hf,
                             size_t k, struct bl_err *err)
{
    const char *file = hf->shard[k].source->name;

    for (size_t i = 0; i < st->n_stored; i++) {
        const char *name = st->stored[i].name;
        uint32_t e;

        if (!bl_map_get(&e, &m->entry, name, strlen(name)))
            return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': %s does not name it", file, name,
                           BL_HF_INDEX_NAME);
        if (m->index.tensor_shard[e] != k)
            return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': %s places it in %s", file, name,
                           BL_HF_INDEX_NAME, hf->base.shard_name[m->index.tensor_shard[e]]);
        m->seen[e] = 1;
    }
    return BL_OK;
}

static bl_status check_all_seen(const struct matching *m, const struct hf *hf, struct bl_err *err)
{
    for (size_t e = 0; e < m->index.n_tensors; e++)
        if (!m->seen[e])
            return bl_fail(err, BL_E_FORMAT, "%s: tensor '%s': not there, but %s places it here",
                           hf->shard[m->index.tensor_shard[e]].source->name,
                           m->index.tensor_name[e], BL_HF_INDEX_NAME);
    return BL_OK;
}

/* Add the tensors of shard k behind those of the shards before it. */
static bl_status append_shard(struct hf *hf, bl_safetensors *st, size_t k, struct bl_err *err)
{
    size_t n = hf->base.n_stored;
    bl_stored *grown = bl_realloc(hf->stored, n + st->n_stored, sizeof(*grown));

    if (!grown)
        return bl_fail_nomem(err, hf->base.path);
    for (size_t i = 0; i < st->n_stored; i++) {
        grown[n + i] = st->stored[i];
        grown[n + i].shard = (uint32_t)k;
    }
    hf->stored = grown;
    hf->base.stored = grown;
    hf->base.n_stored = n + st->n_stored;
    hf->shard[k].data_offset = st->data_offset;
    hf->shard[k].names = st->arena; /* taken over */
    st->arena = (bl_arena){ 0 };
    return BL_OK;
}

/* m is NULL when no index speaks of the file. */
static bl_status open_shard(struct hf *hf, struct matching *m, const char *path, size_t k,
                            struct bl_err *err)
{
    bl_safetensors st = { 0 };
    bl_status rc = bl_source_open(&hf->shard[k].source, path, err);

    if (rc == BL_OK &&
        !bl_add_u64(&hf->base.n_file_bytes, hf->base.n_file_bytes, hf->shard[k].source->size))
        rc = bl_fail(err, BL_E_UNSUPPORTED, "%s: the shards together pass 2^64 bytes", path);
    if (rc == BL_OK)
        rc = bl_safetensors_read(&st, hf->shard[k].source, err);
    if (rc == BL_OK && m)
        rc = match_shard(m, &st, hf, k, err);
    if (rc == BL_OK)
        rc = append_shard(hf, &st, k, err);
    bl_safetensors_release(&st);
    return rc;
}

static bl_status open_folder(struct hf *hf, struct bl_err *err)
{
    struct matching m = { 0 };
    bl_status rc = survey_folder(hf, &m, err);
    bool has_index = m.index.n_tensors > 0;

    for (size_t k = 0; rc == BL_OK && k < hf->base.n_shards; k++) {
        char *path = bl_format("%s/%s", hf->base.path, hf->base.shard_name[k]);

        rc = path ? open_shard(hf, has_index ? &m : NULL, path, k, err)
                  : bl_fail_nomem(err, hf->base.shard_name[k]);
        bl_free(path);
    }
    if (rc == BL_OK && has_index)
        rc = check_all_seen(&m, hf, err);
    bl_map_release(&m.entry);
    bl_free(m.seen);
    bl_hf_index_release(&m.index);
    return rc;
}

static bl_status open_lone_file(struct hf *hf, struct bl_err *err)
{
    const char *path = hf->base.path, *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    bl_status rc = set_shards(hf, &name, 1, err);

    return rc == BL_OK ? open_shard(hf, NULL, path, 0, err) : rc;
}

bl_status bl_hf_open(bl_container **out, const char *path, struct bl_err *err)
{
    size_t n = strlen(path);
    struct hf *hf;
    struct stat st;
    bl_status rc;

    if (stat(path, &st) != 0)
        return bl_fail_errno(err, errno, "%s: cannot open", path);
    hf = bl_calloc(1, sizeof(*hf));
    if (!hf)
        return bl_fail_nomem(err, path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    hf->base.ops = &hf_ops;
    hf->base.kind = "safetensors";
    hf->base.path = bl_strndup(path, n);
    if (!hf->base.path)
        rc = bl_fail_nomem(err, path);
    else if (S_ISDIR(st.st_mode))
        rc = open_folder(hf, err);
    else
        rc = open_lone_file(hf, err);
    if (rc != BL_OK) {
        close_hf(&hf->base);
        return rc;
    }
    *out = &hf->base;
    return BL_OK;
}
