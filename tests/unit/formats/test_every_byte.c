/*
 * test_every_byte.c - small checkpoints of every container with one byte changed, cut at every
 * length, or longer than they are. Opened as any command opens them, and read whole: tables, data,
 * side files, and rows of F32 where there are canonical tensors.
 *
 * Either the refusal is a sentence that names a file, or what is read is what the bytes now say: of
 * .bln, where everything is checked, the original and nothing else; of safetensors and GGUF, which
 * carry no checksums, tensors that lie end to end in the file and are its bytes.
 *
 * A byte gets its 8 single-bit changes and 0x00, 0x22 ('"'), 0x30 ('0'), 0xff; with
 * BALEEN_EVERY_VALUE set, all others. The corpora hold what is wrong on purpose.
 */
#include "base/alloc.h"
#include "base/hash.h"
#include "formats/bln/bln_reader.h"
#include "formats/ckpt/ckpt.h"
#include "formats/gguf/gguf_reader.h"
#include "tests/unit/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MAX_FILES = 4, MAX_TENSOR = 1 << 20, MOST_LONGER = 200 };

/* A checkpoint on the disk: one file, or a folder and its files. */
struct subject {
    const char *path; /* as it is opened */
    /* NULL: as a checkpoint, from the disk; else file[0] alone, from memory. */
    bl_status (*open)(bl_container **out, bl_source *source, struct bl_err *err);
    size_t n_files;
    struct image {
        const char *path;
        unsigned char *bytes; /* as they are on the disk; room for MOST_LONGER more */
        size_t n;
        int fd; /* -1: in memory only */
    } file[MAX_FILES];
    bool checked;        /* nothing may be read but the original */
    bl_hash128 original; /* of all that is read */
};

static char data[4096]; /* the folder tests */

static int enter(void **state)
{
    return realpath(".", data) ? scratch_enter(state) : -1;
}

static void add_file(struct subject *s, const char *path, const void *bytes, size_t n)
{
    struct image *f = &s->file[s->n_files++];

    assert_true(s->n_files <= MAX_FILES);
    f->path = path;
    f->n = n;
    f->bytes = bl_calloc(n + MOST_LONGER, 1);
    assert_non_null(f->bytes);
    memcpy(f->bytes, bytes, n);
    f->fd = -1;
    if (s->open)
        return;
    scratch_write(path, bytes, n);
    f->fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(f->fd >= 0);
}

static void add_copy(struct subject *s, const char *path, const char *from)
{
    char source[8300], *bytes;
    size_t n;

    snprintf(source, sizeof(source), "%s/%s", data, from);
    assert_int_equal(bl_source_read_file(&bytes, &n, source, 1 << 20, NULL), BL_OK);
    add_file(s, path, bytes, n);
    bl_free(bytes);
}

static void release(struct subject *s)
{
    for (size_t i = 0; i < s->n_files; i++) {
        bl_free(s->file[i].bytes);
        if (s->file[i].fd < 0)
            continue;
        close(s->file[i].fd);
        assert_int_equal(unlink(s->file[i].path), 0);
    }
}

/* Byte `at`, and all there are, as on the disk. */
static void put_byte(struct image *f, size_t at, unsigned char byte)
{
    f->bytes[at] = byte;
    if (f->fd >= 0)
        assert_int_equal(pwrite(f->fd, &byte, 1, (off_t)at), 1);
}

static void put_length(struct image *f, size_t n)
{
    f->n = n;
    if (f->fd >= 0)
        assert_int_equal(ftruncate(f->fd, (off_t)n), 0);
}

static const struct image *image_of_shard(const struct subject *s, const char *name)
{
    for (size_t i = 0; i < s->n_files; i++) {
        const char *slash = strrchr(s->file[i].path, '/');

        if (strcmp(slash ? slash + 1 : s->file[i].path, name) == 0)
            return &s->file[i];
    }
    fail_msg("a shard '%s' that is not there", name);
    return NULL;
}

/* Any bytes decode to something. */
static void decode(const bl_stored *t, const unsigned char *bytes)
{
    const bl_dtype_traits *traits = bl_dtype_traits_of(t->dtype);
    const size_t n = (size_t)(t->n_bytes / traits->block_bytes) * traits->block_len;
    float *values = bl_alloc(n, sizeof(*values));

    assert_non_null(values);
    if (traits->to_f32)
        traits->to_f32(values, bytes, n);
    bl_free(values);
}

/* A stored tensor is what its type and shape need and, but for .bln, the bytes of its file. */
static bl_status read_stored(const struct subject *s, const bl_container *c, size_t i, bl_hasher *h,
                             struct bl_err *err)
{
    const bl_stored *t = &c->stored[i];
    uint64_t n_bytes;
    unsigned char *bytes;
    bl_status rc;

    assert_true(t->name[0] != '\0' && t->ndim <= BL_MAX_DIMS && t->shard < c->n_shards);
    assert_true(bl_dtype_bytes(&n_bytes, t->dtype, t->ndim, t->dim) && n_bytes == t->n_bytes);
    assert_true(n_bytes <= MAX_TENSOR); /* no file here is longer */
    bytes = bl_alloc((size_t)n_bytes, 1);
    assert_non_null(bytes);
    rc = bl_container_read(c, i, 0, bytes, (size_t)n_bytes, err);
    if (rc == BL_OK && !s->checked) {
        const struct image *f = image_of_shard(s, c->shard_name[t->shard]);

        assert_true(t->offset <= f->n && n_bytes <= f->n - t->offset);
        assert_memory_equal(bytes, f->bytes + t->offset, (size_t)n_bytes);
    }
    bl_hasher_add(h, t->name, strlen(t->name) + 1);
    bl_hasher_add(h, &t->dtype, sizeof(t->dtype));
    bl_hasher_add(h, t->dim, t->ndim * sizeof(*t->dim));
    bl_hasher_add(h, bytes, (size_t)n_bytes);
    if (rc == BL_OK)
        decode(t, bytes);
    bl_free(bytes);
    return rc;
}

static bl_status read_side_files(const bl_container *c, bl_hasher *h, struct bl_err *err)
{
    const bool bln = strcmp(c->kind, "bln") == 0;
    const size_t n_headers = bln ? bl_bln_n_shards(c) : 0;
    bl_status rc = BL_OK;

    for (size_t i = 0; i < c->n_side_files + n_headers && rc == BL_OK; i++) {
        char *bytes = NULL;
        size_t n = 0;

        if (i < c->n_side_files)
            rc = bl_container_side_file(c, c->side_file_name[i], &bytes, &n, err);
        else
            rc = bl_bln_shard_header(c, i - c->n_side_files, &bytes, &n, err);
        if (rc == BL_OK)
            bl_hasher_add(h, bytes, n);
        bl_free(bytes);
    }
    return rc == BL_OK && bln ? bl_bln_verify(c, 1, NULL, NULL, NULL, err) : rc;
}

/* Rows of F32: whatever comes, a refusal is a sentence. */
static void read_rows(const struct subject *s, const bl_ckpt *ckpt)
{
    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++) {
        const bl_tensor *t = bl_ckpt_tensor(ckpt, i);
        struct bl_err err = { 0 };
        float *rows;

        assert_true(t->n_rows * t->n_cols == t->n_values && t->n_values <= 2 * MAX_TENSOR);
        rows = bl_alloc((size_t)t->n_values, sizeof(*rows));
        assert_non_null(rows);
        if (bl_dtype_traits_of(t->dtype)->to_f32 &&
            bl_ckpt_read_rows(ckpt, t, 0, t->n_rows, rows, &err) != BL_OK)
            assert_non_null(strstr(err.text, s->path));
        bl_free(rows);
    }
}

static bl_status read_container(const struct subject *s, const bl_container *c, bl_hash128 *out,
                                struct bl_err *err)
{
    bl_hasher *h = NULL;
    bl_status rc = BL_OK;

    assert_int_equal(bl_hasher_new(&h, NULL), BL_OK);
    for (size_t i = 0; i < c->n_stored && rc == BL_OK; i++)
        rc = read_stored(s, c, i, h, err);
    if (rc == BL_OK)
        rc = read_side_files(c, h, err);
    *out = bl_hasher_digest(h);
    bl_hasher_free(h);
    return rc;
}

static bl_status read_everything(const struct subject *s, bl_hash128 *out, struct bl_err *err)
{
    bl_container *container = NULL;
    bl_source *source = NULL;
    bl_ckpt *ckpt = NULL;
    bl_status rc;

    if (s->open) {
        /* A block of exactly these bytes: reading past them is noticed. */
        unsigned char *bytes = bl_alloc(s->file[0].n, 1);

        memcpy(bytes, s->file[0].bytes, s->file[0].n);
        assert_int_equal(bl_source_memory(&source, s->path, bytes, s->file[0].n, NULL), BL_OK);
        rc = s->open(&container, source, err);
        if (rc == BL_OK)
            rc = read_container(s, container, out, err);
        else
            assert_null(container);
        bl_container_close(container);
        bl_free(bytes);
        return rc;
    }
    rc = bl_ckpt_open(&ckpt, s->path, err);
    if (rc != BL_OK) {
        assert_null(ckpt);
        return rc;
    }
    rc = read_container(s, bl_ckpt_container(ckpt), out, err);
    if (rc == BL_OK)
        read_rows(s, ckpt);
    bl_ckpt_close(ckpt);
    return rc;
}

/* True: it was read. */
static bool try(const struct subject *s, const char *what, size_t at, int value)
{
    const int64_t live = bl_alloc_live();
    struct bl_err err = { 0 };
    bl_hash128 hash;
    bl_status rc = read_everything(s, &hash, &err);

    assert_int_equal(bl_alloc_live(), live);
    if (rc != BL_OK) {
        if (rc != err.status || !strstr(err.text, s->path) ||
            (rc != BL_E_FORMAT && rc != BL_E_UNSUPPORTED && rc != BL_E_MISMATCH && rc != BL_E_IO))
            fail_msg("%s, %s %zu, %d: status %d, '%s'", s->path, what, at, value, (int)rc,
                     err.text);
        return false;
    }
    if (s->checked && !bl_hash128_equal(hash, s->original))
        fail_msg("%s, %s %zu, %d: something else is read", s->path, what, at, value);
    return true;
}

static void begin(struct subject *s)
{
    struct bl_err err = { 0 };

    if (read_everything(s, &s->original, &err) != BL_OK)
        fail_msg("%s", err.text);
}

static bool is_tried(unsigned char was, int value)
{
    const unsigned change = was ^ (unsigned)value;

    if (change == 0)
        return false;
    return (change & (change - 1)) == 0 || value == 0 || value == 0x22 || value == 0x30 ||
           value == 0xff || getenv("BALEEN_EVERY_VALUE");
}

/* Every byte of [from, to) of a file; how many changed files were read. */
static size_t change_bytes(struct subject *s, struct image *f, size_t from, size_t to)
{
    size_t n_read = 0;

    for (size_t at = from; at < to; at++) {
        const unsigned char was = f->bytes[at];

        for (int value = 0; value < 256; value++) {
            if (!is_tried(was, value))
                continue;
            put_byte(f, at, (unsigned char)value);
            n_read += try(s, "byte", at, value);
        }
        put_byte(f, at, was);
    }
    return n_read;
}

/* Every shorter length. Fewer than most_read of them may be read, those nearest to the whole. */
static void cut(struct subject *s, struct image *f, size_t most_read)
{
    const size_t whole = f->n;

    while (f->n > 0) {
        put_length(f, f->n - 1);
        if (try(s, "cut to", f->n, 0) && whole - f->n > most_read)
            fail_msg("%s: %zu of %zu bytes are read", f->path, f->n, whole);
    }
    put_length(f, whole);
    for (size_t i = 0; i < whole; i++)
        put_byte(f, i, f->bytes[i]);
    assert_true(try(s, "whole", whole, 0));
}

/* Up to MOST_LONGER bytes more, of zeros and of others. Most that may be read as padding. */
static void extend(struct subject *s, struct image *f, size_t most_read)
{
    const size_t whole = f->n;

    for (int value = 0; value < 256; value += 0x55) {
        for (size_t n = 1; n <= MOST_LONGER; n++) {
            put_length(f, whole + n);
            put_byte(f, whole + n - 1, (unsigned char)value);
            if (try(s, "longer by", n, value) && n > most_read)
                fail_msg("%s: %zu bytes behind its end are not noticed", f->path, n);
        }
        put_length(f, whole);
    }
}

/* ---- .bln ------------------------------------------------------------------------------------ */

static void of_a_bln_file_only_the_original_is_read(void **state)
{
    static const char *const names[] = { "good-copy",      "good-zstd-index", "good-fp8",
                                         "good-bf16",      "good-zlib",       "good-const-8",
                                         "good-two-shards" };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct subject s = { .path = "x.bln", .open = bl_bln_open_source, .checked = true };
        char from[100];
        size_t n, padding;

        snprintf(from, sizeof(from), "corpus/bln/%s.bln", names[i]);
        add_copy(&s, "x.bln", from);
        n = s.file[0].n;
        begin(&s);
        for (padding = 4096; padding > 0 && s.file[0].bytes[padding - 1] == 0;)
            padding--;
        change_bytes(&s, &s.file[0], 0, padding + 16); /* the superblock, ... */
        change_bytes(&s, &s.file[0], 4096 - 16, n - 4096 + padding + 16);
        change_bytes(&s, &s.file[0], n - 16, n); /* ... to the trailer */
        cut(&s, &s.file[0], 0);
        extend(&s, &s.file[0], 0);
        release(&s);
    }
}

/* ---- GGUF ------------------------------------------------------------------------------------ */

static void of_a_gguf_file_the_table_is_that_of_its_bytes(void **state)
{
    /* A model, and a tensor of each type: other types, other sizes, other decoders. */
    static const char *const names[] = { "data/gguf/pairs.gguf",
                                         "corpus/gguf/good-every-encoding.gguf" };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct subject s = { .path = "x.gguf", .open = i == 0 ? NULL : bl_gguf_open_source };
        bl_container *c = NULL;
        size_t start, last;
        char from[8300];

        add_copy(&s, "x.gguf", names[i]);
        begin(&s);
        snprintf(from, sizeof(from), "%s/%s", data, names[i]);
        assert_int_equal(bl_gguf_open(&c, from, NULL), BL_OK);
        start = (size_t)c->stored[0].offset;
        last = (size_t)(c->stored[c->n_stored - 1].offset + c->stored[c->n_stored - 1].n_bytes);
        bl_container_close(c);
        assert_true(change_bytes(&s, &s.file[0], 0, start) > 0); /* values of keys, padding */
        cut(&s, &s.file[0], s.file[0].n - last);
        extend(&s, &s.file[0], 0);
        release(&s);
    }
}

/* ---- safetensors ----------------------------------------------------------------------------- */

static size_t header_end(const struct image *f)
{
    return 8 + (size_t)(f->bytes[0] | f->bytes[1] << 8);
}

static void of_a_lone_file_the_table_is_that_of_its_bytes(void **state)
{
    struct subject s = { .path = "x.safetensors" };

    (void)state;
    add_copy(&s, "x.safetensors", "corpus/safetensors/good-every-dtype.safetensors");
    begin(&s);
    change_bytes(&s, &s.file[0], 0, header_end(&s.file[0]));
    cut(&s, &s.file[0], 0);
    extend(&s, &s.file[0], 0);
    release(&s);
}

#define WEIGHT  "model.layers.0.mlp.down_proj.weight"
#define SHARD_1 "model-00001-of-000002.safetensors"
#define SHARD_2 "model-00002-of-000002.safetensors"
#define INDEX   "model.safetensors.index.json"

static void add_shard(struct subject *s, const char *path, const char *header, const void *bytes,
                      size_t n)
{
    unsigned char whole[1024] = { (unsigned char)strlen(header) };

    assert_true(strlen(header) < 256 && 8 + strlen(header) + n <= sizeof(whole));
    memcpy(whole + 8, header, strlen(header));
    memcpy(whole + 8 + strlen(header), bytes, n);
    add_file(s, path, whole, 8 + strlen(header) + n);
}

/* An FP8 weight and its scales in two shards, headers without padding, an index without metadata. */
static void add_folder(struct subject *s)
{
    static const char config[] =
        "{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":16,"
        "\"num_hidden_layers\":1,\"vocab_size\":16,\"num_attention_heads\":2,"
        "\"num_key_value_heads\":2,\"head_dim\":4,\"max_position_embeddings\":64,"
        "\"rms_norm_eps\":1e-05,\"tie_word_embeddings\":true,\"quantization_config\":"
        "{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"weight_block_size\":[4,8]}}";
    static const char index[] = "{\"metadata\":{},\"weight_map\":{\"" WEIGHT "\":\"" SHARD_1
                                "\",\"" WEIGHT "_scale_inv\":\"" SHARD_2 "\"}}";
    const float scales[4] = { 1, 2, 3, 4 };
    unsigned char codes[8 * 16];

    memset(codes, 0x38, sizeof(codes)); /* 1 */
    assert_int_equal(mkdir("in", 0777), 0);
    add_shard(s, "in/" SHARD_1,
              "{\"" WEIGHT "\":{\"dtype\":\"F8_E4M3\",\"shape\":[8,16],\"data_offsets\":[0,128]}}",
              codes, sizeof(codes));
    add_shard(s, "in/" SHARD_2,
              "{\"" WEIGHT "_scale_inv\":{\"dtype\":\"F32\",\"shape\":[2,2],"
              "\"data_offsets\":[0,16]}}",
              scales, sizeof(scales));
    add_file(s, "in/" INDEX, index, strlen(index));
    add_file(s, "in/config.json", config, strlen(config));
}

static void a_weight_and_its_scales_may_lie_in_two_shards(void **state)
{
    struct subject s = { .path = "in" };
    bl_ckpt *ckpt = NULL;
    float values[8 * 16];

    (void)state;
    add_folder(&s);
    assert_int_equal(bl_ckpt_open(&ckpt, "in", NULL), BL_OK);
    assert_int_equal(bl_ckpt_n_tensors(ckpt), 1);
    assert_int_equal(bl_ckpt_read_rows(ckpt, bl_ckpt_find(ckpt, WEIGHT), 0, 8, values, NULL),
                     BL_OK);
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 16; j++)
            assert_true(values[16 * i + j] == (float)(1 + i / 4 * 2 + j / 8));
    bl_ckpt_close(ckpt);
    release(&s);
    assert_int_equal(rmdir("in"), 0);
}

static void of_a_folder_the_tables_are_those_of_its_bytes(void **state)
{
    struct subject s = { .path = "in" };

    (void)state;
    add_folder(&s);
    begin(&s);
    for (size_t i = 0; i < 4; i++) {
        const bool shard = i < 2, text = i == 3;

        change_bytes(&s, &s.file[i], 0, shard ? header_end(&s.file[i]) : s.file[i].n);
        cut(&s, &s.file[i], 0);
        if (!text)
            extend(&s, &s.file[i], 0);
    }
    release(&s);
    assert_int_equal(rmdir("in"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_a_bln_file_only_the_original_is_read),
        cmocka_unit_test(of_a_gguf_file_the_table_is_that_of_its_bytes),
        cmocka_unit_test(of_a_lone_file_the_table_is_that_of_its_bytes),
        cmocka_unit_test(a_weight_and_its_scales_may_lie_in_two_shards),
        cmocka_unit_test(of_a_folder_the_tables_are_those_of_its_bytes),
    };

    return cmocka_run_group_tests(tests, enter, scratch_leave);
}
