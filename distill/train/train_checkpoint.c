/* train_checkpoint.c - see train_checkpoint.h. */
#include "distill/train/train_checkpoint.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/le.h"
#include "base/sink.h"
#include "base/size.h"
#include "base/source.h"

#include <inttypes.h>
#include <string.h>

static const char magic[8] = { 'B', 'L', 'T', 'R', 'A', 'I', 'N', '1' };

enum {
    HEAD_BYTES = 40,
    RECORD_BYTES = 64,
    SECTION_BYTES = 16,
    HASH_BYTES = 16,
    MAX_RECIPE = 1 << 16,
    PIECE_BYTES = 1 << 20
};

/* One side of a file: bytes pass, and are hashed. */
struct file {
    const char *path;
    bl_sink *sink;
    bl_source *source;
    uint64_t at;
    bl_hasher *hasher;
};

static bl_status put(struct file *f, const void *bytes, size_t n, struct bl_err *err)
{
    bl_hasher_add(f->hasher, bytes, n);
    return bl_sink_write(f->sink, bytes, n, err);
}

/* In pieces, so that a signal is obeyed. */
static bl_status get(struct file *f, void *out, size_t n, struct bl_err *err)
{
    unsigned char *to = out;

    while (n > 0) {
        const size_t step = n < PIECE_BYTES ? n : PIECE_BYTES;
        bl_status rc = bl_source_read(f->source, f->at, to, step, err);

        if (rc != BL_OK)
            return rc;
        bl_hasher_add(f->hasher, to, step);
        f->at += step;
        to += step;
        n -= step;
    }
    return BL_OK;
}

static void pack_hash(unsigned char out[HASH_BYTES], const struct file *f)
{
    const bl_hash128 hash = bl_hasher_digest(f->hasher);

    bl_put_u64(out, hash.low);
    bl_put_u64(out + 8, hash.high);
}

static bl_status put_hash(struct file *f, struct bl_err *err)
{
    unsigned char bytes[HASH_BYTES];

    pack_hash(bytes, f);
    bl_hasher_reset(f->hasher);
    return bl_sink_write(f->sink, bytes, sizeof(bytes), err);
}

static bl_status check_hash(struct file *f, const char *what, struct bl_err *err)
{
    unsigned char ours[HASH_BYTES], there[HASH_BYTES];
    bl_status rc;

    pack_hash(ours, f);
    rc = get(f, there, sizeof(there), err);
    bl_hasher_reset(f->hasher);
    if (rc == BL_OK && memcmp(ours, there, sizeof(ours)) != 0)
        rc = bl_fail(err, BL_E_MISMATCH, "%s: %s: damaged, its checksum is another", f->path, what);
    return rc;
}

static uint64_t bits_of(double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static double double_of(uint64_t bits)
{
    double x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

static void pack_record(unsigned char out[RECORD_BYTES], const bl_train_record *r)
{
    const double number[] = { r->loss, r->ce, r->kd, r->lr, r->grad_norm, r->eval_ce };

    bl_put_u64(out, r->step);
    bl_put_u64(out + 8, r->n_tokens);
    for (size_t i = 0; i < 6; i++)
        bl_put_u64(out + 16 + 8 * i, bits_of(number[i]));
}

static bl_train_record unpack_record(const unsigned char bytes[RECORD_BYTES])
{
    double number[6];

    for (size_t i = 0; i < 6; i++)
        number[i] = double_of(bl_get_u64(bytes + 16 + 8 * i));
    return (bl_train_record){ bl_get_u64(bytes), bl_get_u64(bytes + 8),
                              number[0],         number[1],
                              number[2],         number[3],
                              number[4],         number[5] };
}

static size_t value_bytes(const bl_parameter *p)
{
    return p->bf16 ? sizeof(*p->bf16) : sizeof(*p->value);
}

static void *values_of(const bl_parameter *p)
{
    return p->bf16 ? (void *)p->bf16 : (void *)p->value;
}

static size_t count_values(const bl_parameter *p)
{
    return (size_t)(p->n_rows * p->n_cols);
}

/* What stands in front of a parameter's values; out is to be freed. */
static bl_status pack_section(unsigned char **out, size_t *n, const bl_parameter *p,
                              struct bl_err *err)
{
    const size_t n_name = strlen(p->name);

    *n = SECTION_BYTES + n_name;
    *out = bl_alloc(*n, 1);
    if (!*out)
        return bl_fail_nomem(err, p->name);
    bl_put_u64(*out, count_values(p));
    bl_put_u32(*out + 8, (uint32_t)value_bytes(p));
    bl_put_u32(*out + 12, (uint32_t)n_name);
    memcpy(*out + SECTION_BYTES, p->name, n_name);
    return BL_OK;
}

static bl_status put_head(struct file *f, const bl_train_state *s, struct bl_err *err)
{
    unsigned char head[HEAD_BYTES], record[RECORD_BYTES];
    bl_status rc;

    memcpy(head, magic, sizeof(magic));
    bl_put_u64(head + 8, s->step);
    bl_put_u64(head + 16, s->n_records);
    bl_put_u64(head + 24, s->n_tokens);
    bl_put_u32(head + 32, (uint32_t)strlen(s->recipe));
    bl_put_u32(head + 36, (uint32_t)s->n_parameters);
    rc = put(f, head, sizeof(head), err);
    if (rc == BL_OK)
        rc = put(f, s->recipe, strlen(s->recipe), err);
    for (size_t i = 0; i < s->n_records && rc == BL_OK; i++) {
        pack_record(record, &s->record[i]);
        rc = put(f, record, sizeof(record), err);
    }
    return rc == BL_OK ? put_hash(f, err) : rc;
}

static bl_status put_parameter(struct file *f, const bl_train_state *s, size_t i,
                               struct bl_err *err)
{
    const bl_parameter *p = s->parameter[i];
    const size_t n = count_values(p);
    unsigned char *section = NULL;
    size_t n_section;
    bl_status rc = pack_section(&section, &n_section, p, err);

    if (rc == BL_OK)
        rc = put(f, section, n_section, err);
    if (rc == BL_OK)
        rc = put(f, values_of(p), n * value_bytes(p), err);
    if (rc == BL_OK)
        rc = put(f, bl_adamw_m(s->adamw, i), n * sizeof(float), err);
    if (rc == BL_OK)
        rc = put(f, bl_adamw_v(s->adamw, i), n * sizeof(float), err);
    bl_free(section);
    return rc == BL_OK ? put_hash(f, err) : rc;
}

bl_status bl_train_checkpoint_write(const char *path, const bl_train_state *s, struct bl_err *err)
{
    struct file f = { .path = path };
    bl_status rc = bl_hasher_new(&f.hasher, err);

    if (rc == BL_OK)
        rc = bl_sink_begin(&f.sink, path, true, err);
    if (rc == BL_OK)
        rc = put_head(&f, s, err);
    for (size_t i = 0; i < s->n_parameters && rc == BL_OK; i++)
        rc = put_parameter(&f, s, i, err);
    if (rc == BL_OK)
        rc = bl_sink_commit(&f.sink, err);
    bl_sink_abort(&f.sink);
    bl_hasher_free(f.hasher);
    return rc;
}

static bl_status get_records(struct file *f, bl_train_state *s, uint64_t n, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (uint64_t i = 0; i < n && rc == BL_OK; i++) {
        unsigned char bytes[RECORD_BYTES];

        rc = get(f, bytes, sizeof(bytes), err);
        if (rc == BL_OK) {
            const bl_train_record record = unpack_record(bytes);

            rc = bl_train_state_add(s, &record, err);
        }
    }
    return rc;
}

/* The head into a state that has none yet. *n_parameters: of the file. */
static bl_status get_head(struct file *f, bl_train_state *s, uint32_t *n_parameters,
                          struct bl_err *err)
{
    unsigned char head[HEAD_BYTES];
    uint64_t n_records;
    uint32_t n_recipe;
    bl_status rc;

    if (f->source->size < HEAD_BYTES)
        return bl_fail(err, BL_E_FORMAT, "%s: no checkpoint of a training, or cut short", f->path);
    rc = get(f, head, sizeof(head), err);
    if (rc != BL_OK)
        return rc;
    n_records = bl_get_u64(head + 16);
    n_recipe = bl_get_u32(head + 32);
    *n_parameters = bl_get_u32(head + 36);
    if (memcmp(head, magic, sizeof(magic)) != 0 || n_recipe > MAX_RECIPE ||
        n_records > f->source->size / RECORD_BYTES)
        return bl_fail(err, BL_E_FORMAT, "%s: no checkpoint of a training, or damaged", f->path);
    s->step = bl_get_u64(head + 8);
    s->n_tokens = bl_get_u64(head + 24);
    s->recipe = bl_calloc((size_t)n_recipe + 1, 1);
    if (!s->recipe)
        return bl_fail_nomem(err, f->path);
    rc = get(f, s->recipe, n_recipe, err);
    if (rc == BL_OK)
        rc = get_records(f, s, n_records, err);
    return rc == BL_OK ? check_hash(f, "head", err) : rc;
}

static bl_status get_parameter(struct file *f, bl_train_state *s, size_t i, struct bl_err *err)
{
    const bl_parameter *p = s->parameter[i];
    const size_t n = count_values(p);
    unsigned char *ours = NULL, *there = NULL;
    size_t n_section;
    bl_status rc = pack_section(&ours, &n_section, p, err);

    if (rc == BL_OK) {
        there = bl_alloc(n_section, 1);
        rc = there ? get(f, there, n_section, err) : bl_fail_nomem(err, f->path);
    }
    if (rc == BL_OK && memcmp(ours, there, n_section) != 0)
        rc = bl_fail(err, BL_E_MISMATCH, "%s: tensor '%s' is not where it should be, or another",
                     f->path, p->name);
    bl_free(ours);
    bl_free(there);
    if (rc == BL_OK)
        rc = get(f, values_of(p), n * value_bytes(p), err);
    if (rc == BL_OK)
        rc = get(f, bl_adamw_m(s->adamw, i), n * sizeof(float), err);
    if (rc == BL_OK)
        rc = get(f, bl_adamw_v(s->adamw, i), n * sizeof(float), err);
    return rc == BL_OK ? check_hash(f, p->name, err) : rc;
}

/* Open, and read the head into *head. */
static bl_status begin_reading(struct file *f, bl_train_state *head, uint32_t *n_parameters,
                               struct bl_err *err)
{
    bl_status rc = bl_hasher_new(&f->hasher, err);

    if (rc == BL_OK)
        rc = bl_source_open(&f->source, f->path, err);
    return rc == BL_OK ? get_head(f, head, n_parameters, err) : rc;
}

static void end_reading(struct file *f)
{
    bl_hasher_free(f->hasher);
    bl_source_close(f->source);
}

bl_status bl_train_checkpoint_head(bl_train_state *out, const char *path, struct bl_err *err)
{
    struct file f = { .path = path };
    bl_train_state head = { 0 };
    uint32_t n_parameters;
    bl_status rc = begin_reading(&f, &head, &n_parameters, err);

    end_reading(&f);
    if (rc == BL_OK)
        *out = head;
    else
        bl_train_state_release(&head);
    return rc;
}

bl_status bl_train_checkpoint_read(bl_train_state *s, const char *path, struct bl_err *err)
{
    struct file f = { .path = path };
    bl_train_state head = { .parameter = s->parameter,
                            .n_parameters = s->n_parameters,
                            .adamw = s->adamw };
    uint32_t n_parameters = 0;
    bl_status rc = begin_reading(&f, &head, &n_parameters, err);

    if (rc == BL_OK && n_parameters != s->n_parameters)
        rc = bl_fail(err, BL_E_MISMATCH, "%s: has %" PRIu32 " tensors, the student %zu", path,
                     n_parameters, s->n_parameters);
    for (size_t i = 0; i < s->n_parameters && rc == BL_OK; i++)
        rc = get_parameter(&f, &head, i, err);
    if (rc == BL_OK && f.at != f.source->size)
        rc = bl_fail(err, BL_E_FORMAT, "%s: goes on behind its end", path);
    end_reading(&f);
    if (rc != BL_OK) {
        bl_train_state_release(&head);
        return rc;
    }
    bl_train_state_release(s);
    *s = head;
    return BL_OK;
}

bl_status bl_train_state_add(bl_train_state *s, const bl_train_record *record, struct bl_err *err)
{
    if (s->n_records == s->n_room) {
        const size_t n = s->n_room + s->n_room / 2 + 64;
        bl_train_record *more = bl_realloc(s->record, n, sizeof(*more));

        if (!more)
            return bl_fail_nomem(err, "the log of a training");
        s->record = more;
        s->n_room = n;
    }
    s->record[s->n_records++] = *record;
    return BL_OK;
}

void bl_train_state_release(bl_train_state *s)
{
    bl_free(s->recipe);
    bl_free(s->record);
    s->recipe = NULL;
    s->record = NULL;
    s->n_records = s->n_room = 0;
}
