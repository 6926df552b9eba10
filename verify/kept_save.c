/* kept_save.c - the reference's answers into a file, group by group. */
#include "verify/kept_kind.h"

#include "base/alloc.h"
#include "base/le.h"
#include "base/par.h"
#include "base/size.h"
#include "formats/dtype/float_bits.h"
#include "model/slab.h"
#include "verify/logit_sketch.h"

#include <string.h>

/* The element type in which the file has the output head: BF16 where that loses nothing. */
static bl_status head_type(bl_dtype *out, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bl_tensor *table = NULL;
    bl_network network;
    bl_weights weights;
    bl_status rc = bl_weights_init(&weights, &network, ckpt, 1, err);

    if (rc == BL_OK)
        rc = bl_head_table(&table, &weights, err);
    if (rc == BL_OK)
        *out = table->dtype == BL_BF16 ? BL_BF16 : BL_F32;
    return rc;
}

static bl_status begin_own(bl_kept *k, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bl_kept_text *t = &k->text;
    bl_logits_seq *seq = bl_alloc(t->n_seqs, sizeof(*seq));
    bl_logits_info *info = &k->info;
    bl_status rc = seq ? BL_OK : bl_fail_nomem(err, k->path);

    for (size_t s = 0; s < t->n_seqs && rc == BL_OK; s++)
        seq[s] = bl_kept_seq(t, s);
    info->kind = k->kind == BL_KEPT_HIDDEN ? BL_LOGITS_HIDDEN : BL_LOGITS_SPARSE;
    info->vocab_size = bl_ckpt_config(ckpt)->vocab_size;
    info->n_seqs = t->n_seqs;
    info->n_positions = t->n_positions;
    info->n_scored = t->n_scored;
    info->stride = t->stride;
    info->bos = t->bos;
    if (k->kind == BL_KEPT_SPARSE) {
        info->n_top = BL_LOGITS_N_TOP;
        info->n_samples = BL_LOGITS_N_SAMPLES;
    } else if (rc == BL_OK) {
        info->hidden_size = bl_ckpt_config(ckpt)->hidden_size;
        rc = head_type(&info->head_type, ckpt, err);
    }
    if (rc == BL_OK)
        rc = bl_logits_begin(&k->writer, k->path, k->force, info, t->token, seq, err);
    bl_free(seq);
    return rc;
}

bl_status bl_kept_begin_file(bl_kept *kept, const bl_ckpt *ckpt, struct bl_err *err)
{
    const bl_kept_text *t = &kept->text;

    if (kept->kind != BL_KEPT_GGML)
        return begin_own(kept, ckpt, err);
    if (t->stride)
        return bl_fail(err, BL_E_USAGE, "llama.cpp's file cannot hold windows: leave out --stride");
    return bl_ggml_logits_begin(&kept->ggml_writer, kept->path, kept->force, t->n_positions,
                                bl_ckpt_config(ckpt)->vocab_size, t->n_seqs, t->token, err);
}

/* n values as they lie in the file. */
static void pack(unsigned char *out, const float *x, size_t n, bl_dtype dtype)
{
    for (size_t i = 0; i < n; i++) {
        if (dtype == BL_BF16)
            bl_put_u16(out + 2 * i, bl_bf16_from_f32(x[i]));
        else
            bl_put_u32(out + 4 * i, bl_bits_from_f32(x[i]));
    }
}

bl_status bl_kept_save_head(bl_kept *kept, const bl_head *head, struct bl_err *err)
{
    const bl_tensor *table = head->table;
    const size_t cols = (size_t)table->n_cols, slab_rows = (size_t)bl_slab_rows(table);
    float *slab = bl_alloc(slab_rows, cols * sizeof(*slab));
    unsigned char *bytes = bl_alloc(slab_rows, cols * 4);
    bl_status rc = slab && bytes ? BL_OK : bl_fail_nomem(err, "output head");

    for (uint64_t row = 0; row < table->n_rows && rc == BL_OK; row += slab_rows) {
        size_t n = (size_t)bl_min_u64(slab_rows, table->n_rows - row);

        rc = bl_slab_decode(slab, head->weights, table, row, n, err);
        if (rc != BL_OK)
            break;
        pack(bytes, slab, n * cols, kept->info.head_type);
        rc = bl_logits_put(kept->writer, bytes, n, err);
    }
    bl_free(slab);
    bl_free(bytes);
    return rc;
}

static void take_nll(bl_kept *kept, const bl_logit_stats *stats, size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++)
        kept->verdict[first + i].nll = bl_logit_stats_nll(stats, i, 0);
}

static bl_status save_sparse(bl_kept *k, const bl_head *head, size_t first, size_t n,
                             struct bl_err *err)
{
    unsigned char bytes[12 + 6 * BL_LOGITS_MAX_KEPT];
    bl_logit_sketch sketch = { 0 };
    bl_logits_sparse record;
    bl_status rc = bl_logit_sketch_init(&sketch, k->info.n_top, k->info.n_samples, first,
                                        k->text.target + first, n, err);

    if (rc == BL_OK)
        rc = bl_head_run(head, 1, n, bl_logit_sketch_add, &sketch, err);
    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        bl_logit_sketch_record(&record, &sketch, i);
        bl_logits_pack_sparse(bytes, &record, &k->info);
        rc = bl_logits_put(k->writer, bytes, 1, err);
    }
    if (rc == BL_OK)
        take_nll(k, &sketch.stats, first, n);
    bl_logit_sketch_release(&sketch);
    return rc;
}

static bl_status save_hidden(bl_kept *k, const bl_head *head, size_t first, size_t n,
                             struct bl_err *err)
{
    const size_t hidden = k->info.hidden_size;
    unsigned char *bytes = bl_alloc(n, 2 * hidden);
    bl_logit_stats stats = { 0 };
    bl_status rc = bytes ? bl_logit_stats_init(&stats, 1, k->text.target + first, n, err)
                         : bl_fail_nomem(err, "hidden states");

    if (rc == BL_OK) {
        pack(bytes, head->x, n * hidden, BL_BF16);
        rc = bl_logits_put(k->writer, bytes, n, err);
    }
    if (rc == BL_OK)
        rc = bl_head_run(head, 1, n, bl_logit_stats_add, &stats, err);
    if (rc == BL_OK)
        take_nll(k, &stats, first, n);
    bl_logit_stats_release(&stats);
    bl_free(bytes);
    return rc;
}

struct places {
    bl_kept *kept;
    const float *z;
    unsigned char *bytes;
    size_t first, vocab, n_bytes;
};

static bl_status pack_place(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct places *p = context;
    const float *const z = p->z + i * p->vocab;
    const int32_t *target = p->kept->text.target + p->first + i;
    bl_logit_stats stats;
    bl_status rc = bl_logit_stats_init(&stats, 1, target, 1, err);

    (void)i_thread;
    if (rc != BL_OK)
        return rc;
    rc = bl_logit_stats_add(&stats, 0, 1, 0, p->vocab, &z, err);
    bl_ggml_logits_pack(p->bytes + i * p->n_bytes, z, (uint32_t)p->vocab);
    p->kept->verdict[p->first + i].nll = bl_logit_stats_nll(&stats, 0, 0);
    bl_logit_stats_release(&stats);
    return rc;
}

static bl_status save_ggml(bl_kept *k, const bl_head *head, size_t first, size_t n,
                           struct bl_err *err)
{
    struct places p = { .kept = k, .first = first, .vocab = (size_t)head->table->n_rows };
    float *rows = NULL;
    bl_status rc = bl_kept_whole_rows(&rows, head, n, err);

    if (rc != BL_OK)
        return rc;
    p.z = rows;
    p.n_bytes = (size_t)bl_ggml_logits_record_bytes((uint32_t)p.vocab);
    p.bytes = bl_alloc(n, p.n_bytes);
    rc = p.bytes ? bl_par_for(n, head->weights->n_threads, pack_place, &p, err)
                 : bl_fail_nomem(err, "logits");
    if (rc == BL_OK)
        rc = bl_ggml_logits_put(k->ggml_writer, p.bytes, n, err);
    bl_free(p.bytes);
    bl_free(rows);
    return rc;
}

bl_status bl_kept_save_group(bl_kept *kept, const bl_head *head, size_t first, size_t n,
                             struct bl_err *err)
{
    static const bl_kept_group_fn save[BL_KEPT_N_KINDS] = { save_sparse, save_hidden, save_ggml };

    return save[kept->kind](kept, head, first, n, err);
}
