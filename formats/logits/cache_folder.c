/* cache_folder.c - see cache_folder.h. */
#include "formats/logits/cache_folder.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/publish.h"
#include "formats/hf/hf_listing.h"
#include "formats/logits/cache_layout.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { DIGITS = 5 };

static const char before[] = "shard-", between[] = "-of-", behind[] = ".blc";

char *bl_cache_shard_path(const char *folder, uint32_t i_shard, uint32_t n_shards)
{
    return bl_format("%s/shard-%05u-of-%05u.blc", folder, i_shard + 1, n_shards);
}

char *bl_cache_head_path(const char *folder)
{
    return bl_format("%s/head.safetensors", folder);
}

bl_status bl_cache_open_if_there(bl_source **out, const char *path, struct bl_err *err)
{
    struct stat st;

    *out = NULL;
    if (stat(path, &st) != 0 && errno == ENOENT)
        return BL_OK;
    return bl_source_open(out, path, err);
}

bl_status bl_cache_folder_make(const char *folder, struct bl_err *err)
{
    bl_status rc = BL_OK;
    struct stat st;
    char *parent;

    if (stat(folder, &st) == 0 && S_ISDIR(st.st_mode))
        return BL_OK;
    if (!bl_publish_attempt(BL_CALL_CREATE, -1) || mkdir(folder, 0777) != 0) {
        if (errno == EEXIST && stat(folder, &st) == 0 && S_ISDIR(st.st_mode))
            return BL_OK; /* another run was faster */
        return bl_fail_errno(err, errno, "%s: cannot create the folder", folder);
    }
    parent = bl_publish_parent(folder);
    if (!parent)
        rc = bl_fail_nomem(err, folder);
    if (rc == BL_OK)
        rc = bl_publish_sync_folder(parent, err);
    bl_free(parent);
    return rc;
}

/* Five digits, and what follows them; NULL when they are not there. */
static const char *take_digits(uint32_t *out, const char *s)
{
    uint32_t x = 0;

    for (int i = 0; i < DIGITS; i++, s++) {
        if (*s < '0' || *s > '9')
            return NULL;
        x = 10 * x + (uint32_t)(*s - '0');
    }
    *out = x;
    return s;
}

static const char *take_word(const char *s, const char *word)
{
    const size_t n = strlen(word);

    return s && strncmp(s, word, n) == 0 ? s + n : NULL;
}

static bool is_shard_name(uint32_t *n_shards, const char *name)
{
    uint32_t i = 0;
    const char *s = take_word(name, before);

    s = s ? take_digits(&i, s) : NULL;
    s = take_word(s, between);
    s = s ? take_digits(n_shards, s) : NULL;
    s = take_word(s, behind);
    return s && *s == '\0' && i > 0 && i <= *n_shards;
}

bl_status bl_cache_folder_count(uint32_t *n_shards, const char *folder, struct bl_err *err)
{
    bl_hf_listing files;
    bl_arena arena = { 0 };
    uint32_t n = 0, found = 0;
    bl_status rc = bl_hf_list_files(&files, &arena, folder, err);

    for (size_t i = 0; rc == BL_OK && i < files.n; i++) {
        if (!is_shard_name(&n, files.name[i]))
            continue;
        if (found != 0 && n != found)
            rc = bl_fail(err, BL_E_MISMATCH,
                         "%s: holds shards of a cache in %u and of one in %u; keep one of them",
                         folder, found, n);
        found = n;
    }
    if (rc == BL_OK && found == 0)
        rc = bl_fail(err, BL_E_FORMAT, "%s: holds no shard of a cache (shard-*.blc)", folder);
    if (rc == BL_OK)
        *n_shards = found;
    bl_arena_release(&arena);
    return rc;
}
