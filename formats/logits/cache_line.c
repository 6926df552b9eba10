/* cache_line.c - see cache_line.h. */
#include "formats/logits/cache_line.h"

#include "base/alloc.h"
#include "base/size.h"

#include <assert.h>
#include <math.h>

enum { BITS = 32 };

static const uint64_t total = (uint64_t)1 << BITS;

bool bl_cache_widths_fit(const bl_cache_widths *widths, uint32_t vocab_size, uint64_t n_text,
                         uint64_t n_seq)
{
    uint64_t a, b, c;

    return widths->a > 0 && bl_mul_u64(&a, widths->a, vocab_size) &&
           bl_mul_u64(&b, widths->b, n_text) && bl_mul_u64(&c, widths->c, n_seq) &&
           bl_add_u64(&a, a, b) && bl_add_u64(&a, a, c) && a <= UINT32_MAX;
}

bl_status bl_cache_line_set(bl_cache_line *line, const bl_cache_widths *widths, uint32_t vocab_size,
                            const uint32_t *text, const int32_t *token, uint32_t n,
                            struct bl_err *err)
{
    uint32_t *left;

    line->n_ids = vocab_size;
    line->out = vocab_size;
    if (widths->b == 0 && widths->c == 0) {
        bl_cache_line_release(line);
        return BL_OK;
    }
    if (!line->left)
        line->left = bl_alloc((size_t)vocab_size + 1, sizeof(*line->left));
    if (!line->left)
        return bl_fail_nomem(err, "the widths of a vocabulary");
    left = line->left;
    left[0] = 0;
    for (uint32_t v = 0; v < vocab_size; v++)
        left[v + 1] = widths->a + (widths->b > 0 ? widths->b * text[v] : 0);
    for (uint32_t i = 0; i < n; i++)
        left[token[i] + 1] += widths->c;
    for (uint32_t v = 0; v < vocab_size; v++)
        left[v + 1] += left[v];
    return BL_OK;
}

void bl_cache_line_release(bl_cache_line *line)
{
    bl_free(line->left);
    line->left = NULL;
}

/* Places are those of ids in a line without the one that is out: ids behind it move up by one. */
static uint32_t n_places(const bl_cache_line *line)
{
    return line->n_ids - (line->out < line->n_ids);
}

static uint32_t left_of_id(const bl_cache_line *line, uint32_t id)
{
    return line->left ? line->left[id] : id;
}

static uint32_t left_of(const bl_cache_line *line, uint32_t place)
{
    if (place <= line->out)
        return left_of_id(line, place);
    return left_of_id(line, place + 1) -
           (left_of_id(line, line->out + 1) - left_of_id(line, line->out));
}

/* What remains of the line behind the last point, for the least of n_points. */
struct rest {
    const bl_cache_line *line;
    uint32_t first, end; /* places that it may have */
    uint32_t n_points;
    uint32_t length;
    double slots; /* of 2^32, one for each place taken away */
};

static struct rest rest_of(const bl_cache_line *line, uint32_t first, uint32_t n_points)
{
    const uint32_t n = n_places(line), end = n - n_points + 1;

    return (struct rest){ .line = line,
                          .first = first,
                          .end = end,
                          .n_points = n_points,
                          .length = left_of(line, n) - left_of(line, first),
                          .slots = (double)(total - (end - first)) };
}

/* Where the place begins in 2^32: rising by at least 1 a place. */
static uint64_t start_of(const struct rest *r, uint32_t place)
{
    double share, power = 1.0;

    if (place == r->end)
        return total;
    share = (double)(r->length - (left_of(r->line, place) - left_of(r->line, r->first))) /
            (double)r->length;
    for (uint32_t n = r->n_points; n > 0; n >>= 1) {
        if (n & 1)
            power *= share;
        share *= share;
    }
    return place - r->first + (uint64_t)(r->slots * (1.0 - power));
}

static uint32_t place_of(const bl_cache_line *line, uint32_t id)
{
    return id - (id > line->out);
}

void bl_cache_line_put(bl_range_encoder *encoder, const bl_cache_line *line, const uint32_t *id,
                       uint32_t n)
{
    uint32_t first = 0;

    for (uint32_t i = 0; i < n; i++) {
        const struct rest rest = rest_of(line, first, n - i);
        const uint32_t place = place_of(line, id[i]);
        const uint64_t start = start_of(&rest, place);

        assert(id[i] != line->out && place >= first && place < rest.end);
        bl_range_put(encoder, start, start_of(&rest, place + 1) - start, BITS);
        first = place + 1;
    }
}

double bl_cache_line_cost(const bl_cache_line *line, const uint32_t *id, uint32_t n)
{
    uint32_t first = 0;
    double bits = 0;

    for (uint32_t i = 0; i < n; i++) {
        const struct rest rest = rest_of(line, first, n - i);
        const uint32_t place = place_of(line, id[i]);

        bits += BITS - log2((double)(start_of(&rest, place + 1) - start_of(&rest, place)));
        first = place + 1;
    }
    return bits;
}

/* A guess from the inverse of the formula; rounding and the slots set aside make it a little wrong. */
static uint32_t guess(const struct rest *r, uint64_t at)
{
    const double u = 1.0 - pow(1.0 - (double)at / (double)total, 1.0 / r->n_points);
    const uint32_t x = left_of(r->line, r->first) + (uint32_t)(u * r->length);
    uint32_t low = r->first, high = r->end - 1;

    if (!r->line->left) /* places are lengths */
        return (uint32_t)bl_min_u64(high, bl_max_u64(low, x));
    while (low < high) {
        uint32_t middle = high - (high - low) / 2;

        if (left_of(r->line, middle) <= x)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* The last place that begins at or before `at`: in steps that double around the guess, then halves. */
static uint32_t find_place(uint64_t *start, uint64_t *end, const struct rest *r, uint64_t at)
{
    uint32_t low = guess(r, at), high = low + 1, step = 1;

    while (low > r->first && start_of(r, low) > at) {
        high = low;
        low = low - r->first > step ? low - step : r->first;
        step *= 2;
    }
    for (step = 1; high < r->end && start_of(r, high) <= at; step *= 2) {
        low = high;
        high = r->end - high > step ? high + step : r->end;
    }
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (start_of(r, middle) <= at)
            low = middle;
        else
            high = middle;
    }
    *start = start_of(r, low);
    *end = start_of(r, high);
    return low;
}

void bl_cache_line_get(uint32_t *id, bl_range_decoder *decoder, const bl_cache_line *line,
                       uint32_t n)
{
    uint32_t first = 0;

    for (uint32_t i = 0; i < n; i++) {
        const struct rest rest = rest_of(line, first, n - i);
        uint64_t start, end;
        uint32_t place = find_place(&start, &end, &rest, bl_range_peek(decoder, BITS));

        bl_range_take(decoder, start, end - start);
        id[i] = place + (place >= line->out);
        first = place + 1;
    }
}
