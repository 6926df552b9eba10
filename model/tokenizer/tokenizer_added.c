/*
 * tokenizer_added.c - leftmost-longest search by narrowing a sorted list, byte after byte.
 *
 * Published tokenizers begin their added tokens with one or two different bytes, so that nearly
 * every position is ruled out by the first table.
 */
#include "model/tokenizer/tokenizer_added.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

bl_status bl_added_init(bl_added_set *set, size_t n, struct bl_err *err)
{
    *set = (bl_added_set){ 0 };
    set->entry = bl_calloc(n, sizeof(*set->entry));
    return set->entry ? BL_OK : bl_fail_nomem(err, "added tokens");
}

bl_status bl_added_add(bl_added_set *set, const char *text, size_t n, bl_added_entry flags,
                       struct bl_err *err)
{
    bl_added_entry *e = &set->entry[set->n];

    *e = flags;
    e->n = n;
    e->text = bl_strndup(text, n);
    if (!e->text)
        return bl_fail_nomem(err, "added tokens");
    set->n++;
    set->begins[(unsigned char)text[0]] = true;
    return BL_OK;
}

/* By text, and of equal texts (which normalization can make) the earlier id first. */
static int compare(const void *pa, const void *pb)
{
    const bl_added_entry *a = pa, *b = pb;
    int order = memcmp(a->text, b->text, a->n < b->n ? a->n : b->n);

    if (order != 0)
        return order;
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

void bl_added_seal(bl_added_set *set)
{
    if (set->n > 1)
        qsort(set->entry, set->n, sizeof(*set->entry), compare);
}

void bl_added_release(bl_added_set *set)
{
    for (size_t i = 0; i < set->n; i++)
        bl_free(set->entry[i].text);
    bl_free(set->entry);
    *set = (bl_added_set){ 0 };
}

/* The first entry in [low, high) whose byte at depth is at least byte; all are longer than depth. */
static size_t lower_bound(const bl_added_set *set, size_t low, size_t high, size_t depth,
                          unsigned byte)
{
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if ((unsigned char)set->entry[mid].text[depth] < byte)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The longest entry that text begins with, or NULL. */
static const bl_added_entry *longest_at(const bl_added_set *set, const char *text, size_t n)
{
    const bl_added_entry *best = NULL;
    size_t low = 0, high = set->n;

    for (size_t depth = 0; low < high; depth++) {
        /* Of the entries that agree so far, those that end here stand first. */
        if (set->entry[low].n == depth)
            best = &set->entry[low];
        while (low < high && set->entry[low].n == depth)
            low++;
        if (depth == n)
            break;
        low = lower_bound(set, low, high, depth, (unsigned char)text[depth]);
        high = lower_bound(set, low, high, depth, (unsigned char)text[depth] + 1u);
    }
    return best;
}

/* The length of the white space character (Unicode's White_Space) at s, or 0. */
static size_t space_at(const char *s, size_t n)
{
    const unsigned char *u = (const unsigned char *)s;

    if (n >= 1 && (u[0] == ' ' || (u[0] >= '\t' && u[0] <= '\r')))
        return 1;
    if (n >= 2 && u[0] == 0xc2 && (u[1] == 0x85 || u[1] == 0xa0))
        return 2;
    if (n < 3)
        return 0;
    if (u[0] == 0xe2 && u[1] == 0x80)
        return u[2] <= 0x8a || u[2] == 0xa8 || u[2] == 0xa9 || u[2] == 0xaf ? 3 : 0;
    if ((u[0] == 0xe1 && u[1] == 0x9a && u[2] == 0x80) ||
        (u[0] == 0xe2 && u[1] == 0x81 && u[2] == 0x9f) ||
        (u[0] == 0xe3 && u[1] == 0x80 && u[2] == 0x80))
        return 3;
    return 0;
}

/* Where the white space that ends at end begins, not before floor. */
static size_t strip_left(const char *text, size_t floor, size_t end)
{
    for (;;) {
        size_t back = end;

        while (back > floor && end - back < 3) {
            back--;
            if (space_at(text + back, end - back) == end - back)
                break;
        }
        if (back == end || space_at(text + back, end - back) != end - back)
            return end;
        end = back;
    }
}

bool bl_added_find(bl_added_match *match, const bl_added_set *set, const char *text, size_t n,
                   size_t from, size_t floor)
{
    const bl_added_entry *e = NULL;
    size_t at, step;

    if (set->n == 0)
        return false;
    for (at = from; at < n; at++)
        if (set->begins[(unsigned char)text[at]] && (e = longest_at(set, text + at, n - at)))
            break;
    if (!e)
        return false;
    match->id = e->id;
    match->begin = e->lstrip && at > floor ? strip_left(text, floor, at) : at;
    match->end = match->resume = at + e->n;
    while (e->rstrip && (step = space_at(text + match->end, n - match->end)) > 0)
        match->end += step;
    return true;
}
