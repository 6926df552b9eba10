/*
 * publish.c - names of output, and the rename that publishes it. renameat2(2) exchanges two names
 * or refuses to replace one in a single step; file systems that lack it (NFS) get the same from
 * plain renames, with a moment in between.
 */
#include "base/publish.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static atomic_ullong n_calls, failing_call;
static atomic_bool plain_renames;
static void (*watcher)(bl_call call, int fd, uint64_t number);

void bl_publish_fail_at(uint64_t k)
{
    failing_call = k ? n_calls + k : 0;
}

uint64_t bl_publish_call_count(void)
{
    return n_calls;
}

void bl_publish_plain_renames(bool plain)
{
    plain_renames = plain;
}

void bl_publish_watch(void (*watch)(bl_call call, int fd, uint64_t number))
{
    watcher = watch;
}

bool bl_publish_attempt(bl_call call, int fd)
{
    uint64_t number = ++n_calls;

    if (watcher)
        watcher(call, fd, number);
    if (number != failing_call)
        return true;
    errno = ENOSPC;
    return false;
}

char *bl_publish_parent(const char *path)
{
    const char *slash;
    size_t n = strlen(path);

    while (n > 1 && path[n - 1] == '/')
        n--;
    slash = memrchr(path, '/', n);
    if (!slash)
        return bl_strdup(".");
    return bl_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

bl_status bl_publish_sync_folder(const char *path, struct bl_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bl_status rc = BL_OK;
    int answer;

    if (fd < 0 && errno == EACCES)
        return BL_OK; /* may be written but not read: the rename is all there is */
    if (fd < 0)
        return bl_fail_errno(err, errno, "%s: cannot sync the folder", path);
    do
        answer = bl_publish_attempt(BL_CALL_SYNC, fd) ? fsync(fd) : -1;
    while (answer != 0 && errno == EINTR);
    /* Some file systems cannot fsync a folder (EINVAL): there too. */
    if (answer != 0 && errno != EINVAL)
        rc = bl_fail_errno(err, errno, "%s: cannot sync the folder", path);
    close(fd);
    return rc;
}

/* Where the last component of a path starts; NULL when it is none that can be created. */
static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    return *name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ? NULL : name;
}

/* Whether the unfinished run left what another can go on with (keep.h). */
static bool has_journal(const bl_publish *p)
{
    char *path = bl_format("%s.journal", p->partial);
    struct stat st;
    bool there = path && lstat(path, &st) == 0;

    bl_free(path);
    return there;
}

/* What is in the way, if anything. */
static bl_status check_names(const bl_publish *p, mode_t kind, bool resume, struct bl_err *err)
{
    const char *wanted = kind == S_IFREG ? "regular file" : "folder";
    struct stat st;

    if (!last_name(p->final))
        return bl_fail(err, BL_E_USAGE, "'%s' is not the name of a %s", p->final, wanted);
    if (lstat(p->final, &st) == 0) {
        if (S_ISLNK(st.st_mode))
            return bl_fail(err, BL_E_USAGE, "%s: is a link; give the name that it points to",
                           p->final);
        if ((st.st_mode & S_IFMT) != kind)
            return bl_fail(err, BL_E_USAGE, "%s: exists and is not a %s", p->final, wanted);
        if (!p->force)
            return bl_fail(err, BL_E_USAGE, "%s: already exists (--force replaces it)", p->final);
    }
    if (p->force || resume || lstat(p->partial, &st) != 0)
        return BL_OK;
    return bl_fail(err, BL_E_USAGE,
                   has_journal(p) ? "%s: left by an unfinished run (--resume goes on from it, "
                                    "--force replaces it)"
                                  : "%s: left by an unfinished run (--force replaces it)",
                   p->partial);
}

bl_status bl_publish_begin(bl_publish *p, const char *path, mode_t kind, bool force, bool resume,
                           struct bl_err *err)
{
    size_t n = strlen(path);

    while (kind == S_IFDIR && n > 1 && path[n - 1] == '/')
        n--; /* "out/" and "out" are the same folder */
    p->force = force;
    p->final = bl_strndup(path, n);
    p->partial = p->final ? bl_format("%s.partial", p->final) : NULL;
    if (!p->partial)
        return bl_fail_nomem(err, path);
    return check_names(p, kind, resume, err);
}

bl_status bl_publish_remember(bl_publish *p, struct bl_err *err)
{
    struct stat st;

    if (lstat(p->partial, &st) != 0)
        return bl_fail_errno(err, errno, "%s: vanished", p->partial);
    p->device = st.st_dev;
    p->inode = st.st_ino;
    p->created = true;
    return BL_OK;
}

bool bl_publish_is_ours(const bl_publish *p)
{
    struct stat st;

    return p->created && lstat(p->partial, &st) == 0 && st.st_dev == p->device &&
           st.st_ino == p->inode;
}

/* renameat2(2), or -1 with EINVAL where the file system or the kernel does not know the flag. */
static int rename_with(const char *from, const char *to, unsigned flags)
{
    int answer = -1;

    errno = EINVAL;
    if (!plain_renames)
        answer = renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
    if (answer != 0 && errno == ENOSYS)
        errno = EINVAL;
    return answer;
}

/* Rename to a name that must be free. */
static int rename_to_free(const char *from, const char *to)
{
    struct stat st;

    if (rename_with(from, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL)
        return -1;
    if (lstat(to, &st) == 0) {
        errno = EEXIST;
        return -1;
    }
    return rename(from, to);
}

/* Let two names change places. */
static int exchange(const char *a, const char *b)
{
    char *aside;
    int answer = -1;

    if (rename_with(a, b, RENAME_EXCHANGE) == 0)
        return 0;
    if (errno != EINVAL)
        return -1;
    aside = bl_format("%s.replaced", b);
    if (!aside) {
        errno = ENOMEM;
        return -1;
    }
    if (rename_to_free(b, aside) == 0) {
        answer = rename(a, b);
        if (rename(aside, answer == 0 ? a : b) != 0)
            answer = -1;
    }
    bl_free(aside);
    return answer;
}

bl_status bl_publish_commit(bool *replaced, bl_publish *p, struct bl_err *err)
{
    struct stat st;
    bool replace = p->force && lstat(p->final, &st) == 0;
    char *folder;
    bl_status rc;

    if (!bl_publish_is_ours(p))
        return bl_fail(err, BL_E_IO, "%s: another run took its place while it was written",
                       p->partial);
    folder = bl_publish_parent(p->final);
    if (!folder)
        return bl_fail_nomem(err, p->final);
    if (!bl_publish_attempt(BL_CALL_RENAME, -1) ||
        (replace ? exchange(p->partial, p->final) : rename_to_free(p->partial, p->final)) != 0) {
        rc = bl_fail_errno(err, errno, "%s: cannot rename to %s", p->partial, p->final);
    } else {
        rc = bl_publish_sync_folder(folder, err);
        if (rc == BL_OK)
            *replaced = replace;
        else if (replace)
            (void)exchange(p->partial, p->final);
        else
            (void)rename_to_free(p->final, p->partial);
    }
    bl_free(folder);
    p->created = rc != BL_OK;
    return rc;
}

void bl_publish_release(bl_publish *p)
{
    bl_free(p->final);
    bl_free(p->partial);
    *p = (bl_publish){ 0 };
}
