/* tiles.c - see tiles.h. */
#include "model/tiles.h"

#include "base/par.h"

/* n in so many pieces, rounded up to whole vectors. */
static size_t piece(size_t n, size_t n_pieces)
{
    const size_t size = (n + n_pieces - 1) / n_pieces;

    return (size + BL_TILE_ALIGN - 1) / BL_TILE_ALIGN * BL_TILE_ALIGN;
}

/* Tiles that even a small result is cut into. */
static size_t least_tiles(void)
{
    const size_t n = (size_t)bl_par_n_processors();

    return n < BL_TILES_LEAST ? BL_TILES_LEAST : n > BL_TILES_MOST ? BL_TILES_MOST : n;
}

bl_tiles bl_tiles_cut(size_t n_rows, size_t n_cols)
{
    const size_t least = least_tiles();
    size_t down = (n_rows + BL_TILE / 2) / BL_TILE, across = (n_cols + BL_TILE / 2) / BL_TILE;
    bl_tiles t = { .n_rows = n_rows, .n_cols = n_cols };

    down = down ? down : 1;
    across = across ? across : 1;
    while (down * across < least &&
           (n_rows / down > BL_TILE_ALIGN || n_cols / across > BL_TILE_ALIGN)) {
        if (n_rows / down >= n_cols / across)
            down++;
        else
            across++;
    }
    t.tile_rows = piece(n_rows, down);
    t.tile_cols = piece(n_cols, across);
    t.across = (size_t)bl_ceil_div_u64(n_cols, t.tile_cols);
    t.n = t.across * (size_t)bl_ceil_div_u64(n_rows, t.tile_rows);
    return t;
}

bl_tile bl_tiles_at(const bl_tiles *tiles, size_t i)
{
    bl_tile t = { .row = i / tiles->across * tiles->tile_rows,
                  .col = i % tiles->across * tiles->tile_cols };

    t.n_rows = (size_t)bl_min_u64(tiles->tile_rows, tiles->n_rows - t.row);
    t.n_cols = (size_t)bl_min_u64(tiles->tile_cols, tiles->n_cols - t.col);
    return t;
}
