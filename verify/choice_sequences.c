/* choice_sequences.c - see choice_sequences.h. */
#include "verify/choice_sequences.h"

#include "base/alloc.h"
#include "base/size.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A token to predict: `place` is sequence << 32 | position until the padding is known. */
struct scored {
    uint64_t place;
    int32_t target;
    uint32_t choice;
};

struct maker {
    const bl_choice_items *items;
    const bl_tokenizer *tokenizer;
    bool add_bos;
    uint32_t ctx, vocab_size;
    bl_tokens prompt, whole[BL_CHOICES_MAX]; /* of the item at hand */

    bl_tokens read; /* what all sequences so far read, one behind the other */
    size_t *begin;  /* [n_seqs + 1] in read */
    uint32_t n_seqs;
    struct scored *scored;
    size_t n_scored, scored_size;
};

static bl_status fail_item(struct bl_err *err, bl_status rc, const struct maker *m,
                           const bl_choice_item *item)
{
    bl_err_prefix(err, "%s:%zu", m->items->name, item->line);
    return rc;
}

/* Token ids of prompt + choice (or of the prompt alone: ""). */
static bl_status encode(bl_tokens *out, const struct maker *m, const char *prompt,
                        const char *choice, struct bl_err *err)
{
    char *text = bl_format("%s%s", prompt, choice);
    bl_status rc;

    if (!text)
        return bl_fail_nomem(err, "prompt and choice");
    out->n = 0;
    rc = bl_tokenizer_encode(out, m->tokenizer, text, strlen(text), m->add_bos ? BL_ENCODE_BOS : 0,
                             err);
    bl_free(text);
    for (size_t i = 0; i < out->n && rc == BL_OK; i++)
        if (out->id[i] < 0 || (uint32_t)out->id[i] >= m->vocab_size)
            rc = bl_fail(err, BL_E_MISMATCH,
                         "token id %" PRId32 " of the tokenizer, but a vocabulary of %" PRIu32,
                         out->id[i], m->vocab_size);
    return rc;
}

static size_t common_prefix(const bl_tokens *a, const bl_tokens *b, size_t n)
{
    size_t i = 0;

    n = n < a->n ? n : a->n;
    n = n < b->n ? n : b->n;
    while (i < n && a->id[i] == b->id[i])
        i++;
    return i;
}

/* All texts of an item as tokens; *context: how many of them are not scored. */
static bl_status encode_item(size_t *context, struct maker *m, const bl_choice_item *item,
                             struct bl_err *err)
{
    bl_status rc = encode(&m->prompt, m, item->prompt, "", err);

    *context = m->prompt.n;
    for (uint32_t c = 0; c < item->n_choices && rc == BL_OK; c++) {
        rc = encode(&m->whole[c], m, item->prompt, item->choice[c], err);
        if (rc == BL_OK && m->whole[c].n > m->ctx)
            rc = bl_fail(err, BL_E_USAGE,
                         "prompt and choice %" PRIu32 " are %zu tokens, more than --ctx %" PRIu32,
                         c, m->whole[c].n, m->ctx);
        *context = common_prefix(&m->prompt, &m->whole[c], *context);
    }
    if (rc == BL_OK && *context == 0)
        rc = bl_fail(err, BL_E_USAGE, "no token of the prompt is left to predict the choices from");
    for (uint32_t c = 0; c < item->n_choices && rc == BL_OK; c++)
        if (m->whole[c].n == *context)
            rc = bl_fail(err, BL_E_USAGE, "choice %" PRIu32 " adds no token to the prompt", c);
    return rc == BL_OK ? BL_OK : fail_item(err, rc, m, item);
}

/* The item's sequence, from `first` on, that begins with what these tokens read; or a new one. */
static bl_status find_sequence(uint32_t *out, struct maker *m, uint32_t first,
                               const bl_tokens *whole, struct bl_err *err)
{
    size_t n = whole->n - 1;
    bl_status rc = BL_OK;

    for (uint32_t s = first; s < m->n_seqs; s++)
        if (m->begin[s + 1] - m->begin[s] >= n &&
            memcmp(m->read.id + m->begin[s], whole->id, n * sizeof(*whole->id)) == 0) {
            *out = s;
            return BL_OK;
        }
    for (size_t i = 0; i < n && rc == BL_OK; i++)
        rc = bl_tokens_add(&m->read, whole->id[i], err);
    *out = m->n_seqs;
    m->begin[++m->n_seqs] = m->read.n;
    return rc;
}

static bl_status add_scored(struct maker *m, struct scored scored, struct bl_err *err)
{
    if (m->n_scored == m->scored_size) {
        size_t more = m->scored_size ? 2 * m->scored_size : 64;
        struct scored *grown = bl_realloc(m->scored, more, sizeof(*grown));

        if (!grown)
            return bl_fail_nomem(err, "scored tokens");
        m->scored = grown;
        m->scored_size = more;
    }
    m->scored[m->n_scored++] = scored;
    return BL_OK;
}

/* The longest choice not yet placed: those that read less may find room in its sequence. */
static uint32_t next_longest(const struct maker *m, const bl_choice_item *item, const bool *placed)
{
    uint32_t best = item->n_choices;

    for (uint32_t c = 0; c < item->n_choices; c++)
        if (!placed[c] && (best == item->n_choices || m->whole[c].n > m->whole[best].n))
            best = c;
    return best;
}

static bl_status add_item(struct maker *m, const bl_choice_item *item, struct bl_err *err)
{
    bool placed[BL_CHOICES_MAX] = { 0 };
    uint32_t first = m->n_seqs, s = 0;
    size_t context;
    bl_status rc = encode_item(&context, m, item, err);

    for (uint32_t k = 0; k < item->n_choices && rc == BL_OK; k++) {
        uint32_t c = next_longest(m, item, placed);

        placed[c] = true;
        rc = find_sequence(&s, m, first, &m->whole[c], err);
        for (size_t p = context - 1; p + 1 < m->whole[c].n && rc == BL_OK; p++)
            rc = add_scored(m,
                            (struct scored){ (uint64_t)s << 32 | p, m->whole[c].id[p + 1],
                                             (uint32_t)item->first + c },
                            err);
    }
    return rc;
}

static int compare_scored(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;

    if (x->place != y->place)
        return x->place < y->place ? -1 : 1;
    return (x->choice > y->choice) - (x->choice < y->choice);
}

/* Everything as rectangles. Padding follows what is scored, so any token will do. */
static void lay_out(bl_choice_sequences *q, struct maker *m)
{
    for (uint32_t s = 0; s < q->n_seqs; s++) {
        size_t n = m->begin[s + 1] - m->begin[s];
        int32_t *row = q->token + (size_t)s * q->n_positions;

        memcpy(row, m->read.id + m->begin[s], n * sizeof(*row));
        for (size_t p = n; p < q->n_positions; p++)
            row[p] = row[0];
    }
    assert(m->scored); /* there are no items without choices, and no choices without tokens */
    qsort(m->scored, m->n_scored, sizeof(*m->scored), compare_scored);
    for (size_t i = 0; i < m->n_scored; i++) {
        const struct scored *x = &m->scored[i];

        q->place[i] = (size_t)(x->place >> 32) * q->n_positions + (size_t)(x->place & UINT32_MAX);
        q->target[i] = x->target;
        q->choice[i] = x->choice;
    }
}

static bl_status finish(bl_choice_sequences *out, struct maker *m, struct bl_err *err)
{
    bl_choice_sequences q = { .n_seqs = m->n_seqs, .n_scored = m->n_scored };

    for (uint32_t s = 0; s < m->n_seqs; s++)
        q.n_positions =
            (uint32_t)bl_max_u64(q.n_positions, (uint64_t)m->begin[s + 1] - m->begin[s]);
    q.token = bl_alloc(q.n_seqs, q.n_positions * sizeof(*q.token));
    q.place = bl_alloc(q.n_scored, sizeof(*q.place));
    q.target = bl_alloc(q.n_scored, sizeof(*q.target));
    q.choice = bl_alloc(q.n_scored, sizeof(*q.choice));
    if (!q.token || !q.place || !q.target || !q.choice) {
        bl_choice_sequences_release(&q);
        return bl_fail_nomem(err, "sequences of multiple-choice items");
    }
    lay_out(&q, m);
    *out = q;
    return BL_OK;
}

bl_status bl_choice_sequences_make(bl_choice_sequences *out, const bl_choice_items *items,
                                   const bl_tokenizer *tokenizer, bool add_bos, uint32_t ctx,
                                   uint32_t vocab_size, struct bl_err *err)
{
    struct maker m = { .items = items,
                       .tokenizer = tokenizer,
                       .add_bos = add_bos,
                       .ctx = ctx,
                       .vocab_size = vocab_size };
    bl_status rc = BL_OK;

    if (items->n_choices >= UINT32_MAX)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: %zu choices are too many", items->name,
                       items->n_choices);
    m.begin = bl_calloc(items->n_choices + 1, sizeof(*m.begin));
    if (!m.begin)
        rc = bl_fail_nomem(err, "sequences of multiple-choice items");
    for (size_t i = 0; i < items->n_items && rc == BL_OK; i++)
        rc = add_item(&m, &items->item[i], err);
    if (rc == BL_OK)
        rc = finish(out, &m, err);
    for (size_t c = 0; c < BL_CHOICES_MAX; c++)
        bl_tokens_release(&m.whole[c]);
    bl_tokens_release(&m.prompt);
    bl_tokens_release(&m.read);
    bl_free(m.begin);
    bl_free(m.scored);
    return rc;
}

void bl_choice_sequences_release(bl_choice_sequences *q)
{
    bl_free(q->token);
    bl_free(q->place);
    bl_free(q->target);
    bl_free(q->choice);
    *q = (bl_choice_sequences){ 0 };
}
