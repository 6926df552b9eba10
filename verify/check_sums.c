/* check_sums.c - see check_sums.h. */
#include "verify/check_sums.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/hash.h"
#include "base/par.h"
#include "base/source.h"
#include "base/text.h"
#include "formats/hf/hf_listing.h"
#include "verify/check_findings.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_LIST_BYTES = 1 << 24, N_DIGITS = 2 * BL_SHA256_BYTES };

struct entry {
    const char *name; /* relative to the folder */
    char *path;
    bool there;
    uint8_t expected[BL_SHA256_BYTES], found[BL_SHA256_BYTES];
};

struct sums {
    const char *path, *list;
    bool is_folder;
    bl_arena arena;
    struct entry *entry;
    size_t n;
    bl_progress *progress;
    bl_sums_result result;
};

static bool read_digits(uint8_t out[BL_SHA256_BYTES], const char *text)
{
    for (size_t i = 0; i < BL_SHA256_BYTES; i++) {
        int high = bl_hex_digit(text[2 * i]), low = high < 0 ? -1 : bl_hex_digit(text[2 * i + 1]);

        if (low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* Inside the folder: no part of the path is empty, "." or "..". */
static bool is_inside(const char *name)
{
    for (;;) {
        size_t n = strcspn(name, "/");

        if (n == 0 || (n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.'))
            return false;
        if (name[n] == '\0')
            return true;
        name += n + 1;
    }
}

/* One line, its end cut off. */
static bl_status read_line(struct sums *s, const char *line, size_t number, struct bl_err *err)
{
    struct entry *e = &s->entry[s->n];
    const char *name = line + N_DIGITS + 2;

    if (*line == '\0' || *line == '#')
        return BL_OK;
    if (strlen(line) <= N_DIGITS + 2 || !read_digits(e->expected, line) || line[N_DIGITS] != ' ' ||
        (line[N_DIGITS + 1] != ' ' && line[N_DIGITS + 1] != '*'))
        return bl_fail(err, BL_E_FORMAT, "%s:%zu: not a line of sha256sum: '<64 digits>  <name>'",
                       s->list, number);
    if (strncmp(name, "./", 2) == 0)
        name += 2;
    if (!is_inside(name))
        return bl_fail(err, BL_E_FORMAT, "%s:%zu: '%s' does not lie in the folder", s->list, number,
                       name);
    e->name = bl_arena_strdup(&s->arena, name);
    e->path = s->is_folder ? bl_arena_format(&s->arena, "%s/%s", s->path, name)
                           : bl_arena_strdup(&s->arena, s->path);
    if (!e->name || !e->path)
        return bl_fail_nomem(err, s->list);
    s->n++;
    return BL_OK;
}

static bl_status read_lines(struct sums *s, char *text, size_t n, struct bl_err *err)
{
    size_t n_lines = 1, number = 1;
    bl_status rc = BL_OK;

    if (strlen(text) != n)
        return bl_fail(err, BL_E_FORMAT, "%s: not a text", s->list);
    for (const char *c = text; *c; c++)
        n_lines += *c == '\n';
    s->entry = bl_arena_alloc(&s->arena, n_lines, sizeof(*s->entry));
    if (!s->entry)
        return bl_fail_nomem(err, s->list);
    for (char *line = text, *next; line && rc == BL_OK; line = next, number++) {
        char *end = line + strcspn(line, "\n");

        next = *end ? end + 1 : NULL;
        if (end > line && end[-1] == '\r')
            end--;
        *end = '\0';
        rc = read_line(s, line, number, err);
    }
    if (rc == BL_OK && s->n == 0)
        rc = bl_fail(err, BL_E_FORMAT, "%s: names no file", s->list);
    return rc;
}

static bl_status read_list(struct sums *s, struct bl_err *err)
{
    char *text = NULL;
    size_t n = 0;
    bl_status rc = bl_source_read_file(&text, &n, s->list, MAX_LIST_BYTES, err);

    if (rc == BL_OK)
        rc = read_lines(s, text, n, err);
    bl_free(text);
    return rc;
}

/* For one file only its own line counts, wherever the list was made. */
static bl_status keep_own_line(struct sums *s, struct bl_err *err)
{
    const char *slash = strrchr(s->path, '/'), *own = slash ? slash + 1 : s->path;
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++) {
        const char *tail = strrchr(s->entry[i].name, '/');

        if (strcmp(tail ? tail + 1 : s->entry[i].name, own) == 0)
            s->entry[n++] = s->entry[i];
    }
    s->n = n;
    return n > 0 ? BL_OK
                 : bl_check_add(&s->result.check, BL_FINDING_SUM, err, "%s: %s does not list it",
                                own, s->list);
}

/* What is there, and how much there is to read. */
static bl_status survey(struct sums *s, struct bl_err *err)
{
    for (size_t i = 0; i < s->n; i++) {
        struct entry *e = &s->entry[i];
        struct stat st;

        e->there = stat(e->path, &st) == 0;
        if (!e->there && errno != ENOENT && errno != ENOTDIR)
            return bl_fail_errno(err, errno, "%s: cannot open", e->path);
        if (!e->there)
            continue;
        s->result.n_files++;
        s->result.n_bytes += (uint64_t)st.st_size;
    }
    return BL_OK;
}

static bl_status hash_file(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct sums *s = context;
    struct entry *e = &s->entry[i];
    bl_source *source = NULL;
    bl_status rc;

    (void)i_thread;
    if (!e->there)
        return BL_OK;
    rc = bl_source_open(&source, e->path, err);
    if (rc == BL_OK)
        rc = bl_sha256_source(e->found, source, s->progress, err);
    bl_source_close(source);
    return rc;
}

static bl_status judge(struct sums *s, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (size_t i = 0; i < s->n && rc == BL_OK; i++) {
        const struct entry *e = &s->entry[i];

        if (!e->there)
            rc = bl_check_add(&s->result.check, BL_FINDING_SUM, err, "%s: listed, but not there",
                              e->name);
        else if (memcmp(e->found, e->expected, sizeof(e->found)) != 0)
            rc = bl_check_add(&s->result.check, BL_FINDING_SUM, err,
                              "%s: its SHA-256 is not the one listed", e->name);
    }
    return rc;
}

static bool is_listed(const struct sums *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->entry[i].name, name) == 0)
            return true;
    return false;
}

/* The list itself may lie in the folder, and cannot list itself. */
static bool is_the_list(const struct sums *s, const char *path)
{
    struct stat a, b;

    return stat(path, &a) == 0 && stat(s->list, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

static bl_status note_unlisted(struct sums *s, struct bl_err *err)
{
    bl_hf_listing files;
    bl_status rc = bl_hf_list_files(&files, &s->arena, s->path, err);

    for (size_t i = 0; rc == BL_OK && i < files.n; i++) {
        const char *name = files.name[i];
        const char *path;

        if (*name == '.' || is_listed(s, name))
            continue;
        path = bl_arena_format(&s->arena, "%s/%s", s->path, name);
        if (!path)
            rc = bl_fail_nomem(err, name);
        else if (!is_the_list(s, path))
            rc = bl_check_add(&s->result.check, BL_FINDING_NOTE, err, "%s: not listed", name);
    }
    return rc;
}

bl_status bl_check_sums(bl_sums_result *out, const char *path, const char *list, int n_threads,
                        bool progress, struct bl_err *err)
{
    struct sums s = { .path = path, .list = list };
    struct stat st;
    bl_status rc;

    if (stat(path, &st) != 0)
        return bl_fail_errno(err, errno, "%s: cannot open", path);
    s.is_folder = S_ISDIR(st.st_mode);
    rc = read_list(&s, err);
    if (rc == BL_OK && !s.is_folder)
        rc = keep_own_line(&s, err);
    if (rc == BL_OK)
        rc = survey(&s, err);
    if (rc == BL_OK) {
        s.progress = bl_progress_new("verify: SHA-256", s.result.n_bytes, progress);
        rc = bl_par_for(s.n, n_threads, hash_file, &s, err);
        bl_progress_free(s.progress);
    }
    if (rc == BL_OK)
        rc = judge(&s, err);
    if (rc == BL_OK && s.is_folder)
        rc = note_unlisted(&s, err);
    bl_arena_release(&s.arena);
    if (rc == BL_OK)
        *out = s.result;
    else
        bl_sums_release(&s.result);
    return rc;
}

void bl_sums_release(bl_sums_result *result)
{
    bl_check_release(&result->check);
    *result = (bl_sums_result){ 0 };
}
