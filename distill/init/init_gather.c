/* init_gather.c - see init_gather.h. */
#include "distill/init/init_gather.h"

#include "base/alloc.h"
#include "base/size.h"

#include <string.h>

enum { PIECE_VALUES = 1 << 18 };

/* Rows of one part, and where its first row and column are in the whole. */
struct piece {
    const bl_init_gather *gather;
    const bl_init_part *part;
    uint64_t first_row, first_col;
    float *buffer; /* [room][its columns] */
    uint64_t room;
};

static uint64_t index_of(const uint32_t *map, uint64_t i)
{
    return map ? map[i] : i;
}

/* The first place of the result whose index is at least `index`; `n` places. */
static uint64_t find(const uint32_t *map, uint64_t n, uint64_t index)
{
    uint64_t low = 0, high = n;

    if (!map)
        return bl_min_u64(index, n);
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;

        if (map[middle] < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Buffered rows to their places: out[n_rows][gather->n_cols]. */
static void spread(float *out, const struct piece *p, uint64_t n_rows)
{
    const bl_init_gather *g = p->gather;
    const uint64_t n_from = p->part->tensor->n_cols;
    const uint64_t begin = find(g->col, g->n_cols, p->first_col);
    const uint64_t end = find(g->col, g->n_cols, p->first_col + n_from);

    for (uint64_t r = 0; r < n_rows; r++) {
        const float *from = p->buffer + r * n_from;
        float *to = out + r * g->n_cols;

        for (uint64_t c = begin; c < end; c++)
            to[c] = from[index_of(g->col, c) - p->first_col] * p->part->scale;
    }
}

/* Of the n_rows rows from `row` on, those that are this part's. */
static bl_status read_part(float *out, const struct piece *p, uint64_t row, uint64_t n_rows,
                           struct bl_err *err)
{
    const bl_init_gather *g = p->gather;
    const bl_tensor *t = p->part->tensor;
    bl_status rc = BL_OK;

    for (uint64_t r = 0, n; r < n_rows && rc == BL_OK; r += n) {
        const uint64_t at = index_of(g->row, row + r);

        n = 1;
        if (at < p->first_row || at - p->first_row >= t->n_rows)
            continue;
        while (n < p->room && r + n < n_rows && at + n - p->first_row < t->n_rows &&
               index_of(g->row, row + r + n) == at + n)
            n++;
        rc = bl_ckpt_read_rows(g->ckpt, t, at - p->first_row, n, p->buffer, err);
        if (rc == BL_OK)
            spread(out + r * g->n_cols, p, n);
    }
    return rc;
}

/* Whether the result is one tensor as it is. */
static bool is_plain(const bl_init_gather *g)
{
    const float scale = g->part->scale;

    return g->n_parts == 1 && !g->row && !g->col && g->n_cols == g->part->tensor->n_cols &&
           !(scale < 1) && !(scale > 1);
}

bl_status bl_init_gather_read(const void *context, const void *tensor, uint64_t row,
                              uint64_t n_rows, float *out, struct bl_err *err)
{
    const bl_init_gather *g = tensor;
    struct piece p = { .gather = g };
    uint64_t most = 0;
    bl_status rc = BL_OK;

    (void)context;
    if (is_plain(g) && row + n_rows <= g->part->tensor->n_rows)
        return bl_ckpt_read_rows(g->ckpt, g->part->tensor, row, n_rows, out, err);
    for (uint32_t i = 0; i < g->n_parts; i++)
        most = bl_max_u64(most, g->part[i].tensor->n_cols);
    p.room = bl_max_u64(bl_min_u64(n_rows, PIECE_VALUES / bl_max_u64(most, 1)), 1);
    p.buffer = bl_alloc((size_t)p.room, (size_t)most * sizeof(*p.buffer));
    if (!p.buffer)
        return bl_fail_nomem(err, g->part->tensor->name);
    memset(out, 0, (size_t)(n_rows * g->n_cols) * sizeof(*out));
    for (uint32_t i = 0; i < g->n_parts && rc == BL_OK; i++) {
        p.part = &g->part[i];
        rc = read_part(out, &p, row, n_rows, err);
        if (g->beside)
            p.first_col += p.part->tensor->n_cols;
        else
            p.first_row += p.part->tensor->n_rows;
    }
    bl_free(p.buffer);
    return rc;
}
