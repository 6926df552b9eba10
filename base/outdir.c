/*
 * outdir.c - atomic output folders: files written into NAME.partial/, which is renamed as a whole.
 */
#include "base/sink_internal.h"

#include "base/alloc.h"
#include "base/cancel.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), n_suffix = strlen(suffix);

    return n >= n_suffix && strcmp(s + n - n_suffix, suffix) == 0;
}

/* What --force may remove: an empty folder, or plain files with those of a checkpoint among them. */
static bl_status check_replaceable(const char *path, bool finished, struct bl_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    bool config = false, weights = false, empty = true, other = false;
    const struct dirent *e;
    struct stat st;

    if (!d) {
        bl_status rc = bl_fail_errno(err, errno, "%s: cannot replace", path);

        if (fd >= 0)
            close(fd);
        return rc;
    }
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        empty = false;
        config = config || strcmp(e->d_name, "config.json") == 0;
        weights = weights || has_suffix(e->d_name, ".safetensors") ||
                  has_suffix(e->d_name, ".safetensors.index.json");
        other =
            other || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode);
    }
    closedir(d);
    if (empty || (!other && (finished ? config && weights : config || weights)))
        return BL_OK;
    return bl_fail(err, BL_E_USAGE,
                   "%s: not replaced, it does not hold a checkpoint alone; remove it yourself",
                   path);
}

/* Remove a folder of plain files; nothing else is ever inside one of ours. */
static void remove_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *e;

    if (d) {
        while ((e = readdir(d)))
            unlinkat(fd, e->d_name, 0); /* fails on "." and "..", which is fine */
        closedir(d);
    } else if (fd >= 0) {
        close(fd);
    }
    rmdir(path);
}

/* With force, the folder under the final name is one that may go: at the start and at the end. */
static bl_status check_final(const bl_outdir *dir, struct bl_err *err)
{
    struct stat st;

    if (!dir->publish.force || lstat(dir->publish.final, &st) != 0)
        return BL_OK;
    return check_replaceable(dir->publish.final, true, err);
}

/* With force: see that what is there may go, and clear what an unfinished run left for nothing. */
static bl_status make_room(const bl_outdir *dir, bool resume, struct bl_err *err)
{
    const bl_publish *p = &dir->publish;
    bl_status rc = check_final(dir, err);
    struct stat st;

    if (rc == BL_OK && (p->force || resume) && lstat(p->partial, &st) == 0) {
        rc = check_replaceable(p->partial, false, err);
        if (rc == BL_OK)
            remove_folder(p->partial);
    }
    return rc;
}

/* Make the folder, or go on with the one that is there. */
static bl_status create_folder(bl_outdir *dir, bool go_on, struct bl_err *err)
{
    const char *path = dir->publish.partial;
    bl_status rc;

    if (!go_on && (!bl_publish_attempt(BL_CALL_CREATE, -1) || mkdir(path, 0777) != 0))
        return bl_fail_errno(err, errno, "%s: cannot create the folder", path);
    rc = bl_publish_remember(&dir->publish, err);
    if (rc != BL_OK)
        return rc;
    dir->fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir->fd < 0)
        return bl_fail_errno(err, errno, "%s: cannot open", path);
    return bl_sink_lock(dir->fd, path, err);
}

static bl_status begin(bl_outdir *dir, const char *path, bool force, const bl_keep_options *keep,
                       struct bl_err *err)
{
    bool resume = keep && keep->resume, go_on;
    bl_status rc = bl_publish_begin(&dir->publish, path, S_IFDIR, force, resume, err);

    if (rc == BL_OK && keep)
        rc = bl_keep_begin(&dir->keep, dir->publish.partial, true, keep, err);
    if (rc != BL_OK)
        return rc;
    go_on = dir->keep && bl_keep_n_states(dir->keep) > 0;
    rc = go_on ? check_final(dir, err) : make_room(dir, resume, err);
    return rc == BL_OK ? create_folder(dir, go_on, err) : rc;
}

bl_status bl_outdir_begin_kept(bl_outdir **out, const char *path, bool force,
                               const bl_keep_options *keep, struct bl_err *err)
{
    bl_outdir *dir = bl_calloc(1, sizeof(*dir));
    bl_status rc;

    if (!dir)
        return bl_fail_nomem(err, path);
    dir->fd = -1;
    rc = begin(dir, path, force, keep, err);
    if (rc != BL_OK) {
        bl_outdir_abort(&dir);
        return rc;
    }
    *out = dir;
    return BL_OK;
}

bl_status bl_outdir_begin(bl_outdir **out, const char *path, bool force, struct bl_err *err)
{
    return bl_outdir_begin_kept(out, path, force, NULL, err);
}

const bl_keep *bl_outdir_kept(const bl_outdir *dir)
{
    return dir->keep;
}

bl_status bl_outdir_file(bl_sink **out, bl_outdir *dir, const char *name, struct bl_err *err)
{
    bl_sink *sink;
    bl_status rc;

    if (*name == '\0' || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return bl_fail(err, BL_E_USAGE, "%s: '%s' is not a plain file name", dir->publish.final,
                       name);
    sink = bl_calloc(1, sizeof(*sink));
    if (!sink)
        return bl_fail_nomem(err, name);
    sink->fd = -1;
    sink->outdir = dir;
    sink->keep = dir->keep;
    /* one of the same name that an unfinished run left behind its last checkpoint */
    sink->publish.force = dir->keep && bl_keep_n_states(dir->keep) > 0;
    dir->n_open++;
    sink->publish.final = bl_format("%s/%s", dir->publish.final, name);
    sink->publish.partial = bl_format("%s/%s", dir->publish.partial, name);
    sink->name = sink->publish.final ? strrchr(sink->publish.final, '/') + 1 : "";
    if (!sink->publish.final || !sink->publish.partial)
        rc = bl_fail_nomem(err, name);
    else
        rc = bl_sink_open_partial(sink, err);
    if (rc != BL_OK) {
        bl_sink_abort(&sink);
        return rc;
    }
    *out = sink;
    return BL_OK;
}

bl_status bl_outdir_commit(bl_outdir **handle, struct bl_err *err)
{
    bl_outdir *dir = *handle;
    bool replaced = false;
    bl_status rc = bl_cancel_check(err);

    assert(dir->n_open == 0);
    if (rc == BL_OK)
        rc = bl_publish_sync_folder(dir->publish.partial, err);
    if (rc == BL_OK)
        rc = check_final(dir, err);
    if (rc == BL_OK)
        rc = bl_publish_commit(&replaced, &dir->publish, err);
    if (replaced)
        remove_folder(dir->publish.partial);
    if (rc == BL_OK && dir->keep)
        bl_keep_remove(dir->keep);
    bl_outdir_abort(handle); /* removes what was not published, and frees */
    return rc;
}

void bl_outdir_abort(bl_outdir **handle)
{
    bl_outdir *dir = *handle;

    if (!dir)
        return;
    if (!(dir->keep && bl_keep_is_worth_it(dir->keep)) && bl_publish_is_ours(&dir->publish)) {
        remove_folder(dir->publish.partial);
        if (dir->keep)
            bl_keep_remove(dir->keep);
    }
    bl_keep_free(dir->keep);
    if (dir->fd >= 0)
        close(dir->fd);
    bl_publish_release(&dir->publish);
    bl_free(dir);
    *handle = NULL;
}
