/*
 * scratch.h - a folder of its own for a test that writes files, and the few questions tests ask
 * about files. A test program makes one folder in its group setup, works inside it with relative
 * names, and removes it in its group teardown.
 */
#ifndef BL_TESTS_SCRATCH_H
#define BL_TESTS_SCRATCH_H

#include <dirent.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch_folder[64];

static inline int scratch_remove_entry(const char *path, const struct stat *st, int kind,
                                       struct FTW *walk)
{
    (void)st, (void)kind, (void)walk;
    return remove(path);
}

/* Remove a file or a whole folder, if it is there. */
static inline void scratch_remove(const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0)
        nftw(path, scratch_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* CMocka group setup: make the folder and go there. */
static inline int scratch_enter(void **state)
{
    (void)state;
    strcpy(scratch_folder, "/tmp/baleen-test-XXXXXX");
    return mkdtemp(scratch_folder) && chdir(scratch_folder) == 0 ? 0 : -1;
}

/* CMocka group teardown. */
static inline int scratch_leave(void **state)
{
    (void)state;
    if (chdir("/") != 0)
        return -1;
    scratch_remove(scratch_folder);
    return 0;
}

/* CMocka test teardown: leave the folder empty for the next test. */
static inline int scratch_clear(void **state)
{
    DIR *d = opendir(".");
    const struct dirent *e;

    (void)state;
    if (!d)
        return -1;
    while ((e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            scratch_remove(e->d_name);
    closedir(d);
    return 0;
}

static inline bool scratch_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* How many entries a folder has; -1 when there is no such folder. */
static inline int scratch_n_entries(const char *path)
{
    DIR *d = opendir(path);
    int n = -2; /* "." and ".." */

    if (!d)
        return -1;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static inline void scratch_write(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) {
        perror(path);
        abort();
    }
}

static inline void scratch_puts(const char *path, const char *text)
{
    scratch_write(path, text, strlen(text));
}

/* Whether the file holds exactly these n bytes. */
static inline bool scratch_holds(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "rb");
    char *got = malloc(n + 1);
    bool same = f && got && fread(got, 1, n + 1, f) == n && memcmp(got, bytes, n) == 0;

    if (f)
        fclose(f);
    free(got);
    return same;
}

#endif
