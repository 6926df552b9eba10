/* init_tokenizer.c - whether two models read texts alike: logits of one teach the other only then. */
#include "base/text.h"
#include "distill/init/init.h"

#include <inttypes.h>
#include <string.h>

struct pair {
    const bl_tokenizer_file *student, *teacher;
    struct bl_err *err;
};

static const char *text_of(const bl_tokenizer_file *f, uint32_t id)
{
    return id < f->n_ids ? f->token[id].text : NULL;
}

static bool is_same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void put_spelling(bl_text *out, const char *text)
{
    if (!text) {
        bl_text_puts(out, "nothing");
        return;
    }
    bl_text_puts(out, "'");
    bl_text_put_name(out, text);
    bl_text_puts(out, "'");
}

/* The first id that means something else. */
static bl_status compare_ids(const struct pair *p)
{
    const uint32_t a = p->student->n_ids, b = p->teacher->n_ids, n = a > b ? a : b;

    for (uint32_t id = 0; id < n; id++) {
        const char *mine = text_of(p->student, id), *its = text_of(p->teacher, id);
        bl_text text = { 0 };
        bl_status rc;

        if (is_same(mine, its))
            continue;
        bl_text_printf(&text, "id %" PRIu32 " is ", id);
        put_spelling(&text, mine);
        bl_text_puts(&text, " here and ");
        put_spelling(&text, its);
        bl_text_puts(&text, " for the teacher");
        rc = bl_text_check(&text, p->err);
        if (rc == BL_OK)
            rc = bl_fail(p->err, BL_E_MISMATCH, "%s", text.bytes);
        bl_text_release(&text);
        return rc;
    }
    return BL_OK;
}

static bl_status compare_merges(const struct pair *p)
{
    const bl_tokenizer_file *a = p->student, *b = p->teacher;

    if (a->n_merges != b->n_merges)
        return bl_fail(p->err, BL_E_MISMATCH,
                       "%" PRIu32 " merges here and %" PRIu32 " for the teacher", a->n_merges,
                       b->n_merges);
    for (uint32_t i = 0; i < a->n_merges; i++)
        if (a->merge[i].left != b->merge[i].left || a->merge[i].right != b->merge[i].right)
            return bl_fail(p->err, BL_E_MISMATCH,
                           "merge %" PRIu32 " is of ids %" PRIu32 " and %" PRIu32
                           " here, of %" PRIu32 " and %" PRIu32 " for the teacher",
                           i, a->merge[i].left, a->merge[i].right, b->merge[i].left,
                           b->merge[i].right);
    return BL_OK;
}

static bl_status compare_rules(const struct pair *p)
{
    const bl_tokenizer_file *a = p->student, *b = p->teacher;
    bool same =
        a->n_splits == b->n_splits && a->ignore_merges == b->ignore_merges && a->nfc == b->nfc;

    for (uint32_t i = 0; same && i < a->n_splits; i++)
        same = is_same(a->split[i].pattern, b->split[i].pattern) &&
               a->split[i].prefix_space == b->split[i].prefix_space;
    if (!same)
        return bl_fail(p->err, BL_E_MISMATCH,
                       "texts are split by other expressions than the "
                       "teacher's");
    if (a->bos != b->bos || a->eos != b->eos)
        return bl_fail(p->err, BL_E_MISMATCH,
                       "texts begin and end with ids %" PRId64 " and %" PRId64
                       " here, with %" PRId64 " and %" PRId64 " for the teacher (-1: none)",
                       a->bos, a->eos, b->bos, b->eos);
    return BL_OK;
}

bl_status bl_init_same_tokenizer(const bl_ckpt *student, const bl_ckpt *teacher, struct bl_err *err)
{
    bl_tokenizer_file *mine = NULL, *its = NULL;
    struct pair pair = { .err = err };
    bl_status rc = bl_ckpt_tokenizer_file(&mine, student, err);

    if (rc == BL_OK)
        rc = bl_ckpt_tokenizer_file(&its, teacher, err);
    pair.student = mine;
    pair.teacher = its;
    if (rc == BL_OK)
        rc = compare_ids(&pair);
    if (rc == BL_OK)
        rc = compare_merges(&pair);
    if (rc == BL_OK)
        rc = compare_rules(&pair);
    if (rc == BL_E_MISMATCH)
        bl_err_prefix(err, "%s: another tokenizer than the teacher's", bl_ckpt_path(student));
    bl_tokenizer_file_free(mine);
    bl_tokenizer_file_free(its);
    return rc;
}
