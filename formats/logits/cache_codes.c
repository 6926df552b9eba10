/* cache_codes.c - see cache_codes.h. Tables have frequencies of 12 bits. */
#include "formats/logits/cache_codes.h"

#include "base/alloc.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

enum {
    BITS = 12,
    TOTAL = 1 << BITS,
    N_PLAIN = 16, /* numbers that are their own symbol */
    N_SYMBOLS = N_PLAIN + 8 * 12,
    N_GROUPS = 5,
    MAX_RUN = 64
};

enum state { NONE, SHARED, OWN };

static const uint16_t group_end[N_GROUPS] = { BL_CODES_NUMBER, BL_CODES_COUNT, BL_CODES_LEAST,
                                              BL_CODES_ABOVE, BL_CODES_CONTEXTS };

struct table {
    uint16_t start[N_SYMBOLS + 1]; /* start[N_SYMBOLS] = TOTAL */
};

struct bl_cache_codes {
    uint32_t (*count)[N_SYMBOLS]; /* [BL_CODES_CONTEXTS], while gathering; else NULL */
    struct table *table;          /* [n_tables] */
    size_t n_tables, room;
    uint16_t of[BL_CODES_CONTEXTS]; /* table of a context, + 1; 0: none */
};

static unsigned floor_log2(uint32_t x)
{
    return 31u - (unsigned)__builtin_clz(x);
}

uint32_t bl_cache_half(uint32_t x)
{
    unsigned b;

    if (x < 2)
        return x;
    b = floor_log2(x);
    return 2 * b + (x >> (b - 1) & 1);
}

/* The symbol of a number, and how many of its low bits follow it: 8 symbols to a doubling. */
static uint32_t symbol_of(unsigned *n_low, uint32_t number)
{
    unsigned b;

    *n_low = 0;
    if (number < N_PLAIN)
        return number;
    b = floor_log2(number);
    *n_low = b - 3;
    return N_PLAIN + (b - 4) * 8 + (number >> (b - 3) & 7);
}

static uint32_t first_number_of(unsigned *n_low, uint32_t symbol)
{
    *n_low = 0;
    if (symbol < N_PLAIN)
        return symbol;
    *n_low = (symbol - N_PLAIN) / 8 + 1;
    return (8 + (symbol - N_PLAIN) % 8) << *n_low;
}

bl_status bl_cache_codes_begin(bl_cache_codes **out, struct bl_err *err)
{
    bl_cache_codes *codes = bl_calloc(1, sizeof(*codes));

    if (codes)
        codes->count = bl_calloc(BL_CODES_CONTEXTS, sizeof(*codes->count));
    if (!codes || !codes->count) {
        bl_cache_codes_free(codes);
        return bl_fail_nomem(err, "tables of codes");
    }
    *out = codes;
    return BL_OK;
}

void bl_cache_codes_free(bl_cache_codes *codes)
{
    if (!codes)
        return;
    bl_free(codes->count);
    bl_free(codes->table);
    bl_free(codes);
}

void bl_cache_codes_put(bl_cache_codes *codes, bl_range_encoder *encoder, uint32_t context,
                        uint32_t number)
{
    unsigned n_low;
    const uint32_t symbol = symbol_of(&n_low, number);
    const uint16_t *start;

    assert(context < BL_CODES_CONTEXTS && number <= UINT16_MAX);
    if (!encoder) {
        codes->count[context][symbol]++;
        return;
    }
    assert(codes->of[context] > 0);
    start = codes->table[codes->of[context] - 1].start;
    bl_range_put(encoder, start[symbol], (uint64_t)(start[symbol + 1] - start[symbol]), BITS);
    if (n_low > 0)
        bl_range_put(encoder, number & ((1u << n_low) - 1), 1, n_low);
}

uint32_t bl_cache_codes_get(const bl_cache_codes *codes, bl_range_decoder *decoder,
                            uint32_t context)
{
    uint32_t low = 0, high = N_SYMBOLS, number;
    const uint16_t *start;
    unsigned n_low;
    uint64_t at;

    if (codes->of[context] == 0) {
        decoder->bad = true;
        return 0;
    }
    start = codes->table[codes->of[context] - 1].start;
    at = bl_range_peek(decoder, BITS);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (start[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    bl_range_take(decoder, start[low], (uint64_t)(start[low + 1] - start[low]));
    number = first_number_of(&n_low, low);
    if (n_low > 0) {
        at = bl_range_peek(decoder, n_low);
        bl_range_take(decoder, at, 1);
        number += (uint32_t)at;
    }
    return number;
}

/* ---- Tables from counts ---- */

static uint64_t sum_of(const uint32_t *count)
{
    uint64_t sum = 0;

    for (size_t s = 0; s < N_SYMBOLS; s++)
        sum += count[s];
    return sum;
}

/* Whole frequencies with the sum TOTAL, at least 1 where there is a count; the largest takes the rest. */
static void make_table(struct table *out, const uint32_t *count)
{
    const uint64_t sum = sum_of(count);
    uint32_t frequency[N_SYMBOLS], left = TOTAL, n_used = 0;
    size_t top = 0;

    for (size_t s = 0; s < N_SYMBOLS; s++)
        n_used += count[s] > 0;
    for (size_t s = 0; s < N_SYMBOLS; s++) {
        uint64_t share = count[s] * (uint64_t)(TOTAL - n_used) / sum;

        frequency[s] = count[s] > 0 ? (uint32_t)share + 1 : 0;
        left -= frequency[s];
        if (frequency[s] > frequency[top])
            top = s;
    }
    frequency[top] += left;
    out->start[0] = 0;
    for (size_t s = 0; s < N_SYMBOLS; s++)
        out->start[s + 1] = (uint16_t)(out->start[s] + frequency[s]);
}

static double cost_of(const struct table *t, const uint32_t *count)
{
    double bits = 0;

    for (size_t s = 0; s < N_SYMBOLS; s++)
        if (count[s] > 0)
            bits += count[s] * (BITS - log2((double)(t->start[s + 1] - t->start[s])));
    return bits;
}

static void put_number(bl_text *out, uint32_t x)
{
    do {
        char byte = (char)((x & 127) | (x > 127 ? 128u : 0));

        bl_text_add(out, &byte, 1);
        x >>= 7;
    } while (x > 0);
}

/* Frequencies up to the last that is not 0; a 0 is followed by how many more there are. */
static void put_table(bl_text *out, const struct table *t)
{
    for (size_t s = 0; t->start[s] < TOTAL; s++) {
        size_t zero = s;

        put_number(out, (uint32_t)(t->start[s + 1] - t->start[s]));
        if (t->start[s + 1] > t->start[s])
            continue;
        while (t->start[s + 2] == t->start[s])
            s++;
        put_number(out, (uint32_t)(s - zero));
    }
}

static bl_status add_table(struct table **out, bl_cache_codes *codes, struct bl_err *err)
{
    if (codes->n_tables == codes->room) {
        size_t room = codes->room ? 2 * codes->room : 16;
        struct table *grown = bl_realloc(codes->table, room, sizeof(*grown));

        if (!grown)
            return bl_fail_nomem(err, "tables of codes");
        codes->table = grown;
        codes->room = room;
    }
    *out = &codes->table[codes->n_tables++];
    return BL_OK;
}

/* Which contexts of [first, end) are better off with their own table than with the common one. */
static bl_status choose(enum state *state, uint32_t common[N_SYMBOLS], const bl_cache_codes *codes,
                        size_t first, size_t end, struct bl_err *err)
{
    struct table shared, own;
    bl_text bytes = { 0 };
    bl_status rc;

    for (size_t i = first; i < end; i++)
        for (size_t s = 0; s < N_SYMBOLS; s++)
            common[s] += codes->count[i][s];
    if (sum_of(common) > 0)
        make_table(&shared, common);
    for (size_t i = first; i < end; i++) {
        const uint32_t *count = codes->count[i];

        state[i] = NONE;
        if (sum_of(count) == 0)
            continue;
        make_table(&own, count);
        bytes.n = 0;
        put_table(&bytes, &own);
        state[i] =
            cost_of(&own, count) + 8.0 * (double)bytes.n < cost_of(&shared, count) ? OWN : SHARED;
        for (size_t s = 0; s < N_SYMBOLS && state[i] == OWN; s++)
            common[s] -= count[s];
    }
    rc = bl_text_check(&bytes, err);
    bl_text_release(&bytes);
    return rc;
}

/* The tables of one group: that of all who share, then each context's own. */
static bl_status pack_group(bl_text *out, bl_cache_codes *codes, enum state *state, size_t first,
                            size_t end, struct bl_err *err)
{
    uint32_t common[N_SYMBOLS] = { 0 };
    struct table *table = NULL;
    uint16_t shared = 0;
    bl_status rc = choose(state, common, codes, first, end, err);

    if (rc == BL_OK && sum_of(common) > 0) {
        rc = add_table(&table, codes, err);
        if (rc == BL_OK) {
            make_table(table, common);
            put_table(out, table);
            shared = (uint16_t)codes->n_tables;
        }
    }
    for (size_t i = first; i < end && rc == BL_OK; i++) {
        codes->of[i] = state[i] == SHARED ? shared : 0;
        if (state[i] != OWN)
            continue;
        rc = add_table(&table, codes, err);
        if (rc != BL_OK)
            break;
        make_table(table, codes->count[i]);
        put_table(out, table);
        codes->of[i] = (uint16_t)codes->n_tables;
    }
    return rc;
}

static void put_states(bl_text *out, const enum state *state)
{
    for (size_t i = 0; i < BL_CODES_CONTEXTS;) {
        size_t n = 1;
        char byte;

        while (n < MAX_RUN && i + n < BL_CODES_CONTEXTS && state[i + n] == state[i])
            n++;
        byte = (char)((uint32_t)state[i] << 6 | (uint32_t)(n - 1));
        bl_text_add(out, &byte, 1);
        i += n;
    }
}

bl_status bl_cache_codes_pack(bl_text *out, bl_cache_codes *codes, struct bl_err *err)
{
    enum state state[BL_CODES_CONTEXTS];
    bl_text tables = { 0 };
    bl_status rc = BL_OK;

    for (size_t g = 0, first = 0; g < N_GROUPS && rc == BL_OK; first = group_end[g++])
        rc = pack_group(&tables, codes, state, first, group_end[g], err);
    if (rc == BL_OK) {
        put_states(out, state);
        bl_text_add(out, tables.bytes ? tables.bytes : "", tables.n);
        rc = bl_text_check(&tables, err);
    }
    if (rc == BL_OK)
        rc = bl_text_check(out, err);
    bl_text_release(&tables);
    bl_free(codes->count);
    codes->count = NULL;
    return rc;
}

/* ---- Tables from bytes ---- */

struct bytes {
    const unsigned char *bytes;
    size_t n, at;
    bool bad;
};

static uint32_t get_byte(struct bytes *b)
{
    b->bad = b->bad || b->at == b->n;
    return b->bad ? 0 : b->bytes[b->at++];
}

/* At most 14 bits, which no number here needs more than. */
static uint32_t get_number(struct bytes *b)
{
    uint32_t x = get_byte(b), more;

    if (x < 128)
        return x;
    more = get_byte(b);
    b->bad = b->bad || more == 0 || more > 127;
    return (x & 127) | more << 7;
}

static void get_table(struct table *t, struct bytes *b)
{
    uint32_t at = 0;
    size_t s = 0;

    while (at < TOTAL && s < N_SYMBOLS && !b->bad) {
        uint32_t frequency = get_number(b), n_more = frequency == 0 ? get_number(b) : 0;

        b->bad = b->bad || frequency > TOTAL - at || n_more >= N_SYMBOLS - s;
        for (uint32_t i = 0; i <= n_more && !b->bad; i++)
            t->start[s++] = (uint16_t)at;
        at += frequency;
    }
    b->bad = b->bad || at != TOTAL;
    while (s <= N_SYMBOLS)
        t->start[s++] = TOTAL;
}

static void get_states(enum state *state, struct bytes *b)
{
    size_t i = 0;

    while (i < BL_CODES_CONTEXTS && !b->bad) {
        uint32_t byte = get_byte(b), n = (byte & 63) + 1;

        b->bad = b->bad || byte >> 6 > OWN || n > BL_CODES_CONTEXTS - i;
        for (uint32_t k = 0; k < n && !b->bad; k++)
            state[i++] = (enum state)(byte >> 6);
    }
}

static bl_status unpack_group(bl_cache_codes *codes, struct bytes *b, const enum state *state,
                              size_t first, size_t end, struct bl_err *err)
{
    struct table *table = NULL;
    uint16_t shared = 0;
    bl_status rc = BL_OK;

    for (size_t i = first; i < end && shared == 0 && rc == BL_OK; i++)
        if (state[i] == SHARED) {
            rc = add_table(&table, codes, err);
            if (rc == BL_OK)
                get_table(table, b);
            shared = (uint16_t)codes->n_tables;
        }
    for (size_t i = first; i < end && rc == BL_OK && !b->bad; i++) {
        codes->of[i] = state[i] == SHARED ? shared : 0;
        if (state[i] != OWN)
            continue;
        rc = add_table(&table, codes, err);
        if (rc == BL_OK)
            get_table(table, b);
        codes->of[i] = (uint16_t)codes->n_tables;
    }
    return rc;
}

bl_status bl_cache_codes_unpack(bl_cache_codes **out, const unsigned char *bytes, size_t n,
                                const char *path, struct bl_err *err)
{
    bl_cache_codes *codes = bl_calloc(1, sizeof(*codes));
    struct bytes b = { .bytes = bytes, .n = n };
    enum state state[BL_CODES_CONTEXTS] = { NONE };
    bl_status rc = codes ? BL_OK : bl_fail_nomem(err, path);

    if (rc == BL_OK)
        get_states(state, &b);
    for (size_t g = 0, first = 0; g < N_GROUPS && rc == BL_OK && !b.bad; first = group_end[g++])
        rc = unpack_group(codes, &b, state, first, group_end[g], err);
    if (rc == BL_OK && (b.bad || b.at != n))
        rc = bl_fail(err, BL_E_FORMAT, "%s: the tables of codes are damaged", path);
    if (rc == BL_OK)
        *out = codes;
    else
        bl_cache_codes_free(codes);
    return rc;
}
