/* journal.c - see journal.h. The whole file is kept in memory: it is small beside what it speaks of. */
#include "base/journal.h"

#include "base/alloc.h"
#include "base/le.h"
#include "base/publish.h"
#include "base/size.h"
#include "base/source.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { MAGIC_BYTES = 8, HEAD_BYTES = 32, MAX_BYTES = 1 << 30, RECORD_OVERHEAD = 12 };

static const char magic[] = "BLJOURN1";

struct record {
    size_t offset, n; /* of its bytes, in the text */
};

struct bl_journal {
    char *path;
    int fd;
    bl_text text; /* the file */
    struct record *record;
    size_t n_records, room;
};

static uint64_t last_checksum(const bl_journal *j)
{
    return bl_get_u64((const unsigned char *)j->text.bytes + j->text.n - 8);
}

static bl_status add_record(bl_journal *j, size_t offset, size_t n, struct bl_err *err)
{
    if (j->n_records == j->room) {
        size_t room = j->room ? 2 * j->room : 32;
        struct record *larger = bl_realloc(j->record, room, sizeof(*larger));

        if (!larger)
            return bl_fail_nomem(err, j->path);
        j->record = larger;
        j->room = room;
    }
    j->record[j->n_records++] = (struct record){ offset, n };
    return BL_OK;
}

/* Bytes of the text from `from` on, to the disk. */
static bl_status write_out(bl_journal *j, size_t from, struct bl_err *err)
{
    int answer;

    while (from < j->text.n) {
        ssize_t put = bl_publish_attempt(BL_CALL_WRITE, j->fd)
                          ? pwrite(j->fd, j->text.bytes + from, j->text.n - from, (off_t)from)
                          : -1;

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return bl_fail_errno(err, put == 0 ? EIO : errno, "%s: cannot write", j->path);
        from += (size_t)put;
    }
    do
        answer = bl_publish_attempt(BL_CALL_SYNC, j->fd) ? fsync(j->fd) : -1;
    while (answer != 0 && errno == EINTR);
    return answer == 0 ? BL_OK : bl_fail_errno(err, errno, "%s: cannot sync", j->path);
}

static bl_status open_file(bl_journal **out, const char *path, int flags, struct bl_err *err)
{
    bl_journal *j = bl_calloc(1, sizeof(*j));

    if (!j)
        return bl_fail_nomem(err, path);
    j->fd = -1;
    j->path = bl_strdup(path);
    if (j->path && bl_publish_attempt(BL_CALL_CREATE, -1))
        j->fd = open(path, flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (j->fd < 0) {
        bl_status rc =
            j->path ? bl_fail_errno(err, errno, "%s: cannot open", path) : bl_fail_nomem(err, path);

        bl_journal_close(j);
        return rc;
    }
    *out = j;
    return BL_OK;
}

bl_status bl_journal_create(bl_journal **out, const char *path, bl_hash128 key, struct bl_err *err)
{
    unsigned char head[HEAD_BYTES];
    bl_journal *j = NULL;
    bl_status rc = open_file(&j, path, O_CREAT | O_TRUNC, err);

    if (rc != BL_OK)
        return rc;
    memcpy(head, magic, MAGIC_BYTES);
    bl_put_u64(head + 8, key.low);
    bl_put_u64(head + 16, key.high);
    bl_put_u64(head + 24, bl_hash64(head, 24));
    bl_text_add(&j->text, (const char *)head, sizeof(head));
    rc = bl_text_check(&j->text, err);
    if (rc == BL_OK)
        rc = write_out(j, 0, err);
    if (rc != BL_OK) {
        bl_journal_close(j);
        return rc;
    }
    *out = j;
    return BL_OK;
}

/* Find the sound records of the text; *end: where they end. */
static bl_status scan(bl_journal *j, size_t *end, struct bl_err *err)
{
    const unsigned char *bytes = (const unsigned char *)j->text.bytes;
    size_t at = HEAD_BYTES;
    bl_status rc = BL_OK;

    while (rc == BL_OK && j->text.n - at >= RECORD_OVERHEAD) {
        size_t n = bl_get_u32(bytes + at);
        uint64_t seed = bl_get_u64(bytes + at - 8);

        if (n > j->text.n - at - RECORD_OVERHEAD ||
            bl_hash64_seeded(bytes + at, 4 + n, seed) != bl_get_u64(bytes + at + 4 + n))
            break;
        rc = add_record(j, at + 4, n, err);
        at += n + RECORD_OVERHEAD;
    }
    *end = at;
    return rc;
}

static bl_status cut_at(bl_journal *j, size_t end, struct bl_err *err)
{
    if (!bl_publish_attempt(BL_CALL_WRITE, j->fd) || ftruncate(j->fd, (off_t)end) != 0)
        return bl_fail_errno(err, errno, "%s: cannot cut", j->path);
    j->text.n = end;
    return write_out(j, end, err);
}

static bool head_is_sound(const bl_text *text)
{
    const unsigned char *head = (const unsigned char *)text->bytes;

    return text->n >= HEAD_BYTES && memcmp(head, magic, MAGIC_BYTES) == 0 &&
           bl_hash64(head, 24) == bl_get_u64(head + 24);
}

static bl_status read_records(bl_journal *j, bl_hash128 key, struct bl_err *err)
{
    const unsigned char *head = (const unsigned char *)j->text.bytes;
    const bl_hash128 have = { bl_get_u64(head + 8), bl_get_u64(head + 16) };
    size_t end;
    bl_status rc;

    if (!bl_hash128_equal(have, key))
        return bl_fail(
            err, BL_E_USAGE,
            "%s: was left by another command, another version of this program or another "
            "input; --force starts anew",
            j->path);
    rc = scan(j, &end, err);
    return rc == BL_OK && end < j->text.n ? cut_at(j, end, err) : rc;
}

bl_status bl_journal_open(bl_journal **out, const char *path, bl_hash128 key, struct bl_err *err)
{
    char *bytes = NULL;
    size_t n = 0;
    bl_journal *j = NULL;
    bl_status rc;

    *out = NULL;
    if (!bl_source_exists(path))
        return BL_OK;
    rc = bl_source_read_file(&bytes, &n, path, MAX_BYTES, err);
    if (rc == BL_OK)
        rc = open_file(&j, path, 0, err);
    if (rc == BL_OK) {
        bl_text_add(&j->text, bytes, n);
        rc = bl_text_check(&j->text, err);
    }
    bl_free(bytes);
    if (rc == BL_OK && !head_is_sound(&j->text)) {
        bl_journal_close(j);
        return BL_OK;
    }
    if (rc == BL_OK)
        rc = read_records(j, key, err);
    if (rc != BL_OK) {
        bl_journal_close(j);
        return rc;
    }
    *out = j;
    return BL_OK;
}

size_t bl_journal_n(const bl_journal *journal)
{
    return journal->n_records;
}

bl_journal_record bl_journal_at(const bl_journal *journal, size_t i)
{
    const struct record *r = &journal->record[i];

    return (bl_journal_record){ (const unsigned char *)journal->text.bytes + r->offset, r->n };
}

bl_status bl_journal_append(bl_journal *journal, const void *bytes, size_t n, struct bl_err *err)
{
    size_t from = journal->text.n;
    uint64_t seed = last_checksum(journal);
    unsigned char number[8];
    bl_status rc;

    if (n > MAX_BYTES - RECORD_OVERHEAD || from > MAX_BYTES - RECORD_OVERHEAD - n)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: would pass 1 GiB", journal->path);
    bl_put_u32(number, (uint32_t)n);
    bl_text_add(&journal->text, (const char *)number, 4);
    bl_text_add(&journal->text, bytes, n);
    rc = bl_text_check(&journal->text, err);
    if (rc != BL_OK)
        return rc;
    bl_put_u64(number, bl_hash64_seeded(journal->text.bytes + from, 4 + n, seed));
    bl_text_add(&journal->text, (const char *)number, 8);
    rc = bl_text_check(&journal->text, err);
    if (rc == BL_OK)
        rc = write_out(journal, from, err);
    return rc == BL_OK ? add_record(journal, from + 4, n, err) : rc;
}

bl_status bl_journal_cut(bl_journal *journal, size_t n, struct bl_err *err)
{
    if (n == journal->n_records)
        return BL_OK;
    journal->n_records = n;
    return cut_at(journal, journal->record[n].offset - 4, err);
}

void bl_journal_close(bl_journal *journal)
{
    if (!journal)
        return;
    if (journal->fd >= 0)
        close(journal->fd);
    bl_text_release(&journal->text);
    bl_free(journal->record);
    bl_free(journal->path);
    bl_free(journal);
}
