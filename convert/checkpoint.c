/* checkpoint.c - see checkpoint.h. */
#include "convert/checkpoint.h"

#include "base/alloc.h"
#include "base/le.h"
#include "base/sink.h"
#include "base/size.h"
#include "base/text.h"
#include "convert/loss.h"
#include "formats/ckpt/fingerprint.h"

#include <stdatomic.h>
#include <string.h>

enum { HEAD_BYTES = 24, LOSS_BYTES = 48 };

static const uint64_t usual_least = UINT64_C(64) << 20, most = UINT64_C(1) << 30;
static atomic_ullong least_for_tests;

struct run {
    const bl_plan *plan;
    void *writer;
    const bl_checkpoint_ops *ops;
    uint64_t interval, total, written, noted; /* bytes of tensor data */
    size_t first_job;                         /* whose loss the next state begins with */
    bool keeps;
};

void bl_checkpoint_set_least(uint64_t n_bytes)
{
    atomic_store(&least_for_tests, n_bytes);
}

uint64_t bl_checkpoint_interval(uint64_t total)
{
    uint64_t least = atomic_load(&least_for_tests);

    return bl_max_u64(bl_min_u64(total / 32, most), least ? least : usual_least);
}

static void put_u64(bl_text *out, uint64_t value)
{
    unsigned char bytes[8];

    bl_put_u64(bytes, value);
    bl_text_add(out, (const char *)bytes, sizeof(bytes));
}

static void put_f64(bl_text *out, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    put_u64(out, bits);
}

static double get_f64(const unsigned char *bytes)
{
    uint64_t bits = bl_get_u64(bytes);
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void put_loss(bl_text *out, const bl_loss *loss)
{
    static const bl_loss none;
    uint32_t bits;

    loss = loss ? loss : &none;
    memcpy(&bits, &loss->largest, sizeof(bits));
    put_u64(out, loss->n_values);
    put_f64(out, loss->error);
    put_f64(out, loss->power);
    put_f64(out, loss->h_error);
    put_f64(out, loss->h_power);
    put_u64(out, bits);
}

static bl_loss get_loss(const unsigned char *bytes)
{
    bl_loss loss = { .n_values = bl_get_u64(bytes),
                     .error = get_f64(bytes + 8),
                     .power = get_f64(bytes + 16),
                     .h_error = get_f64(bytes + 24),
                     .h_power = get_f64(bytes + 32) };
    uint32_t bits = bl_get_u32(bytes + 40);

    memcpy(&loss.largest, &bits, sizeof(bits));
    return loss;
}

static bl_status write_bytes(void *context, const void *bytes, size_t n, struct bl_err *err)
{
    struct run *r = context;

    r->written += n;
    return r->ops->write(r->writer, bytes, n, err);
}

static bl_status passed(void *context, bl_pipe_position position, struct bl_err *err)
{
    struct run *r = context;
    size_t end = position.job + (position.row > 0);
    bl_text state = { 0 };
    bl_status rc;

    if (r->written - r->noted < r->interval || r->written == r->total)
        return BL_OK;
    put_u64(&state, position.job);
    put_u64(&state, position.row);
    put_u64(&state, r->first_job);
    for (size_t i = r->first_job; i < end; i++)
        put_loss(&state, r->plan->job[i].loss);
    rc = bl_text_check(&state, err);
    if (rc == BL_OK)
        rc = r->ops->checkpoint(r->writer, state.bytes, state.n, err);
    bl_text_release(&state);
    r->first_job = position.job;
    r->noted = r->written;
    return rc;
}

/* One state of an earlier run; false when it does not fit the plan. */
static bool take_state(struct run *r, bl_pipe_position *position, const unsigned char *bytes,
                       size_t n)
{
    uint64_t job, row, first, n_losses;

    if (n < HEAD_BYTES)
        return false;
    job = bl_get_u64(bytes);
    row = bl_get_u64(bytes + 8);
    first = bl_get_u64(bytes + 16);
    n_losses = (n - HEAD_BYTES) / LOSS_BYTES;
    if (job > r->plan->n_jobs || (row > 0 && job == r->plan->n_jobs) || first > job ||
        n_losses != job + (row > 0) - first || n != HEAD_BYTES + n_losses * LOSS_BYTES ||
        (row > 0 && row >= r->plan->job[job].n_rows))
        return false;
    for (size_t i = 0; i < n_losses; i++)
        if (r->plan->job[first + i].loss)
            *r->plan->job[first + i].loss = get_loss(bytes + HEAD_BYTES + i * LOSS_BYTES);
    *position = (bl_pipe_position){ (size_t)job, row };
    r->first_job = (size_t)job;
    return true;
}

/* Where the earlier run had got, and the writer moved there. */
static bl_status go_on(struct run *r, bl_pipe_position *position, const char *path,
                       struct bl_err *err)
{
    const bl_keep *keep = r->ops->kept(r->writer);

    r->keeps = keep != NULL;
    for (size_t i = 0; keep && i < bl_keep_n_states(keep); i++) {
        size_t n;
        const void *state = bl_keep_state(&n, keep, i);

        if (!take_state(r, position, state, n))
            return bl_fail(err, BL_E_MISMATCH,
                           "%s: its journal does not fit this run; --force starts anew", path);
    }
    r->written = r->noted = bl_pipeline_bytes_before(r->plan, *position);
    return r->ops->skip(r->writer, r->written, err);
}

void bl_checkpoint_say_kept(struct bl_err *err, bool kept, const char *path, double share)
{
    char text[sizeof(err->text)];

    if (!kept || !err)
        return;
    memcpy(text, err->text, sizeof(text));
    (void)bl_fail(err, err->status,
                  "%s; %s.partial and its journal are kept, --resume goes on from %.0f %%", text,
                  path, 100 * share);
}

bl_status bl_checkpoint_run(double *resumed, const char *path, const bl_plan *plan, void *writer,
                            const bl_checkpoint_ops *ops, const bl_pipe_options *options,
                            struct bl_err *err)
{
    struct run r = { .plan = plan,
                     .writer = writer,
                     .ops = ops,
                     .interval = bl_checkpoint_interval(plan->n_bytes),
                     .total = plan->n_bytes };
    bl_pipe_options from = *options;
    bl_status rc = go_on(&r, &from.start, path, err);
    const bl_pipe_end end = { .write = write_bytes,
                              .passed = r.keeps ? passed : NULL,
                              .context = &r };

    if (resumed)
        *resumed = plan->n_bytes ? (double)r.written / (double)plan->n_bytes : 0;
    if (rc == BL_OK)
        rc = bl_pipeline_run(plan, end, &from, err);
    if (rc != BL_OK)
        bl_checkpoint_say_kept(err, r.keeps && bl_keep_is_worth_it(ops->kept(writer)), path,
                               plan->n_bytes ? (double)r.noted / (double)plan->n_bytes : 0);
    return rc;
}

bl_status bl_checkpoint_space(const char *path, uint64_t n_bytes, const bl_keep *keep,
                              struct bl_err *err)
{
    uint64_t there = keep ? bl_keep_verified_bytes(keep) : 0;
    struct bl_err here = { 0 };
    bl_status rc = bl_space_check(path, n_bytes - bl_min_u64(n_bytes, there), &here);

    if (rc == BL_E_IO)
        return bl_fail(err, rc, "%s (--no-space-check writes all the same)", here.text);
    if (rc != BL_OK && err)
        *err = here;
    return rc;
}

static void add_text(bl_hasher *hasher, const char *text)
{
    bl_hasher_add(hasher, text, strlen(text) + 1);
}

static void add_stored(bl_hasher *hasher, const bl_stored *t)
{
    unsigned char number[8];

    add_text(hasher, t->name);
    add_text(hasher, bl_dtype_name(t->dtype));
    for (uint32_t d = 0; d < t->ndim; d++) {
        bl_put_u64(number, t->dim[d]);
        bl_hasher_add(hasher, number, sizeof(number));
    }
}

bl_status bl_checkpoint_key(bl_hash128 *out, const bl_container *source, const bl_plan *plan,
                            const char *more, struct bl_err *err)
{
    bl_hash128 fingerprint = { 0 };
    bl_hasher *hasher = NULL;
    unsigned char number[16];
    bl_status rc = bl_container_fingerprint(&fingerprint, source, err);

    if (rc == BL_OK)
        rc = bl_hasher_new(&hasher, err);
    if (rc != BL_OK)
        return rc;
    bl_put_u64(number, fingerprint.low);
    bl_put_u64(number + 8, fingerprint.high);
    add_text(hasher, "baleen " BL_VERSION);
    bl_hasher_add(hasher, number, sizeof(number));
    for (size_t i = 0; plan && i < plan->n_jobs; i++)
        add_text(hasher, plan->job[i].encoder->name);
    for (size_t i = 0; plan && i < plan->n_stored; i++)
        add_stored(hasher, &plan->stored[i]);
    add_text(hasher, more ? more : "");
    *out = bl_hasher_digest(hasher);
    bl_hasher_free(hasher);
    return BL_OK;
}
