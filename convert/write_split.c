/* write_split.c - see write_split.h. The plan is cut before the first byte, so every part knows how many there are. */
#include "convert/write_split.h"

#include "base/alloc.h"
#include "base/sink.h"
#include "base/size.h"
#include "convert/checkpoint.h"
#include "formats/gguf/gguf_split.h"

#include <assert.h>

struct part {
    bl_gguf_writer *writer; /* NULL once it has its name */
    char *path;
    size_t first, n; /* its tensors in the plan */
    uint64_t n_left; /* bytes of data to come */
    bool published;
};

struct split {
    const bl_plan *plan;
    const bl_write_options *options;
    struct part *part;
    uint32_t n_parts, current;
};

/* Cut the plan greedily. Called twice: to count (parts NULL), then to fill. */
static uint32_t cut(struct part *parts, const bl_plan *plan, uint64_t size)
{
    uint32_t n = 1;
    uint64_t in_part = 0;

    for (size_t i = 0; i < plan->n_stored; i++) {
        uint64_t n_bytes = plan->stored[i].n_bytes;

        if (in_part > 0 && n_bytes > size - bl_min_u64(size, in_part)) {
            n++;
            in_part = 0;
        }
        in_part += n_bytes;
        if (parts) {
            if (parts[n - 1].n++ == 0)
                parts[n - 1].first = i;
            parts[n - 1].n_left = in_part;
        }
    }
    return n;
}

uint32_t bl_count_split(const bl_plan *plan, uint64_t split_size)
{
    return cut(NULL, plan, split_size);
}

static bl_status write_bytes(void *context, const void *bytes, size_t n, struct bl_err *err)
{
    struct split *s = context;
    const unsigned char *from = bytes;
    bl_status rc = BL_OK;

    while (n > 0 && rc == BL_OK) {
        struct part *p = &s->part[s->current];
        size_t step = (size_t)bl_min_u64(n, p->n_left);

        assert(step > 0 || s->current + 1 < s->n_parts);
        if (step > 0)
            rc = bl_gguf_writer_write(p->writer, from, step, err);
        else
            s->current++;
        p->n_left -= step;
        from += step;
        n -= step;
    }
    return rc;
}

static bl_status begin_part(struct split *s, uint32_t k, const char *path, struct bl_err *err)
{
    struct part *p = &s->part[k];
    bl_status rc = p->writer ? BL_OK : bl_gguf_writer_new(&p->writer, err);

    if (rc != BL_OK)
        return rc;
    p->path = bl_gguf_part_name(path, k, s->n_parts);
    if (!p->path)
        return bl_fail_nomem(err, path);
    bl_gguf_put_u16(p->writer, "split.no", (uint16_t)k);
    bl_gguf_put_u16(p->writer, "split.count", (uint16_t)s->n_parts);
    bl_gguf_put_i32(p->writer, "split.tensors.count", (int32_t)s->plan->n_stored);
    for (size_t i = p->first; i < p->first + p->n; i++) {
        const bl_stored *t = &s->plan->stored[i];

        bl_gguf_plan_tensor(p->writer, t->name, t->dtype, t->ndim, t->dim);
    }
    return bl_gguf_writer_begin(p->writer, p->path, s->options->force, err);
}

/* Give the parts their names, the first last; what has one already goes when another cannot get it. */
static bl_status publish(struct split *s, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (uint32_t k = s->n_parts; k-- > 0 && rc == BL_OK;) {
        rc = bl_gguf_writer_commit(&s->part[k].writer, err);
        s->part[k].published = rc == BL_OK;
    }
    if (rc == BL_OK)
        return BL_OK;
    for (uint32_t k = 0; k < s->n_parts; k++) {
        struct bl_err unused;

        /* the first failure is what is told */
        if (s->part[k].published && bl_sink_remove(s->part[k].path, &unused) != BL_OK)
            continue;
    }
    return rc;
}

static bl_status run(struct split *s, const char *path, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bl_write_options *o = s->options;
    const bl_pipe_end end = { .write = write_bytes, .context = s };
    bl_progress *progress;
    bl_status rc =
        o->skip_space_check ? BL_OK : bl_checkpoint_space(path, s->plan->n_bytes, NULL, err);

    for (uint32_t k = 0; k < s->n_parts && rc == BL_OK; k++)
        rc = begin_part(s, k, path, err);
    if (rc != BL_OK)
        return rc;
    progress = bl_progress_new(o->label, s->plan->n_source_bytes, o->show_progress);
    rc = bl_pipeline_run(
        s->plan, end,
        &(bl_pipe_options){
            .n_threads = o->n_threads, .ckpt = ckpt, .sanity = o->sanity, .progress = progress },
        err);
    bl_progress_free(progress);
    if (rc == BL_OK && o->strict)
        rc = bl_sanity_refuse(o->sanity, err);
    return rc == BL_OK ? publish(s, err) : rc;
}

bl_status bl_write_split(bl_gguf_writer *first, const char *path, const bl_ckpt *ckpt,
                         const bl_plan *plan, const bl_write_options *options, struct bl_err *err)
{
    struct split s = { .plan = plan,
                       .options = options,
                       .n_parts = bl_count_split(plan, options->split_size) };
    bl_status rc = BL_OK;

    if (options->resume || s.n_parts > UINT16_MAX || plan->n_stored > INT32_MAX) {
        bl_gguf_writer_abort(&first);
        return options->resume
                   ? bl_fail(err, BL_E_USAGE, "--resume is not for --split: parts begin anew")
                   : bl_fail(err, BL_E_USAGE, "%s: more parts than GGUF can count", path);
    }
    s.part = bl_calloc(s.n_parts, sizeof(*s.part));
    if (!s.part) {
        bl_gguf_writer_abort(&first);
        return bl_fail_nomem(err, path);
    }
    s.part[0].writer = first;
    (void)cut(s.part, plan, options->split_size);
    rc = run(&s, path, ckpt, err);
    for (uint32_t k = 0; k < s.n_parts; k++) {
        bl_gguf_writer_abort(&s.part[k].writer);
        bl_free(s.part[k].path);
    }
    bl_free(s.part);
    return rc;
}
