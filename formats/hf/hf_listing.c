/* hf_listing.c - readdir(3), sorted: the order of a folder is not ours to depend on. */
#include "formats/hf/hf_listing.h"

#include "formats/safetensors/safetensors_reader.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A list of names that grows inside an arena: what it outgrows stays there, as much again. */
struct names {
    bl_arena *arena;
    const char **name;
    size_t n, room;
};

static bl_status add_name(struct names *names, const char *path, const char *name,
                          struct bl_err *err)
{
    const char *fault = bl_safetensors_name_fault(name);

    if (fault)
        return bl_fail(err, BL_E_FORMAT, "%s: file name '%s' %s", path, name, fault);
    if (names->n == names->room) {
        size_t room = names->room ? 2 * names->room : 64;
        const char **grown = bl_arena_alloc(names->arena, room, sizeof(*grown));

        if (!grown)
            return bl_fail_nomem(err, path);
        if (names->n > 0)
            memcpy(grown, names->name, names->n * sizeof(*grown));
        names->name = grown;
        names->room = room;
    }
    names->name[names->n] = bl_arena_strdup(names->arena, name);
    if (!names->name[names->n])
        return bl_fail_nomem(err, path);
    names->n++;
    return BL_OK;
}

static bl_status read_folder(struct names *names, DIR *d, const char *path, struct bl_err *err)
{
    for (;;) {
        const struct dirent *e;
        struct stat st;
        bl_status rc;

        errno = 0;
        e = readdir(d);
        if (!e)
            return errno == 0 ? BL_OK
                              : bl_fail_errno(err, errno, "%s: cannot list the folder", path);
        if (fstatat(dirfd(d), e->d_name, &st, 0) != 0 || !S_ISREG(st.st_mode))
            continue;
        rc = add_name(names, path, e->d_name, err);
        if (rc != BL_OK)
            return rc;
    }
}

bl_status bl_hf_list_files(bl_hf_listing *out, bl_arena *arena, const char *path,
                           struct bl_err *err)
{
    struct names names = { .arena = arena };
    DIR *d = opendir(path);
    bl_status rc;

    if (!d)
        return bl_fail_errno(err, errno, "%s: cannot open the folder", path);
    rc = read_folder(&names, d, path, err);
    closedir(d);
    if (rc != BL_OK)
        return rc;
    if (names.n > 0)
        qsort(names.name, names.n, sizeof(*names.name), compare_names);
    *out = (bl_hf_listing){ names.name, names.n };
    return BL_OK;
}

bool bl_hf_listing_has(const bl_hf_listing *listing, const char *name)
{
    return listing->n > 0 &&
           bsearch(&name, listing->name, listing->n, sizeof(*listing->name), compare_names) != NULL;
}
