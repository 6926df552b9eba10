/*
 * gguf_writer.c - metadata is encoded as it is put, tensor infos as they are planned: the header is
 * a preamble, two blocks of bytes, and padding. The writer refuses to write what the reader would
 * refuse to read.
 */
#include "formats/gguf/gguf_writer.h"

#include "base/alloc.h"
#include "base/map.h"
#include "base/arena.h"
#include "base/sink.h"
#include "base/size.h"
#include "base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { ALIGNMENT = 32, PREAMBLE_BYTES = 4 + 4 + 8 + 8, MAX_NAME = 63, MAX_KEY = 65535 };

struct bl_gguf_writer {
    bl_text kv, infos; /* encoded pairs, encoded tensor infos */
    uint64_t n_kv;
    bl_map keys, names;
    bl_arena arena;         /* keys and names */
    uint64_t *tensor_bytes; /* of each planned tensor, without padding */
    size_t n_tensors, room;
    uint64_t data_bytes;   /* all tensors, padded */
    struct bl_err failure; /* the first failed put or plan */
    bl_sink *sink;         /* set by begin */
    const char *path;      /* of the output, in the arena; set by begin */
    size_t i_tensor;       /* the one being written */
    uint64_t written;      /* bytes of it */
};

bl_status bl_gguf_writer_new(bl_gguf_writer **out, struct bl_err *err)
{
    *out = bl_calloc(1, sizeof(**out));
    return *out ? BL_OK : bl_fail_nomem(err, "GGUF writer");
}

static void add_u32(bl_text *to, uint32_t value)
{
    bl_text_add(to, (const char *)&value, sizeof(value));
}

static void add_u64(bl_text *to, uint64_t value)
{
    bl_text_add(to, (const char *)&value, sizeof(value));
}

static void add_string(bl_text *to, const char *bytes, size_t n)
{
    add_u64(to, n);
    bl_text_add(to, bytes, n);
}

/* Keep a name in its map, refusing what readers refuse. False when the writer has failed. */
static bool add_name(bl_gguf_writer *w, bl_map *map, const char *name, size_t max, const char *what)
{
    size_t n = strlen(name);
    bool was_there = false;
    char *copy;

    if (w->failure.status != BL_OK)
        return false;
    assert(!w->sink); /* the header is written: too late */
    for (size_t i = 0; i < n; i++) {
        if (name[i] < 0x20 || name[i] == 0x7f) /* char may be signed: not ASCII is < 0 */
            n = 0;
    }
    if (n == 0 || n > max) {
        bl_fail(&w->failure, BL_E_UNSUPPORTED,
                "GGUF: %s '%s' is not 1 to %zu printable ASCII characters", what, name, max);
        return false;
    }
    copy = bl_arena_strndup(&w->arena, name, n);
    if (!copy)
        bl_fail_nomem(&w->failure, "GGUF names");
    else if (bl_map_put(map, copy, n, 0, &was_there, &w->failure) == BL_OK && was_there)
        bl_fail(&w->failure, BL_E_UNSUPPORTED, "GGUF: %s '%s' twice", what, name);
    return w->failure.status == BL_OK;
}

/* Key and type of a pair; false when the writer has failed. */
static bool begin_kv(bl_gguf_writer *w, const char *key, bl_gguf_type type)
{
    if (!add_name(w, &w->keys, key, MAX_KEY, "key"))
        return false;
    if (strcmp(key, "general.alignment") == 0) {
        bl_fail(&w->failure, BL_E_UNSUPPORTED, "GGUF: the alignment is always %d", ALIGNMENT);
        return false;
    }
    add_string(&w->kv, key, strlen(key));
    add_u32(&w->kv, type);
    w->n_kv++;
    return true;
}

static void put_scalar(bl_gguf_writer *w, const char *key, bl_gguf_type type, const void *value)
{
    if (begin_kv(w, key, type))
        bl_text_add(&w->kv, value, bl_gguf_type_bytes(type));
}

static bool begin_array(bl_gguf_writer *w, const char *key, bl_gguf_type elem, size_t n)
{
    if (!begin_kv(w, key, BL_GGUF_ARRAY))
        return false;
    add_u32(&w->kv, elem);
    add_u64(&w->kv, n);
    return true;
}

void bl_gguf_put_u16(bl_gguf_writer *w, const char *key, uint16_t value)
{
    put_scalar(w, key, BL_GGUF_U16, &value);
}

void bl_gguf_put_u32(bl_gguf_writer *w, const char *key, uint32_t value)
{
    put_scalar(w, key, BL_GGUF_U32, &value);
}

void bl_gguf_put_i32(bl_gguf_writer *w, const char *key, int32_t value)
{
    put_scalar(w, key, BL_GGUF_I32, &value);
}

void bl_gguf_put_u64(bl_gguf_writer *w, const char *key, uint64_t value)
{
    put_scalar(w, key, BL_GGUF_U64, &value);
}

void bl_gguf_put_f32(bl_gguf_writer *w, const char *key, float value)
{
    put_scalar(w, key, BL_GGUF_F32, &value);
}

void bl_gguf_put_bool(bl_gguf_writer *w, const char *key, bool value)
{
    unsigned char byte = value;

    put_scalar(w, key, BL_GGUF_BOOL, &byte);
}

void bl_gguf_put_string(bl_gguf_writer *w, const char *key, const char *bytes, size_t n)
{
    if (begin_kv(w, key, BL_GGUF_STRING))
        add_string(&w->kv, bytes, n);
}

void bl_gguf_put_strings(bl_gguf_writer *w, const char *key, const bl_gguf_string *value, size_t n)
{
    if (!begin_array(w, key, BL_GGUF_STRING, n))
        return;
    for (size_t i = 0; i < n; i++)
        add_string(&w->kv, value[i].bytes, value[i].n);
}

void bl_gguf_put_i32s(bl_gguf_writer *w, const char *key, const int32_t *value, size_t n)
{
    if (begin_array(w, key, BL_GGUF_I32, n))
        bl_text_add(&w->kv, (const char *)value, n * sizeof(*value));
}

void bl_gguf_put_f32s(bl_gguf_writer *w, const char *key, const float *value, size_t n)
{
    if (begin_array(w, key, BL_GGUF_F32, n))
        bl_text_add(&w->kv, (const char *)value, n * sizeof(*value));
}

void bl_gguf_put_kv(bl_gguf_writer *w, const bl_gguf_kv *kv)
{
    bool begun = kv->type == BL_GGUF_ARRAY ? begin_array(w, kv->key, kv->elem, (size_t)kv->n)
                                           : begin_kv(w, kv->key, kv->type);

    for (uint64_t i = 0; begun && kv->elem == BL_GGUF_STRING && i < kv->n; i++) {
        bl_gguf_string s = bl_gguf_kv_string_at(kv, i);

        add_string(&w->kv, s.bytes, s.n);
    }
    if (begun && kv->elem != BL_GGUF_STRING && kv->n > 0)
        bl_text_add(&w->kv, bl_gguf_kv_numbers(kv), (size_t)kv->n * bl_gguf_type_bytes(kv->elem));
}

void bl_gguf_put_kv_items(bl_gguf_writer *w, const bl_gguf_kv *kv, const uint64_t *item, size_t n)
{
    bool begun = begin_array(w, kv->key, kv->elem, n);

    for (size_t i = 0; i < n && begun; i++) {
        if (kv->elem == BL_GGUF_STRING) {
            bl_gguf_string s = bl_gguf_kv_string_at(kv, item[i]);

            add_string(&w->kv, s.bytes, s.n);
        } else {
            const size_t size = bl_gguf_type_bytes(kv->elem);

            bl_text_add(&w->kv, bl_gguf_kv_numbers(kv) + item[i] * size, size);
        }
    }
}

/* Bytes of a planned tensor; false, with the failure set, when GGUF cannot hold it. */
static bool size_tensor(uint64_t *out, bl_gguf_writer *w, const char *name, bl_dtype dtype,
                        uint32_t ndim, const uint64_t *dim)
{
    const bl_dtype_traits *t = bl_dtype_traits_of(dtype);
    bool good = ndim >= 1 && ndim <= 4;

    for (uint32_t i = 0; i < ndim && good; i++)
        good = dim[i] > 0;
    if (t->ggml_type < 0)
        bl_fail(&w->failure, BL_E_UNSUPPORTED, "GGUF: tensor '%s': there is no type %s", name,
                t->name);
    else if (!good || !bl_dtype_bytes(out, dtype, ndim, dim))
        bl_fail(&w->failure, BL_E_UNSUPPORTED,
                "GGUF: tensor '%s': a shape that type %s does not allow", name, t->name);
    return w->failure.status == BL_OK;
}

static bool reserve_tensor(bl_gguf_writer *w)
{
    size_t room = w->room ? 2 * w->room : 64;
    uint64_t *larger;

    if (w->n_tensors < w->room)
        return true;
    larger = bl_realloc(w->tensor_bytes, room, sizeof(*larger));
    if (!larger) {
        bl_fail_nomem(&w->failure, "GGUF tensor table");
        return false;
    }
    w->tensor_bytes = larger;
    w->room = room;
    return true;
}

void bl_gguf_plan_tensor(bl_gguf_writer *w, const char *name, bl_dtype dtype, uint32_t ndim,
                         const uint64_t *dim)
{
    uint64_t n_bytes = 0, end = 0;

    if (!add_name(w, &w->names, name, MAX_NAME, "tensor name") || !reserve_tensor(w) ||
        !size_tensor(&n_bytes, w, name, dtype, ndim, dim))
        return;
    if (!bl_add_u64(&end, w->data_bytes, n_bytes) || !bl_round_up_u64(&end, end, ALIGNMENT)) {
        bl_fail(&w->failure, BL_E_UNSUPPORTED, "GGUF: the tensors overflow 64 bits");
        return;
    }
    add_string(&w->infos, name, strlen(name));
    add_u32(&w->infos, ndim);
    for (uint32_t i = ndim; i-- > 0;) /* the file has the innermost first */
        add_u64(&w->infos, dim[i]);
    add_u32(&w->infos, (uint32_t)bl_dtype_traits_of(dtype)->ggml_type);
    add_u64(&w->infos, w->data_bytes);
    w->tensor_bytes[w->n_tensors++] = n_bytes;
    w->data_bytes = end;
}

/* The first failure of all puts and plans. */
static bl_status check_plan(const bl_gguf_writer *w, struct bl_err *err)
{
    bl_status rc;

    if (w->failure.status != BL_OK)
        return bl_fail(err, w->failure.status, "%s", w->failure.text);
    rc = bl_text_check(&w->kv, err);
    return rc == BL_OK ? bl_text_check(&w->infos, err) : rc;
}

/* Header bytes before and after padding; text sizes are memory sizes and cannot overflow. */
static uint64_t header_bytes(const bl_gguf_writer *w, uint64_t *padded)
{
    uint64_t n = PREAMBLE_BYTES + (uint64_t)w->kv.n + w->infos.n;

    *padded = (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return n;
}

bl_status bl_gguf_writer_file_bytes(uint64_t *out, const bl_gguf_writer *w, struct bl_err *err)
{
    uint64_t header;
    bl_status rc = check_plan(w, err);

    if (rc != BL_OK)
        return rc;
    header_bytes(w, &header);
    if (!bl_add_u64(out, header, w->data_bytes))
        return bl_fail(err, BL_E_UNSUPPORTED, "GGUF: the tensors overflow 64 bits");
    return BL_OK;
}

bl_status bl_gguf_writer_header(bl_text *out, const bl_gguf_writer *w, struct bl_err *err)
{
    static const char zeros[ALIGNMENT];
    uint64_t padded, n = header_bytes(w, &padded);
    bl_status rc = check_plan(w, err);

    if (rc != BL_OK)
        return rc;
    bl_text_puts(out, "GGUF");
    add_u32(out, 3);
    add_u64(out, w->n_tensors);
    add_u64(out, w->n_kv);
    if (w->kv.n > 0)
        bl_text_add(out, w->kv.bytes, w->kv.n);
    if (w->infos.n > 0)
        bl_text_add(out, w->infos.bytes, w->infos.n);
    bl_text_add(out, zeros, (size_t)(padded - n));
    return bl_text_check(out, err);
}

static bl_status write_header(bl_gguf_writer *w, struct bl_err *err)
{
    bl_text header = { 0 };
    bl_status rc = bl_gguf_writer_header(&header, w, err);

    if (rc == BL_OK)
        rc = bl_sink_write(w->sink, header.bytes, header.n, err);
    bl_text_release(&header);
    return rc;
}

bl_status bl_gguf_writer_begin_kept(bl_gguf_writer *w, const char *path, bool force,
                                    const bl_keep_options *keep, struct bl_err *err)
{
    uint64_t n_bytes = 0;
    bl_status rc = bl_gguf_writer_file_bytes(&n_bytes, w, err);

    assert(!w->sink);
    if (rc != BL_OK)
        bl_err_prefix(err, "%s", path);
    w->path = bl_arena_strdup(&w->arena, path);
    if (rc == BL_OK && !w->path)
        rc = bl_fail_nomem(err, path);
    if (rc == BL_OK)
        rc = bl_sink_begin_kept(&w->sink, path, force, keep, err);
    return rc == BL_OK ? write_header(w, err) : rc;
}

bl_status bl_gguf_writer_begin(bl_gguf_writer *w, const char *path, bool force, struct bl_err *err)
{
    return bl_gguf_writer_begin_kept(w, path, force, NULL, err);
}

const bl_keep *bl_gguf_writer_kept(const bl_gguf_writer *w)
{
    return w->sink ? bl_sink_kept(w->sink) : NULL;
}

bl_status bl_gguf_writer_checkpoint(bl_gguf_writer *w, const void *state, size_t n,
                                    struct bl_err *err)
{
    return bl_sink_checkpoint(w->sink, state, n, err);
}

/* Step over n bytes of tensor data: writes those at `from`, or skips what is there (NULL). */
static bl_status advance(bl_gguf_writer *w, const unsigned char *from, uint64_t n,
                         struct bl_err *err)
{
    bl_status rc = BL_OK;

    assert(w->sink);
    while (n > 0 && rc == BL_OK) {
        uint64_t size, padded, step;

        if (w->i_tensor == w->n_tensors)
            return bl_fail(err, BL_E_MISMATCH,
                           "%s: %" PRIu64 " bytes more than the tensors planned", w->path, n);
        size = w->tensor_bytes[w->i_tensor];
        step = bl_min_u64(n, size - w->written);
        if (from) {
            rc = bl_sink_write(w->sink, from, (size_t)step, err);
            from += step;
        } else {
            if (bl_sink_verified(w->sink) - bl_sink_offset(w->sink) < step)
                return bl_fail(err, BL_E_MISMATCH, "%s: less is kept of it than its journal says",
                               w->path);
            bl_sink_skip(w->sink, step);
        }
        n -= step;
        w->written += step;
        if (rc == BL_OK && w->written == size) {
            padded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; /* checked when planned */
            rc = bl_sink_write_zeros(w->sink, padded - size, err);
            w->i_tensor++;
            w->written = 0;
        }
    }
    return rc;
}

bl_status bl_gguf_writer_write(bl_gguf_writer *w, const void *bytes, size_t n, struct bl_err *err)
{
    static const unsigned char nothing;

    return advance(w, n > 0 ? bytes : &nothing, n, err);
}

bl_status bl_gguf_writer_skip(bl_gguf_writer *w, uint64_t n, struct bl_err *err)
{
    return advance(w, NULL, n, err);
}

bl_status bl_gguf_writer_commit(bl_gguf_writer **handle, struct bl_err *err)
{
    bl_gguf_writer *w = *handle;
    bl_status rc;

    assert(w->sink);
    if (w->i_tensor < w->n_tensors)
        rc = bl_fail(err, BL_E_MISMATCH, "%s: the bytes end inside tensor %zu of %zu planned",
                     w->path, w->i_tensor + 1, w->n_tensors);
    else
        rc = bl_sink_commit(&w->sink, err);
    bl_gguf_writer_abort(handle);
    return rc;
}

void bl_gguf_writer_abort(bl_gguf_writer **handle)
{
    bl_gguf_writer *w = *handle;

    if (!w)
        return;
    bl_sink_abort(&w->sink);
    bl_text_release(&w->kv);
    bl_text_release(&w->infos);
    bl_map_release(&w->keys);
    bl_map_release(&w->names);
    bl_arena_release(&w->arena);
    bl_free(w->tensor_bytes);
    bl_free(w);
    *handle = NULL;
}
