/*
 * tokenizer_split.c - the only file that includes pcre2.h.
 *
 * Each expression cuts the pieces of the one before it, and sees nothing but its piece: look-ahead
 * at the end of a piece looks at the end of a text. Matches are found as the Rust package onig
 * does: an empty match right behind the last match is skipped.
 *
 * Expressions are compiled to machine code where PCRE2 can. Limits on backtracking grow with the
 * piece, so that a hostile expression fails and a megabyte of spaces does not.
 */
#include "model/tokenizer/tokenizer_split.h"

#include "base/alloc.h"
#include "model/tokenizer/tokenizer_pattern.h"

#include <inttypes.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

struct cut {
    pcre2_code *code; /* NULL = no cut */
    bool jit;
    bool prefix_space;
};

struct bl_splitter {
    char *name;
    pcre2_general_context *memory;
    uint32_t n;
    struct cut cut[BL_TOKENIZER_MAX_SPLITS];
};

struct bl_split_work {
    pcre2_general_context *memory;
    pcre2_match_context *limits;
    pcre2_match_data *match; /* one pair: nothing captures */
};

struct run {
    const bl_splitter *splitter;
    bl_split_work *work;
    bl_piece_sink sink;
    struct bl_err *err;
};

static void *allocate(size_t n, void *unused)
{
    (void)unused;
    return bl_alloc(n, 1);
}

static void release(void *p, void *unused)
{
    (void)unused;
    bl_free(p);
}

static bl_status compile(struct cut *cut, const bl_splitter *splitter, const bl_split *split,
                         struct bl_err *err)
{
    pcre2_compile_context *context = pcre2_compile_context_create(splitter->memory);
    bl_text text = { 0 };
    PCRE2_SIZE at;
    int error = 0;
    bl_status rc = BL_OK;

    if (!context)
        return bl_fail_nomem(err, splitter->name);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    rc = bl_pattern_translate(&text, split->pattern, err);
    if (rc == BL_OK) {
        cut->code = pcre2_compile((PCRE2_SPTR)text.bytes, text.n,
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &at, context);
        if (!cut->code && error == PCRE2_ERROR_HEAP_FAILED)
            rc = bl_fail_nomem(err, splitter->name);
        else if (!cut->code)
            rc =
                bl_fail(err, BL_E_FORMAT, "split expression '%.200s' is not valid (PCRE2 error %d)",
                        split->pattern, error);
    }
    if (rc == BL_OK) /* where machine code is not to be had, PCRE2 interprets */
        cut->jit = pcre2_jit_compile(cut->code, PCRE2_JIT_COMPLETE) == 0;
    pcre2_compile_context_free(context);
    bl_text_release(&text);
    return rc;
}

bl_status bl_splitter_new(bl_splitter **out, const char *name, const bl_split *split, uint32_t n,
                          struct bl_err *err)
{
    bl_splitter *s = bl_calloc(1, sizeof(*s));
    bl_status rc = BL_OK;

    if (!s)
        return bl_fail_nomem(err, name);
    s->name = bl_strdup(name);
    s->memory = pcre2_general_context_create(allocate, release, NULL);
    if (!s->name || !s->memory)
        rc = bl_fail_nomem(err, name);
    for (s->n = 0; s->n < n && rc == BL_OK; s->n++) {
        struct cut *cut = &s->cut[s->n];

        cut->prefix_space = split[s->n].prefix_space;
        if (split[s->n].pattern)
            rc = compile(cut, s, &split[s->n], err);
        if (rc != BL_OK && rc != BL_E_NOMEM)
            bl_err_prefix(err, "%s", name);
    }
    if (rc != BL_OK) {
        bl_splitter_free(s);
        return rc;
    }
    *out = s;
    return BL_OK;
}

void bl_splitter_free(bl_splitter *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->n; i++)
        pcre2_code_free(s->cut[i].code);
    pcre2_general_context_free(s->memory);
    bl_free(s->name);
    bl_free(s);
}

bl_status bl_split_work_new(bl_split_work **out, struct bl_err *err)
{
    bl_split_work *w = bl_calloc(1, sizeof(*w));

    if (!w)
        return bl_fail_nomem(err, "splitting text");
    w->memory = pcre2_general_context_create(allocate, release, NULL);
    if (w->memory) {
        w->limits = pcre2_match_context_create(w->memory);
        w->match = pcre2_match_data_create(1, w->memory);
    }
    if (!w->limits || !w->match) {
        bl_split_work_free(w);
        return bl_fail_nomem(err, "splitting text");
    }
    *out = w;
    return BL_OK;
}

void bl_split_work_free(bl_split_work *w)
{
    if (!w)
        return;
    pcre2_match_data_free(w->match);
    pcre2_match_context_free(w->limits);
    pcre2_general_context_free(w->memory);
    bl_free(w);
}

/* The first match at or behind from: PCRE2's result, positive for a match. */
static int find(const struct run *run, const struct cut *cut, const char *text, size_t n,
                size_t from)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    bl_split_work *w = run->work;
    int found = PCRE2_ERROR_JIT_STACKLIMIT;

    if (cut->jit)
        found =
            pcre2_jit_match(cut->code, subject, n, from, PCRE2_NO_UTF_CHECK, w->match, w->limits);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter keeps its state on the heap */
        found = pcre2_match(cut->code, subject, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                            w->match, w->limits);
    return found;
}

static bl_status fail_match(const struct run *run, int error, size_t n)
{
    if (error == PCRE2_ERROR_NOMEMORY || error == PCRE2_ERROR_HEAPLIMIT)
        return bl_fail_nomem(run->err, "splitting text");
    return bl_fail(run->err, BL_E_UNSUPPORTED,
                   "%s: a split expression gives up on a piece of %zu bytes (PCRE2 error %d)",
                   run->splitter->name, n, error);
}

static bl_status cut_piece(const struct run *run, uint32_t level, const char *text, size_t n);

static bl_status cut_matches(const struct run *run, uint32_t level, const char *text, size_t n)
{
    const struct cut *cut = &run->splitter->cut[level];
    const PCRE2_SIZE *match = pcre2_get_ovector_pointer(run->work->match);
    size_t from = 0, done = 0;
    bool matched = false;
    bl_status rc = BL_OK;

    while (from <= n && rc == BL_OK) {
        int found = find(run, cut, text, n, from);
        size_t begin, end;

        if (found == PCRE2_ERROR_NOMATCH)
            break;
        if (found < 0)
            return fail_match(run, found, n);
        begin = match[0];
        end = match[1];
        if (begin > end || end < from)
            return fail_match(run, PCRE2_ERROR_INTERNAL, n);
        if (begin == end && matched && end == done) {
            do /* on by one character */
                from++;
            while (from < n && ((unsigned char)text[from] & 0xc0) == 0x80);
            continue;
        }
        if (begin > done)
            rc = cut_piece(run, level + 1, text + done, begin - done);
        if (rc == BL_OK && end > begin)
            rc = cut_piece(run, level + 1, text + begin, end - begin);
        from = done = end;
        matched = true;
    }
    if (rc == BL_OK && done < n)
        rc = cut_piece(run, level + 1, text + done, n - done);
    return rc;
}

/* A piece of the expressions before level: put the space in front that ByteLevel asks for. */
static bl_status cut_with_space(const struct run *run, uint32_t level, const char *text, size_t n)
{
    char *spaced = bl_alloc(n + 1, 1);
    bl_status rc;

    if (!spaced)
        return bl_fail_nomem(run->err, "splitting text");
    spaced[0] = ' ';
    memcpy(spaced + 1, text, n);
    rc = run->splitter->cut[level].code ? cut_matches(run, level, spaced, n + 1)
                                        : cut_piece(run, level + 1, spaced, n + 1);
    bl_free(spaced);
    return rc;
}

/* Recursion is as deep as there are expressions. */
static bl_status cut_piece(const struct run *run, uint32_t level, const char *text, size_t n)
{
    const struct cut *cut;

    if (level == run->splitter->n)
        return run->sink.take(run->sink.self, text, n, run->err);
    cut = &run->splitter->cut[level];
    if (cut->prefix_space && text[0] != ' ')
        return cut_with_space(run, level, text, n);
    return cut->code ? cut_matches(run, level, text, n) : cut_piece(run, level + 1, text, n);
}

bl_status bl_splitter_run(const bl_splitter *splitter, bl_split_work *work, const char *text,
                          size_t n, bl_piece_sink sink, struct bl_err *err)
{
    const struct run run = { splitter, work, sink, err };
    /* Published expressions stay below 2 n (measured), with machine code and without. */
    uint32_t limit = n < UINT32_MAX / 8 - 10000 ? 8 * (uint32_t)n + 10000 : UINT32_MAX;

    if (n == 0)
        return BL_OK;
    pcre2_set_match_limit(work->limits, limit);
    pcre2_set_depth_limit(work->limits, limit);
    pcre2_set_heap_limit(work->limits, UINT32_MAX);
    return cut_piece(&run, 0, text, n);
}
