/* keep.c - see keep.h. */
#include "base/keep.h"

#include "base/alloc.h"
#include "base/journal.h"
#include "base/le.h"
#include "base/publish.h"
#include "base/size.h"
#include "base/source.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { FIXED_BYTES = 2 + 4 * 8, PIECE_BYTES = 1 << 20 };

/* A file that records speak of. */
struct file {
    char *name;
    uint64_t verified;
};

struct bl_keep {
    char *partial, *path; /* of the journal */
    bool is_folder;
    bl_hash128 key;
    bl_journal *journal; /* NULL before the first checkpoint */
    bl_text pending;     /* records that wait for it, each behind its length */
    struct file *file;
    size_t n_files;
    size_t *state; /* numbers of the earlier run's records that have one */
    size_t n_states;
    bool worth_it;
};

/* A record taken apart; name and state point into it. */
struct record {
    const char *name;
    size_t n_name, n_state;
    uint64_t from, to;
    bl_hash128 hash;
    const void *state;
};

static bool parse(struct record *out, bl_journal_record r)
{
    const unsigned char *at = r.bytes;

    if (r.n < FIXED_BYTES)
        return false;
    out->n_name = bl_get_u16(at);
    if (out->n_name > r.n - FIXED_BYTES)
        return false;
    out->name = (const char *)at + 2;
    at += 2 + out->n_name;
    out->from = bl_get_u64(at);
    out->to = bl_get_u64(at + 8);
    out->hash = (bl_hash128){ bl_get_u64(at + 16), bl_get_u64(at + 24) };
    out->state = at + 32;
    out->n_state = r.n - FIXED_BYTES - out->n_name;
    return out->from <= out->to && !memchr(out->name, '\0', out->n_name) &&
           !memchr(out->name, '/', out->n_name);
}

static struct file *find_file(const bl_keep *keep, const char *name, size_t n)
{
    for (size_t i = 0; i < keep->n_files; i++)
        if (strlen(keep->file[i].name) == n && memcmp(keep->file[i].name, name, n) == 0)
            return &keep->file[i];
    return NULL;
}

static struct file *add_file(bl_keep *keep, const char *name, size_t n)
{
    struct file *larger = bl_realloc(keep->file, keep->n_files + 1, sizeof(*larger));

    if (!larger)
        return NULL;
    keep->file = larger;
    larger[keep->n_files].name = bl_strndup(name, n);
    larger[keep->n_files].verified = 0;
    return larger[keep->n_files].name ? &larger[keep->n_files++] : NULL;
}

/* Hash bytes [from, to) of a file; *same: whether they are there and have this hash. */
static bl_status check_bytes(bool *same, const char *path, const struct record *r,
                             struct bl_err *err)
{
    unsigned char *piece = bl_alloc(PIECE_BYTES, 1);
    bl_hasher *hasher = NULL;
    bl_source *source = NULL;
    bl_status rc = piece ? bl_hasher_new(&hasher, err) : bl_fail_nomem(err, path);

    *same = false;
    if (rc == BL_OK && bl_source_exists(path))
        rc = bl_source_open(&source, path, err);
    if (rc == BL_OK && source && source->size >= r->to) {
        for (uint64_t at = r->from; at < r->to && rc == BL_OK;) {
            size_t n = (size_t)bl_min_u64(PIECE_BYTES, r->to - at);

            rc = bl_source_read(source, at, piece, n, err);
            if (rc == BL_OK)
                bl_hasher_add(hasher, piece, n);
            at += n;
        }
        *same = rc == BL_OK && bl_hash128_equal(bl_hasher_digest(hasher), r->hash);
    }
    bl_source_close(source);
    bl_hasher_free(hasher);
    bl_free(piece);
    return rc;
}

/* Whether record r follows what is known of its file, and its bytes are there. */
static bl_status check_record(bool *sound, bl_keep *keep, const struct record *r,
                              struct bl_err *err)
{
    struct file *file = find_file(keep, r->name, r->n_name);
    char *path;
    bl_status rc;

    if (!file)
        file = add_file(keep, r->name, r->n_name);
    path = keep->is_folder ? bl_format("%s/%.*s", keep->partial, (int)r->n_name, r->name)
                           : bl_strdup(keep->partial);
    if (!file || !path) {
        bl_free(path);
        return bl_fail_nomem(err, keep->path);
    }
    rc = check_bytes(sound, path, r, err);
    bl_free(path);
    *sound = *sound && (file->verified == 0 || r->from == file->verified);
    if (rc == BL_OK && *sound)
        file->verified = r->to;
    return rc;
}

/* Read what an earlier run noted, up to its last checkpoint before anything unsound. */
static bl_status read_journal(bl_keep *keep, struct bl_err *err)
{
    size_t n = bl_journal_n(keep->journal), n_good = 0;
    bl_status rc = BL_OK;
    bool sound = true;

    keep->state = bl_calloc(n, sizeof(*keep->state));
    if (!keep->state)
        return bl_fail_nomem(err, keep->path);
    for (size_t i = 0; i < n && sound && rc == BL_OK; i++) {
        struct record r = { 0 };

        sound = parse(&r, bl_journal_at(keep->journal, i));
        if (sound)
            rc = check_record(&sound, keep, &r, err);
        if (rc == BL_OK && sound && r.n_state > 0) {
            keep->state[keep->n_states++] = i;
            n_good = i + 1;
        }
    }
    if (rc != BL_OK)
        return rc;
    for (size_t k = 0; k < keep->n_files; k++) /* what lies behind the checkpoint does not count */
        keep->file[k].verified = 0;
    for (size_t i = 0; i < n_good; i++) {
        struct record r = { 0 };

        (void)parse(&r, bl_journal_at(keep->journal, i));
        find_file(keep, r.name, r.n_name)->verified = r.to;
    }
    keep->worth_it = keep->n_states > 0;
    return bl_journal_cut(keep->journal, n_good, err);
}

bl_status bl_keep_begin(bl_keep **out, const char *partial, bool is_folder,
                        const bl_keep_options *options, struct bl_err *err)
{
    bl_keep *keep = bl_calloc(1, sizeof(*keep));
    bl_status rc = BL_OK;

    if (!keep)
        return bl_fail_nomem(err, partial);
    keep->is_folder = is_folder;
    keep->key = options->key;
    keep->partial = bl_strdup(partial);
    keep->path = bl_format("%s.journal", partial);
    if (!keep->partial || !keep->path)
        rc = bl_fail_nomem(err, partial);
    else if (options->resume)
        rc = bl_journal_open(&keep->journal, keep->path, keep->key, err);
    else
        bl_keep_remove(keep);
    if (rc == BL_OK && keep->journal)
        rc = read_journal(keep, err);
    if (rc != BL_OK) {
        bl_keep_free(keep);
        return rc;
    }
    *out = keep;
    return BL_OK;
}

uint64_t bl_keep_verified(const bl_keep *keep, const char *name)
{
    const struct file *file = find_file(keep, name, strlen(name));

    return file ? file->verified : 0;
}

uint64_t bl_keep_verified_bytes(const bl_keep *keep)
{
    uint64_t n = 0;

    for (size_t i = 0; i < keep->n_files; i++)
        n += keep->file[i].verified;
    return n;
}

size_t bl_keep_n_states(const bl_keep *keep)
{
    return keep->n_states;
}

const void *bl_keep_state(size_t *n, const bl_keep *keep, size_t i)
{
    struct record r = { 0 };

    (void)parse(&r, bl_journal_at(keep->journal, keep->state[i]));
    *n = r.n_state;
    return r.state;
}

static void put_record(bl_text *out, const bl_keep_segment *s, const void *state, size_t n_state)
{
    unsigned char number[8];
    size_t n_name = strlen(s->name);
    const uint64_t field[] = { s->from, s->to, s->hash.low, s->hash.high };

    bl_put_u16(number, (uint16_t)n_name);
    bl_text_add(out, (const char *)number, 2);
    bl_text_add(out, s->name, n_name);
    for (size_t i = 0; i < sizeof(field) / sizeof(*field); i++) {
        bl_put_u64(number, field[i]);
        bl_text_add(out, (const char *)number, 8);
    }
    if (n_state > 0)
        bl_text_add(out, state, n_state);
}

/* The first checkpoint: make the journal, with all that was noted before. */
static bl_status make_journal(bl_keep *keep, struct bl_err *err)
{
    bl_status rc = bl_journal_create(&keep->journal, keep->path, keep->key, err);
    char *folder;

    for (size_t at = 0; at < keep->pending.n && rc == BL_OK;) {
        size_t n = bl_get_u32((const unsigned char *)keep->pending.bytes + at);

        rc = bl_journal_append(keep->journal, keep->pending.bytes + at + 4, n, err);
        at += 4 + n;
    }
    bl_text_release(&keep->pending);
    if (rc != BL_OK)
        return rc;
    folder = bl_publish_parent(keep->partial);
    if (!folder)
        return bl_fail_nomem(err, keep->path);
    rc = bl_publish_sync_folder(folder, err);
    bl_free(folder);
    return rc;
}

static bl_status note(bl_keep *keep, const bl_text *record, bool ends_checkpoint,
                      struct bl_err *err)
{
    unsigned char number[4];
    bl_status rc = bl_text_check(record, err);

    if (rc != BL_OK)
        return rc;
    if (!keep->journal && !ends_checkpoint) {
        bl_put_u32(number, (uint32_t)record->n);
        bl_text_add(&keep->pending, (const char *)number, 4);
        bl_text_add(&keep->pending, record->bytes, record->n);
        return bl_text_check(&keep->pending, err);
    }
    if (ends_checkpoint && keep->is_folder)
        rc = bl_publish_sync_folder(keep->partial, err);
    if (rc == BL_OK && !keep->journal)
        rc = make_journal(keep, err);
    if (rc == BL_OK)
        rc = bl_journal_append(keep->journal, record->bytes, record->n, err);
    keep->worth_it = keep->worth_it || (rc == BL_OK && ends_checkpoint);
    return rc;
}

bl_status bl_keep_note(bl_keep *keep, const bl_keep_segment *segment, const void *state,
                       size_t n_state, struct bl_err *err)
{
    bl_text record = { 0 };
    bl_status rc;

    put_record(&record, segment, state, n_state);
    rc = note(keep, &record, state != NULL, err);
    bl_text_release(&record);
    return rc;
}

bool bl_keep_is_worth_it(const bl_keep *keep)
{
    return keep->worth_it;
}

void bl_keep_remove(bl_keep *keep)
{
    if (bl_publish_attempt(BL_CALL_REMOVE, -1))
        (void)unlink(keep->path); /* mostly there is none */
}

void bl_keep_free(bl_keep *keep)
{
    if (!keep)
        return;
    bl_journal_close(keep->journal);
    for (size_t i = 0; i < keep->n_files; i++)
        bl_free(keep->file[i].name);
    bl_free(keep->file);
    bl_free(keep->state);
    bl_text_release(&keep->pending);
    bl_free(keep->partial);
    bl_free(keep->path);
    bl_free(keep);
}
