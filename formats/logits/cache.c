/* cache.c - kinds by name, and the memory of a sequence. */
#include "formats/logits/cache.h"

#include "base/alloc.h"
#include "base/size.h"

#include <string.h>

static const char *const kind_name[] = { NULL, "sampled", "top-k", "mixed", "hidden" };

const char *bl_cache_kind_name(bl_cache_kind kind)
{
    return kind_name[kind];
}

bool bl_cache_kind_by_name(bl_cache_kind *out, const char *name)
{
    for (int i = BL_CACHE_SAMPLED; i <= BL_CACHE_HIDDEN; i++)
        if (strcmp(name, kind_name[i]) == 0) {
            *out = (bl_cache_kind)i;
            return true;
        }
    return false;
}

/* Makes *array one of n; what is there stays. */
static bool grow(void *array, size_t n, size_t size)
{
    void *old, *grown;

    memcpy(&old, array, sizeof(old));
    grown = bl_realloc(old, n, size);
    if (grown)
        memcpy(array, &grown, sizeof(grown));
    return grown != NULL;
}

static bool grow_positions(bl_cache_seq *seq, uint32_t n)
{
    return grow(&seq->token, n, sizeof(*seq->token)) && grow(&seq->start, n, sizeof(*seq->start)) &&
           grow(&seq->target, n, sizeof(*seq->target)) &&
           grow(&seq->log_p, n, sizeof(*seq->log_p)) &&
           grow(&seq->entropy, n, sizeof(*seq->entropy)) &&
           grow(&seq->log_sum, n, sizeof(*seq->log_sum)) &&
           grow(&seq->tail, n, sizeof(*seq->tail)) &&
           grow(&seq->first, (size_t)n + 1, sizeof(*seq->first));
}

static bool grow_entries(bl_cache_seq *seq, size_t n)
{
    return grow(&seq->id, n, sizeof(*seq->id)) && grow(&seq->weight, n, sizeof(*seq->weight)) &&
           grow(&seq->count, n, sizeof(*seq->count));
}

bl_status bl_cache_seq_reserve(bl_cache_seq *seq, uint32_t n_positions, size_t n_entries,
                               uint32_t hidden_size, struct bl_err *err)
{
    uint64_t n_hidden = 0;

    if (n_positions > seq->n_positions && !grow_positions(seq, n_positions))
        return bl_fail_nomem(err, "a sequence of a cache");
    if (n_entries > seq->n_room) {
        const size_t room = (size_t)bl_max_u64(n_entries, seq->n_room + seq->n_room / 2);

        if (!grow_entries(seq, room))
            return bl_fail_nomem(err, "the entries of a sequence of a cache");
        seq->n_room = room;
    }
    if (!bl_mul_u64(&n_hidden, n_positions, hidden_size) || n_hidden > SIZE_MAX / sizeof(float) ||
        (n_hidden > 0 && !grow(&seq->hidden, (size_t)n_hidden, sizeof(*seq->hidden))))
        return bl_fail_nomem(err, "the hidden states of a sequence of a cache");
    seq->n_positions = n_positions;
    return BL_OK;
}

void bl_cache_seq_release(bl_cache_seq *seq)
{
    bl_free(seq->token);
    bl_free(seq->start);
    bl_free(seq->target);
    bl_free(seq->log_p);
    bl_free(seq->entropy);
    bl_free(seq->log_sum);
    bl_free(seq->tail);
    bl_free(seq->first);
    bl_free(seq->id);
    bl_free(seq->weight);
    bl_free(seq->count);
    bl_free(seq->hidden);
    *seq = (bl_cache_seq){ 0 };
}
