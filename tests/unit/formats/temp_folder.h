/*
 * temp_folder.h - for tests that need a folder of their own: made empty, removed with its files.
 */
#ifndef BL_TESTS_TEMP_FOLDER_H
#define BL_TESTS_TEMP_FOLDER_H

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* path: at least 64 bytes. */
static inline void make_temp_folder(char *path)
{
    strcpy(path, "/tmp/baleen-test-XXXXXX");
    if (!mkdtemp(path))
        abort();
}

static inline void put_file(const char *folder, const char *name, const void *bytes, size_t n)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0)
        abort();
}

static inline void put_text(const char *folder, const char *name, const char *text)
{
    put_file(folder, name, text, strlen(text));
}

/* A safetensors file: header and n_data bytes 0, 1, 2 ... (n_data at most 256). */
static inline void put_shard(const char *folder, const char *name, const char *header,
                             size_t n_data)
{
    unsigned char bytes[2048] = { 0 };
    size_t n = strlen(header);

    if (n > 1024 || n_data > 256)
        abort();
    bytes[0] = (unsigned char)n;
    bytes[1] = (unsigned char)(n >> 8);
    memcpy(bytes + 8, header, n);
    for (size_t i = 0; i < n_data; i++)
        bytes[8 + n + i] = (unsigned char)i;
    put_file(folder, name, bytes, 8 + n + n_data);
}

/* Number of entries in a folder, "." and ".." not counted; -1 when there is no such folder. */
static inline int count_entries(const char *path)
{
    DIR *d = opendir(path);
    const struct dirent *e;
    int n = -2;

    if (!d)
        return -1;
    while ((e = readdir(d)))
        n++;
    closedir(d);
    return n;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

/* Remove a folder with its files, links and sub-folders. */
static inline void remove_tree(const char *path)
{
    if (nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS) != 0)
        abort();
}

#endif
