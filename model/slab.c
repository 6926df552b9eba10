/* slab.c - see slab.h. Slabs and pieces begin at multiples of their size, so units stay whole. */
#include "model/slab.h"

#include "base/par.h"
#include "base/size.h"

enum { PIECE_VALUES = 1 << 18 };

struct decode {
    const bl_weights *weights;
    const bl_tensor *tensor;
    float *out;
    uint64_t row, end, piece;
};

/* About `values` values in whole units, but at most a slab. */
static uint64_t whole_rows(const bl_tensor *tensor, uint64_t values)
{
    uint64_t cols = bl_max_u64(tensor->n_cols, 1), unit = bl_max_u64(tensor->row_unit, 1);
    uint64_t most = bl_max_u64(BL_SLAB_BYTES / sizeof(float) / cols, 1);
    uint64_t rows = bl_min_u64(bl_max_u64(values / cols, 1), most);

    if (unit > most)
        return rows;
    return bl_max_u64(rows / unit, 1) * unit;
}

uint64_t bl_slab_rows(const bl_tensor *tensor)
{
    uint64_t rows = whole_rows(tensor, BL_SLAB_BYTES / sizeof(float));
    uint64_t piece = bl_slab_piece_rows(tensor);

    return rows / piece * piece;
}

uint64_t bl_slab_piece_rows(const bl_tensor *tensor)
{
    return whole_rows(tensor, PIECE_VALUES);
}

uint64_t bl_slab_end(const bl_tensor *tensor, uint64_t row, uint64_t end)
{
    uint64_t rows = bl_slab_rows(tensor);

    return bl_min_u64(end, row - row % rows + rows);
}

static bl_status decode_piece(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct decode *d = context;
    uint64_t start = d->row - d->row % d->piece + i * d->piece;
    uint64_t first = bl_max_u64(start, d->row), end = bl_min_u64(start + d->piece, d->end);

    (void)i_thread;
    return bl_weights_read(d->out + (first - d->row) * d->tensor->n_cols, d->weights, d->tensor,
                           first, end - first, err);
}

bl_status bl_slab_decode(float *out, const bl_weights *weights, const bl_tensor *tensor,
                         uint64_t row, uint64_t n_rows, struct bl_err *err)
{
    uint64_t piece = bl_slab_piece_rows(tensor);
    struct decode d = { weights, tensor, out, row, row + n_rows, piece };
    uint64_t n = bl_ceil_div_u64(row + n_rows, piece) - row / piece;

    return n_rows == 0 ? BL_OK : bl_par_for((size_t)n, weights->n_threads, decode_piece, &d, err);
}
