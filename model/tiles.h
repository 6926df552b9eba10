/*
 * tiles.h - a matrix product cut into tiles of its result, one BLAS call each.
 *
 * A call packs both its operands, so tiles are about BL_TILE wide and high: at 1024 packing costs a
 * twelfth of the product, at 256 a third. A small result has a tile for every processor of the machine
 * all the same. The cut depends on the shape and on how many processors there are, not on how many
 * threads are used.
 */
#ifndef BL_MODEL_TILES_H
#define BL_MODEL_TILES_H

#include "base/size.h"

enum { BL_TILE = 1024, BL_TILES_LEAST = 2, BL_TILES_MOST = 64, BL_TILE_ALIGN = 16 };

typedef struct bl_tiles {
    size_t n_rows, n_cols;       /* of the result */
    size_t tile_rows, tile_cols; /* of a tile */
    size_t across;               /* tiles in a row */
    size_t n;
} bl_tiles;

typedef struct bl_tile {
    size_t row, n_rows, col, n_cols;
} bl_tile;

bl_tiles bl_tiles_cut(size_t n_rows, size_t n_cols);
bl_tile bl_tiles_at(const bl_tiles *tiles, size_t i);

#endif
