/* kept_logits.c - life cycle, and the loop over groups of tokens; kept_save.c and kept_compare.c
 * know what a group is. */
#include "verify/kept_kind.h"

#include "base/alloc.h"
#include "base/size.h"
#include "base/utf8.h"
#include "formats/ckpt/fingerprint.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SPARSE_GROUP = 16384, HIDDEN_GROUP = 4096, WHOLE_BYTES = 256 << 20 };

static const char *const kind_name[BL_KEPT_N_KINDS] = { "sparse", "hidden", "llama.cpp" };

bool bl_kept_kind_of(bl_kept_kind *out, const char *name)
{
    for (int i = 0; i < BL_KEPT_N_KINDS; i++) {
        if (strcmp(name, kind_name[i]) == 0) {
            *out = (bl_kept_kind)i;
            return true;
        }
    }
    return false;
}

const char *bl_kept_kind_name(bl_kept_kind kind)
{
    return kind_name[kind];
}

static bl_status new_kept(bl_kept **out, const char *path, struct bl_err *err)
{
    bl_kept *k = bl_calloc(1, sizeof(*k));

    if (k)
        k->path = bl_strdup(path);
    if (!k || !k->path) {
        bl_free(k);
        return bl_fail_nomem(err, path);
    }
    *out = k;
    return BL_OK;
}

bl_status bl_kept_save(bl_kept **out, const char *path, bl_kept_kind kind, bool force,
                       const bl_ckpt *ref, struct bl_err *err)
{
    bl_kept *k = NULL;
    bl_status rc = new_kept(&k, path, err);

    if (rc != BL_OK)
        return rc;
    k->kind = kind;
    k->saving = true;
    k->force = force;
    bl_utf8_path_name(k->info.name, sizeof(k->info.name), bl_ckpt_path(ref));
    if (kind != BL_KEPT_GGML)
        rc = bl_container_fingerprint(&k->info.model, bl_ckpt_container(ref), err);
    if (rc == BL_OK)
        *out = k;
    else
        bl_kept_free(k);
    return rc;
}

bl_status bl_kept_open(bl_kept **out, const char *path, struct bl_err *err)
{
    bl_kept *k = NULL;
    bl_status rc = new_kept(&k, path, err);

    if (rc != BL_OK)
        return rc;
    if (bl_ggml_logits_is(path)) {
        k->kind = BL_KEPT_GGML;
        rc = bl_ggml_logits_open(&k->ggml, path, err);
    } else {
        rc = bl_logits_open(&k->reader, path, err);
        if (rc == BL_OK) {
            k->info = k->reader->info;
            k->kind = k->info.kind == BL_LOGITS_HIDDEN ? BL_KEPT_HIDDEN : BL_KEPT_SPARSE;
        }
    }
    if (rc == BL_OK)
        *out = k;
    else
        bl_kept_free(k);
    return rc;
}

void bl_kept_free(bl_kept *kept)
{
    if (!kept)
        return;
    bl_logits_abort(&kept->writer);
    bl_ggml_logits_abort(&kept->ggml_writer);
    bl_logits_close(kept->reader);
    bl_ggml_logits_close(kept->ggml);
    bl_free(kept->verdict);
    bl_free(kept->path);
    bl_free(kept);
}

bl_logits_seq bl_kept_seq(const bl_kept_text *text, size_t s)
{
    const size_t from = text->first[s], n = text->first[s + 1] - from;

    return (bl_logits_seq){ .first_record = from,
                            .first_position =
                                n ? (uint32_t)(text->row[from] - s * text->n_positions) : 0,
                            .n_records = (uint32_t)n };
}

bl_status bl_kept_begin(bl_kept *kept, const bl_kept_text *text, const bl_ckpt *ckpt,
                        struct bl_err *err)
{
    kept->text = *text;
    kept->verdict = bl_calloc(text->n_scored, sizeof(*kept->verdict));
    if (!kept->verdict)
        return bl_fail_nomem(err, "token scores");
    return kept->saving ? bl_kept_begin_file(kept, ckpt, err) : bl_kept_check_text(kept, ckpt, err);
}

/* A whole number of the blocks in which the head takes tokens. */
static size_t group_tokens(const bl_kept *kept, const bl_head *head)
{
    size_t n = WHOLE_BYTES / sizeof(float) / (size_t)head->table->n_rows;

    if (kept->group)
        return kept->group;
    if (kept->kind == BL_KEPT_SPARSE)
        return SPARSE_GROUP;
    if (kept->kind == BL_KEPT_HIDDEN)
        return HIDDEN_GROUP;
    return (size_t)bl_min_u64(bl_max_u64(n / BL_HEAD_TOKENS, 1) * BL_HEAD_TOKENS, SPARSE_GROUP);
}

bl_head bl_kept_head_at(const bl_head *head, size_t first)
{
    bl_head h = *head;

    h.x += first * (size_t)head->table->n_cols;
    return h;
}

bl_status bl_kept_heads(void *context, const bl_head *head, size_t n_models, size_t first, size_t n,
                        struct bl_err *err)
{
    bl_kept *kept = context;
    const size_t group = group_tokens(kept, head);
    bl_status rc = BL_OK;

    assert(n_models == 1 && bl_range_fits(first, n, kept->text.n_scored));
    if (kept->saving && kept->kind == BL_KEPT_HIDDEN && first == 0)
        rc = bl_kept_save_head(kept, head, err);
    for (size_t i = 0; i < n && rc == BL_OK; i += group) {
        size_t n_here = (size_t)bl_min_u64(group, n - i);
        bl_head here = bl_kept_head_at(head, i);

        rc = kept->saving ? bl_kept_save_group(kept, &here, first + i, n_here, err)
                          : bl_kept_compare_group(kept, &here, first + i, n_here, err);
    }
    return rc;
}

struct rows {
    float *z;
    size_t vocab;
};

static bl_status take_rows(void *context, size_t token, size_t n_tokens, uint64_t row,
                           uint64_t n_rows, const float *const *logits, struct bl_err *err)
{
    const struct rows *rows = context;
    const size_t n = (size_t)n_rows;

    (void)err;
    for (size_t t = 0; t < n_tokens; t++)
        memcpy(rows->z + (token + t) * rows->vocab + row, logits[0] + t * n, n * sizeof(*rows->z));
    return BL_OK;
}

bl_status bl_kept_whole_rows(float **out, const bl_head *head, size_t n, struct bl_err *err)
{
    struct rows rows = { .vocab = (size_t)head->table->n_rows };
    bl_status rc;

    rows.z = bl_alloc(n, rows.vocab * sizeof(*rows.z));
    rc = rows.z ? bl_head_run(head, 1, n, take_rows, &rows, err) : bl_fail_nomem(err, "logits");
    if (rc == BL_OK)
        *out = rows.z;
    else
        bl_free(rows.z);
    return rc;
}

bl_logit_verdict bl_kept_verdict(const bl_kept *kept, size_t token)
{
    return kept->verdict[token];
}

bl_status bl_kept_commit(bl_kept *kept, struct bl_err *err)
{
    if (kept->writer)
        return bl_logits_commit(&kept->writer, err);
    return kept->ggml_writer ? bl_ggml_logits_commit(&kept->ggml_writer, err) : BL_OK;
}

bool bl_kept_is_reference(const bl_kept *kept)
{
    return !kept->saving;
}

const char *bl_kept_path(const bl_kept *kept)
{
    return kept->path;
}

bl_kept_kind bl_kept_kind_in(const bl_kept *kept)
{
    return kept->kind;
}

const char *bl_kept_model(const bl_kept *kept)
{
    return kept->kind == BL_KEPT_GGML ? "" : kept->info.name;
}

void bl_kept_model_hash(char hash[33], const bl_kept *kept)
{
    if (kept->kind == BL_KEPT_GGML)
        hash[0] = '\0';
    else
        (void)snprintf(hash, 33, "%016" PRIx64 "%016" PRIx64, kept->info.model.high,
                       kept->info.model.low);
}

void bl_kept_set_group(bl_kept *kept, size_t n_tokens)
{
    kept->group = n_tokens;
}

/* Of a window what comes before the next one; of the last what is scored, and its target. */
static uint64_t text_tokens(const bl_logits_reader *r)
{
    const bl_logits_seq *last = &r->seq[r->info.n_seqs - 1];

    if (r->info.stride == 0)
        return (uint64_t)r->info.n_seqs * r->info.n_positions;
    return (uint64_t)(r->info.n_seqs - 1) * r->info.stride + last->first_position +
           last->n_records + 1;
}

bl_kept_rule bl_kept_rule_of(const bl_kept *kept)
{
    if (kept->ggml)
        return (bl_kept_rule){ .ctx = kept->ggml->n_ctx,
                               .bos = -1,
                               .n_tokens = (uint64_t)kept->ggml->n_chunks * kept->ggml->n_ctx };
    return (bl_kept_rule){ .ctx = kept->info.n_positions,
                           .stride = kept->info.stride,
                           .bos = kept->info.bos,
                           .n_tokens = text_tokens(kept->reader) };
}

bl_status bl_kept_tokens(int32_t **token, const bl_kept *kept, struct bl_err *err)
{
    const bl_kept_rule rule = bl_kept_rule_of(kept);
    const int32_t *from = kept->ggml ? kept->ggml->token : kept->reader->token;
    const size_t n_seqs = kept->ggml ? kept->ggml->n_chunks : kept->info.n_seqs;
    const size_t step = rule.stride ? rule.stride : rule.ctx, n = (size_t)rule.n_tokens;

    *token = bl_alloc(n, sizeof(**token));
    if (!*token)
        return bl_fail_nomem(err, kept->path);
    for (size_t i = 0; i < n; i++) {
        size_t s = (size_t)bl_min_u64(i / step, n_seqs - 1);

        (*token)[i] = from[s * rule.ctx + (i - s * step)];
    }
    return BL_OK;
}
