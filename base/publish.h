/*
 * publish.h - how output gets its name, for files and folders alike (sink.c is the only user).
 *
 * Output is made under NAME.partial. Publishing gives it its final name in one step; when that
 * fails, or the step cannot be made durable, everything is as before: what was there under the
 * final name still is.
 */
#ifndef BL_BASE_PUBLISH_H
#define BL_BASE_PUBLISH_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

typedef struct bl_publish {
    char *final, *partial; /* owned */
    bool force;            /* replace what is there */
    bool created;          /* partial exists and is this one: */
    dev_t device;
    ino_t inode;
} bl_publish; /* zero-initialise */

/*
 * Form the names and look before anything is created. kind is S_IFREG or S_IFDIR. Refuses with
 * BL_E_USAGE a path that names nothing, that exists as something else (a link too), or that
 * exists at all without force, or whose partial does with neither force nor resume.
 */
BL_MUST_USE bl_status bl_publish_begin(bl_publish *p, const char *path, mode_t kind, bool force,
                                       bool resume, struct bl_err *err);

/* Partial was just created: remember which file it is, to notice when another takes its place. */
BL_MUST_USE bl_status bl_publish_remember(bl_publish *p, struct bl_err *err);

/* Whether partial is still what was created. */
bool bl_publish_is_ours(const bl_publish *p);

/*
 * Give partial its final name and sync the folder. *replaced: partial is now the name of what was
 * under the final name, for the caller to remove. On failure partial is what it was before.
 */
BL_MUST_USE bl_status bl_publish_commit(bool *replaced, bl_publish *p, struct bl_err *err);
void bl_publish_release(bl_publish *p); /* the names; removes nothing */

/* The folder that path lies in, to be freed; NULL when out of memory. */
char *bl_publish_parent(const char *path);

/* fsync a folder, so that the names in it survive a power cut. */
BL_MUST_USE bl_status bl_publish_sync_folder(const char *path, struct bl_err *err);

/* System calls that change the disk. */
typedef enum bl_call {
    BL_CALL_CREATE, /* a file or folder */
    BL_CALL_WRITE,  /* to fd; truncating, too */
    BL_CALL_SYNC,   /* fd: a file, or a folder */
    BL_CALL_RENAME,
    BL_CALL_REMOVE
} bl_call;

/* Asked before each of them, fd -1 where there is none; false, with errno set, in tests. */
bool bl_publish_attempt(bl_call call, int fd);
void bl_publish_fail_at(uint64_t k);
uint64_t bl_publish_call_count(void);
/* For tests: hear of each call before it is made. NULL: nobody does. */
void bl_publish_watch(void (*watch)(bl_call call, int fd, uint64_t number));
/* For tests: do as on file systems (NFS) whose rename can neither exchange nor refuse. */
void bl_publish_plain_renames(bool plain);

#endif
