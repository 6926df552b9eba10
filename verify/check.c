/* check.c - see check.h. */
#include "verify/check.h"

#include "base/alloc.h"
#include "base/par.h"
#include "base/size.h"
#include "formats/bln/bln_reader.h"
#include "model/slab.h"
#include "verify/check_findings.h"
#include "verify/check_side_files.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_NAME = 256 };

struct check {
    const bl_ckpt *ckpt;
    const bl_config *config;
    const bl_check_options *options;
    bl_check_result result;
};

static bl_status check_expected(struct check *c, const bl_arch_row *row, uint32_t layer,
                                uint32_t expert, struct bl_err *err)
{
    char name[MAX_NAME];

    if (!bl_arch_expand(name, sizeof(name), row->name, layer, expert))
        return bl_fail(err, BL_E_UNSUPPORTED, "tensor name '%s' is too long", row->name);
    if (bl_ckpt_find(c->ckpt, name))
        return BL_OK;
    return bl_check_add(&c->result, BL_FINDING_MISSING, err, "tensor '%s' is missing", name);
}

/* The tensors that the table expects in one layer; BL_ONCE rows are layer 0's business. */
static bl_status check_layer(struct check *c, uint32_t layer, struct bl_err *err)
{
    const bl_arch *arch = c->config->arch;
    bl_status rc = BL_OK;

    for (size_t i = 0; i < arch->n_rows && rc == BL_OK; i++) {
        const bl_arch_row *row = &arch->row[i];
        uint32_t n = strstr(row->name, "{E}") ? c->config->n_experts : 1;

        if ((row->where == BL_ONCE && layer > 0) || !bl_arch_row_applies(row, c->config, layer))
            continue;
        for (uint32_t e = 0; e < n && rc == BL_OK; e++)
            rc = check_expected(c, row, layer, e, err);
    }
    return rc;
}

static bool has_mtp(const bl_ckpt *ckpt)
{
    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt); i++)
        if (bl_ckpt_tensor(ckpt, i)->is_mtp)
            return true;
    return false;
}

/* A tensor that is there: does the configuration have a place for it? */
static bl_status check_place(struct check *c, const bl_tensor *t, struct bl_err *err)
{
    const bl_config *g = c->config;
    int32_t layer, expert;
    const bl_arch_row *row = bl_arch_match(g->arch, t->name, &layer, &expert);

    if (!row)
        return bl_check_add(&c->result, BL_FINDING_NOTE, err, "tensor '%s' is not of this family",
                            t->name);
    if (!bl_arch_row_applies(row, g, layer < 0 ? 0 : (uint32_t)layer))
        return bl_check_add(&c->result, BL_FINDING_UNEXPECTED, err,
                            "tensor '%s' has no place in layer %d", t->name, layer);
    return BL_OK;
}

static bl_status check_structure(struct check *c, struct bl_err *err)
{
    uint32_t n_layers = c->config->n_layers;
    bl_status rc = BL_OK;

    if (has_mtp(c->ckpt))
        n_layers += c->config->n_mtp_layers;
    else if (c->config->n_mtp_layers > 0)
        rc = bl_check_add(&c->result, BL_FINDING_NOTE, err, "the %u MTP layers were left out",
                          c->config->n_mtp_layers);
    for (uint32_t layer = 0; layer < n_layers && rc == BL_OK; layer++)
        rc = check_layer(c, layer, err);
    for (size_t i = 0; i < bl_ckpt_n_tensors(c->ckpt) && rc == BL_OK; i++)
        rc = check_place(c, bl_ckpt_tensor(c->ckpt, i), err);
    return rc;
}

struct values_job {
    const bl_ckpt *ckpt;
    const bl_tensor *tensor;
    uint64_t piece_rows;
    float *values; /* [n_threads][piece_rows * n_cols] */
};

/* bl_ckpt_read_rows() refuses what is not finite, so decoding is the check. */
static bl_status decode_piece(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct values_job *job = context;
    uint64_t row = i * job->piece_rows;

    return bl_ckpt_read_rows(
        job->ckpt, job->tensor, row, bl_min_u64(job->piece_rows, job->tensor->n_rows - row),
        job->values + (size_t)i_thread * job->piece_rows * job->tensor->n_cols, err);
}

static bl_status check_values(struct check *c, const bl_tensor *t, struct bl_err *err)
{
    struct values_job job = { .ckpt = c->ckpt, .tensor = t };
    struct bl_err here = { 0 };
    bl_status rc;

    job.piece_rows = bl_min_u64(bl_slab_piece_rows(t), bl_max_u64(t->n_rows, 1));
    job.values = bl_alloc((size_t)c->options->n_threads * job.piece_rows,
                          (size_t)t->n_cols * sizeof(*job.values));
    if (!job.values)
        return bl_fail_nomem(err, t->name);
    rc = bl_par_for((size_t)bl_ceil_div_u64(t->n_rows, job.piece_rows), c->options->n_threads,
                    decode_piece, &job, &here);
    bl_free(job.values);
    c->result.n_values += t->n_values;
    bl_progress_add(c->options->progress, t->n_bytes);
    if (rc == BL_E_FORMAT)
        return bl_check_add(&c->result, BL_FINDING_VALUE, err, "%s", here.text);
    if (rc != BL_OK && err)
        *err = here;
    return rc;
}

/* What the walk over the checksums hears; adding can fail, and the walk cannot be told. */
struct damage {
    struct check *check;
    bl_status rc;
    struct bl_err *err;
};

static void add_damage(void *context, const char *sentence)
{
    struct damage *d = context;

    if (d->rc == BL_OK)
        d->rc = bl_check_add(&d->check->result, BL_FINDING_CHECKSUM, d->err, "%s", sentence);
}

/* Only a .bln has checksums of its own. */
static bl_status check_checksums(struct check *c, struct bl_err *err)
{
    const bl_container *container = bl_ckpt_container(c->ckpt);
    struct damage damage = { .check = c, .err = err };
    struct bl_err here = { 0 };
    bl_status rc;

    if (strcmp(container->kind, BL_BLN_KIND) != 0)
        return BL_OK;
    rc = bl_bln_verify(container, c->options->n_threads, c->options->progress, add_damage, &damage,
                       &here);
    if (rc != BL_OK && rc != BL_E_MISMATCH) {
        if (err)
            *err = here;
        return rc;
    }
    return damage.rc;
}

bl_status bl_check_run(bl_check_result *out, const bl_ckpt *ckpt, const bl_check_options *options,
                       struct bl_err *err)
{
    struct check c = { .ckpt = ckpt, .options = options };
    bool is_damaged;
    bl_status rc;

    if (!bl_ckpt_has_config(ckpt))
        return bl_fail(err, BL_E_USAGE,
                       "%s: without a configuration there is nothing to check against",
                       bl_ckpt_path(ckpt));
    c.config = bl_ckpt_config(ckpt);
    c.result.n_tensors = bl_ckpt_n_tensors(ckpt);
    rc = check_checksums(&c, err);
    is_damaged = c.result.n_faults > 0; /* then what lies in it cannot be read to the end */
    if (rc == BL_OK)
        rc = check_structure(&c, err);
    if (rc == BL_OK && !is_damaged)
        rc = bl_check_side_files(&c.result, ckpt, err);
    if (rc == BL_OK)
        rc = bl_check_gguf_tokens(&c.result, ckpt, err);
    for (size_t i = 0;
         i < c.result.n_tensors && rc == BL_OK && !is_damaged && !options->structure_only; i++)
        rc = check_values(&c, bl_ckpt_tensor(ckpt, i), err);
    if (rc == BL_OK)
        *out = c.result;
    else
        bl_check_release(&c.result);
    return rc;
}

void bl_check_release(bl_check_result *result)
{
    for (size_t i = 0; i < result->n_findings; i++)
        bl_free(result->finding[i].text);
    bl_free(result->finding);
    *result = (bl_check_result){ 0 };
}
