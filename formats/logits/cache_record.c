/* cache_record.c - see cache_record.h. Writing and reading stand side by side, step for step. */
#include "formats/logits/cache_record.h"

#include "base/size.h"
#include "formats/logits/cache_values.h"

#include <assert.h>
#include <string.h>

enum { N_ENTROPIES = 14, N_HALVES = 21 };

static uint32_t target_context(const bl_cache_answer *a)
{
    return BL_CODES_TARGET + bl_cache_half(a->log_p >> 8);
}

static uint32_t entropy_of(const bl_cache_answer *a)
{
    return bl_cache_half(a->entropy >> 9);
}

static uint32_t number_context(const bl_cache_answer *a, uint32_t n_draws)
{
    return BL_CODES_NUMBER + bl_cache_half(n_draws) * N_ENTROPIES + entropy_of(a);
}

/* n_ids to come share n_more draws beyond one each. */
static uint32_t count_context(uint32_t n_ids, uint32_t n_more)
{
    return BL_CODES_COUNT + bl_cache_half(n_ids) * N_HALVES + bl_cache_half(n_more);
}

static void put(const bl_cache_coder *c, uint32_t context, uint32_t number)
{
    if (c->codes)
        bl_cache_codes_put(c->codes, c->encoder, context, number);
}

static void put_ids(const bl_cache_coder *c, const uint32_t *id, uint32_t n)
{
    if (c->line && c->encoder)
        bl_cache_line_put(c->encoder, c->line, id, n);
    else if (c->line)
        *c->id_bits += bl_cache_line_cost(c->line, id, n);
}

/* One of the sets of an answer, the target among them: sampled, top-k and the exact ids of mixed, */
/* or (which = 1) the sampled ids of mixed. */
struct set {
    uint32_t n, n_others, target_at; /* target_at = n: the target is not in it */
    uint32_t id[BL_CACHE_MAX_KEPT];
    uint16_t code[BL_CACHE_MAX_KEPT];
    uint32_t other[BL_CACHE_MAX_KEPT]; /* the ids without the target */
};

static void take_set(struct set *set, const bl_cache_answer *a, bool drawn)
{
    set->n = 0;
    set->n_others = 0;
    set->target_at = UINT32_MAX;
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->drawn[i] != drawn)
            continue;
        if (a->id[i] == a->target)
            set->target_at = set->n;
        else
            set->other[set->n_others++] = a->id[i];
        set->id[set->n] = a->id[i];
        set->code[set->n++] = a->code[i];
    }
    if (set->target_at == UINT32_MAX)
        set->target_at = set->n;
}

/* The ids of a set whose others are known, in order, and the target among them if it is. */
static void merge_target(struct set *set, uint32_t target, bool has_target)
{
    uint32_t at = 0;

    while (at < set->n_others && set->other[at] < target)
        at++;
    set->n = set->n_others + has_target;
    set->target_at = has_target ? at : set->n;
    memcpy(set->id, set->other, at * sizeof(*set->id));
    if (has_target)
        set->id[at] = target;
    memcpy(set->id + at + has_target, set->other + at, (set->n_others - at) * sizeof(*set->id));
}

static void put_sampled(const bl_cache_coder *c, const bl_cache_info *info,
                        const bl_cache_answer *a)
{
    struct set set;
    uint32_t n_ids, n_target, n_draws;

    take_set(&set, a, false);
    n_target = set.target_at < set.n ? set.code[set.target_at] : 0;
    n_draws = info->n_draws - n_target;
    put(c, target_context(a), n_target);
    if (n_draws == 0)
        return;
    put(c, number_context(a, n_draws), set.n_others - 1);
    put_ids(c, set.other, set.n_others);
    n_ids = set.n_others;
    n_draws -= n_ids;
    for (uint32_t i = 0; i < set.n && n_ids > 1 && n_draws > 0; i++) {
        if (i == set.target_at)
            continue;
        put(c, count_context(n_ids, n_draws), set.code[i] - 1u);
        n_draws -= set.code[i] - 1u;
        n_ids--;
    }
}

static void get_counts(struct set *set, bl_range_decoder *d, const bl_cache_codes *codes,
                       uint32_t n_draws)
{
    uint32_t n_ids = set->n_others, n_more = n_draws - n_ids;

    for (uint32_t i = 0; i < set->n && !d->bad; i++) {
        uint32_t count = n_more; /* the last has the rest */

        if (i == set->target_at)
            continue;
        if (n_ids > 1 && n_more > 0)
            count = bl_cache_codes_get(codes, d, count_context(n_ids, n_more));
        d->bad = d->bad || count > n_more;
        set->code[i] = (uint16_t)(count + 1);
        n_more -= count;
        n_ids--;
    }
}

static void give_set(bl_cache_answer *a, const struct set *set)
{
    a->n = set->n;
    memcpy(a->id, set->id, set->n * sizeof(*a->id));
    memcpy(a->code, set->code, set->n * sizeof(*a->code));
    memset(a->drawn, 0, set->n * sizeof(*a->drawn));
}

static void get_sampled(bl_cache_answer *a, bl_range_decoder *d, const bl_cache_codes *codes,
                        bl_cache_line *line, const bl_cache_info *info)
{
    const uint32_t n_target = bl_cache_codes_get(codes, d, target_context(a));
    uint32_t n_draws;
    struct set set;

    d->bad = d->bad || n_target > info->n_draws;
    if (d->bad)
        return;
    n_draws = info->n_draws - n_target;
    set.n_others = 0;
    if (n_draws > 0)
        set.n_others = bl_cache_codes_get(codes, d, number_context(a, n_draws)) + 1;
    d->bad = d->bad || set.n_others > bl_min_u64(n_draws, info->vocab_size - 1);
    if (d->bad)
        return;
    bl_cache_line_get(set.other, d, line, set.n_others);
    merge_target(&set, a->target, n_target > 0);
    get_counts(&set, d, codes, n_draws);
    if (n_target > 0)
        set.code[set.target_at] = (uint16_t)n_target;
    give_set(a, &set);
}

static uint32_t set_context(uint32_t base, const bl_cache_answer *a, int which)
{
    return base + (uint32_t)which * N_ENTROPIES + entropy_of(a);
}

static int n_sets(const bl_cache_info *info)
{
    return info->kind == BL_CACHE_MIXED ? 2 : 1;
}

static void put_weighted(const bl_cache_coder *c, const bl_cache_info *info,
                         const bl_cache_answer *a)
{
    struct set set[2];
    uint32_t place = 0;

    for (int s = 0; s < n_sets(info); s++) {
        take_set(&set[s], a, s == 1);
        if (set[s].target_at < set[s].n)
            place = (uint32_t)s + 1;
    }
    put(c, target_context(a), place);
    for (int s = 0; s < n_sets(info); s++) {
        uint32_t least = 0;

        put(c, set_context(BL_CODES_NUMBER, a, s), set[s].n_others);
        put_ids(c, set[s].other, set[s].n_others);
        for (uint32_t i = 0; i < set[s].n; i++)
            least = (uint32_t)bl_max_u64(least, set[s].code[i]);
        if (set[s].n > 0)
            put(c, set_context(BL_CODES_LEAST, a, s), least);
        for (uint32_t i = 0; i < set[s].n; i++)
            put(c, set_context(BL_CODES_ABOVE, a, s), least - set[s].code[i]);
    }
}

static void get_set(struct set *set, bl_range_decoder *d, const bl_cache_codes *codes,
                    bl_cache_line *line, const bl_cache_info *info, const bl_cache_answer *a,
                    int which, bool has_target)
{
    const uint32_t most = which == 0 ? info->n_top : info->n_draws;
    uint32_t least;

    set->n_others = bl_cache_codes_get(codes, d, set_context(BL_CODES_NUMBER, a, which));
    d->bad = d->bad || set->n_others + has_target > most || set->n_others >= info->vocab_size;
    if (d->bad)
        return;
    bl_cache_line_get(set->other, d, line, set->n_others);
    merge_target(set, a->target, has_target);
    if (set->n == 0)
        return;
    least = bl_cache_codes_get(codes, d, set_context(BL_CODES_LEAST, a, which));
    d->bad = d->bad || least > BL_CACHE_MAX_WEIGHT_CODE;
    for (uint32_t i = 0; i < set->n && !d->bad; i++) {
        uint32_t above = bl_cache_codes_get(codes, d, set_context(BL_CODES_ABOVE, a, which));

        d->bad = d->bad || above > least;
        set->code[i] = (uint16_t)(least - above);
    }
}

/* Both sets in one order. False when an id is in both. */
static bool merge_sets(bl_cache_answer *a, const struct set *exact, const struct set *drawn)
{
    uint32_t i = 0, j = 0;

    for (a->n = 0; i < exact->n || j < drawn->n; a->n++) {
        const bool second = i == exact->n || (j < drawn->n && drawn->id[j] < exact->id[i]);

        if (i < exact->n && j < drawn->n && exact->id[i] == drawn->id[j])
            return false;
        a->id[a->n] = second ? drawn->id[j] : exact->id[i];
        a->code[a->n] = second ? drawn->code[j++] : exact->code[i++];
        a->drawn[a->n] = second;
    }
    return true;
}

static void get_weighted(bl_cache_answer *a, bl_range_decoder *d, const bl_cache_codes *codes,
                         bl_cache_line *line, const bl_cache_info *info)
{
    const uint32_t place = bl_cache_codes_get(codes, d, target_context(a));
    struct set set[2];

    d->bad = d->bad || place > (uint32_t)n_sets(info);
    for (int s = 0; s < n_sets(info) && !d->bad; s++)
        get_set(&set[s], d, codes, line, info, a, s, place == (uint32_t)s + 1);
    if (d->bad)
        return;
    if (n_sets(info) == 1)
        give_set(a, &set[0]);
    else
        d->bad = !merge_sets(a, &set[0], &set[1]);
}

void bl_cache_record_put(const bl_cache_coder *coder, const bl_cache_info *info,
                         const bl_cache_answer *answer)
{
    assert(answer->n <= BL_CACHE_MAX_KEPT);
    if (coder->line)
        coder->line->out = answer->target;
    if (info->kind == BL_CACHE_SAMPLED)
        put_sampled(coder, info, answer);
    else
        put_weighted(coder, info, answer);
}

void bl_cache_record_get(bl_cache_answer *answer, bl_range_decoder *decoder,
                         const bl_cache_codes *codes, bl_cache_line *line,
                         const bl_cache_info *info)
{
    answer->n = 0;
    line->out = answer->target;
    if (info->kind == BL_CACHE_SAMPLED)
        get_sampled(answer, decoder, codes, line, info);
    else
        get_weighted(answer, decoder, codes, line, info);
    if (decoder->bad)
        answer->n = 0;
}
