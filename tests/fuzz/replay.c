/*
 * replay.c - runs a fuzz target over files without a fuzzer, so that every compiler's test run
 * repeats every input that was ever worth keeping.
 *
 *     replay_<target> FOLDER|FILE ...      files of a folder in the order of their names
 *
 * The target traps when something is wrong; the name of the file that is being run is on standard
 * error by then.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    uint8_t *data;
    size_t n;

    if (!f || fstat(fileno(f), &st) != 0) {
        perror(path);
        return -1;
    }
    /* exactly as large as the input, so that a sanitizer sees one byte too many */
    n = (size_t)st.st_size;
    data = malloc(n ? n : 1);
    if (!data || fread(data, 1, n, f) != n) {
        perror(path);
        free(data);
        fclose(f);
        return -1;
    }
    fclose(f);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(data, n);
    free(data);
    return 1;
}

static int is_visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

/* The number of files run, or -1. */
static int run_path(const char *path)
{
    struct dirent **entry;
    struct stat st;
    int n_run = 0, n;

    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        return run_file(path);
    n = scandir(path, &entry, is_visible, alphasort);
    if (n < 0) {
        perror(path);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        char file[4096];

        snprintf(file, sizeof(file), "%s/%s", path, entry[i]->d_name);
        free(entry[i]);
        if (n_run >= 0 && stat(file, &st) == 0 && S_ISREG(st.st_mode))
            n_run = run_file(file) < 0 ? -1 : n_run + 1;
    }
    free(entry);
    return n_run;
}

int main(int argc, char **argv)
{
    int n_run = 0;

    for (int i = 1; i < argc; i++) {
        int n = run_path(argv[i]);

        if (n < 0)
            return 1;
        n_run += n;
    }
    printf("%d inputs\n", n_run);
    return n_run > 0 ? 0 : 1;
}
