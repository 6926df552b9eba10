/* embed.c - tokens sorted by id, so that the table is read forward and no row twice. */
#include "model/embed.h"

#include "base/alloc.h"
#include "base/par.h"
#include "model/block.h"
#include "model/slab.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct embed {
    float *out;
    size_t ld;
    const bl_tensor *table;
    const bl_weights *weights;
    const uint64_t *key; /* [n_tokens] id << 32 | position, ascending */
    const size_t *piece; /* [n_pieces + 1]: where in key each piece of rows begins */
    float *rows;         /* [n_threads][piece_rows][n_cols] */
    size_t piece_rows;
};

static int compare_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Decode the rows from the first to the last id of a piece and hand them out. */
static bl_status embed_piece(void *context, size_t i, int i_thread, struct bl_err *err)
{
    const struct embed *e = context;
    size_t n_cols = (size_t)e->table->n_cols, begin = e->piece[i], end = e->piece[i + 1];
    uint64_t first = e->key[begin] >> 32, last = e->key[end - 1] >> 32;
    float *rows = e->rows + (size_t)i_thread * e->piece_rows * n_cols;
    bl_status rc = bl_weights_read(rows, e->weights, e->table, first, last - first + 1, err);

    for (size_t k = begin; k < end && rc == BL_OK; k++)
        memcpy(e->out + (e->key[k] & UINT32_MAX) * e->ld,
               rows + ((e->key[k] >> 32) - first) * n_cols, n_cols * sizeof(float));
    return rc;
}

/* Pieces of the table that hold at least one token; returns how many. */
static size_t cut_pieces(size_t *piece, const uint64_t *key, size_t n_tokens, size_t piece_rows)
{
    size_t n = 0;

    for (size_t k = 0; k < n_tokens; k++)
        if (k == 0 || (key[k] >> 32) / piece_rows != (key[k - 1] >> 32) / piece_rows)
            piece[n++] = k;
    piece[n] = n_tokens;
    return n;
}

bl_status bl_embed_rows(float *out, size_t ld, const int32_t *tokens, size_t n_tokens,
                        const bl_tensor *table, const bl_weights *weights, struct bl_err *err)
{
    struct embed e = { .out = out, .ld = ld, .table = table, .weights = weights };
    uint64_t *key = bl_alloc(n_tokens, sizeof(*key));
    size_t *piece = bl_alloc(n_tokens + 1, sizeof(*piece));
    bl_status rc = BL_OK;

    e.piece_rows = (size_t)bl_slab_piece_rows(table);
    e.rows = bl_alloc((size_t)weights->n_threads * e.piece_rows,
                      (size_t)table->n_cols * sizeof(*e.rows));
    if (!key || !piece || !e.rows)
        rc = bl_fail_nomem(err, "embedding");
    for (size_t t = 0; t < n_tokens && rc == BL_OK; t++) {
        if (tokens[t] >= 0 && (uint64_t)tokens[t] < table->n_rows)
            key[t] = (uint64_t)tokens[t] << 32 | t;
        else
            rc = bl_fail(err, BL_E_USAGE, "token id %d, but %s has %" PRIu64 " rows", tokens[t],
                         table->name, table->n_rows);
    }
    if (rc == BL_OK) {
        qsort(key, n_tokens, sizeof(*key), compare_keys);
        e.key = key;
        e.piece = piece;
        rc = bl_par_for(cut_pieces(piece, key, n_tokens, e.piece_rows), weights->n_threads,
                        embed_piece, &e, err);
    }
    bl_free(key);
    bl_free(piece);
    bl_free(e.rows);
    return rc;
}

struct embed_blocks {
    const bl_state *state;
    const bl_tensor *table;
    const bl_weights *weights;
};

static bl_status embed_block(void *context, bl_block *block, struct bl_err *err)
{
    const struct embed_blocks *e = context;

    return bl_embed_rows(block->hidden, block->hidden_size, e->state->token + block->first,
                         block->n_tokens, e->table, e->weights, err);
}

bl_status bl_embed(bl_state *state, const bl_weights *weights, struct bl_err *err)
{
    const bl_config *c = weights->network->config;
    struct embed_blocks e = { .state = state, .weights = weights };
    bl_status rc = bl_ckpt_expect(&e.table, weights->ckpt, "model.embed_tokens.weight",
                                  c->vocab_size, c->hidden_size, err);

    if (rc != BL_OK)
        return rc;
    state->n_layers_done = 0;
    return bl_blocks_for(state, embed_block, &e, err);
}
