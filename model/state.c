/* state.c - see state.h. The file is written and read in pieces that pass through the hash. */
#include "model/state.h"

#include "base/alloc.h"
#include "base/size.h"

#include <inttypes.h>
#include <string.h>

enum { HEADER_BYTES = 56, PIECE_BYTES = 1 << 20, MAX_TOKENS = 1 << 30 };

static const unsigned char magic[8] = { 'B', 'L', 'S', 'T', 'A', 'T', 'E', 1 };

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "state files are the memory of a little-endian machine"
#endif

/* Memory for the counts that are set. */
static bl_status allocate(bl_state *s, const bl_room *room, struct bl_err *err)
{
    uint64_t n_tokens = (uint64_t)s->n_seqs * s->n_positions;
    bl_status rc;

    if (n_tokens == 0 || n_tokens > MAX_TOKENS)
        return bl_fail(err, BL_E_UNSUPPORTED, "%u sequences of %u tokens: 1 to %d tokens are run",
                       s->n_seqs, s->n_positions, MAX_TOKENS);
    s->n_tokens = (size_t)n_tokens;
    s->room = room ? *room : (bl_room){ 0 };
    s->token = bl_alloc(s->n_tokens, sizeof(*s->token));
    if (!s->token)
        return bl_fail_nomem(err, "tokens");
    rc = bl_matrix_init(&s->hidden, s->n_tokens, s->hidden_size, s->room.scratch, err);
    if (rc != BL_OK)
        bl_state_release(s);
    return rc;
}

bl_status bl_state_init(bl_state *out, const int32_t *tokens, uint32_t n_seqs, uint32_t n_positions,
                        uint32_t hidden_size, const bl_room *room, struct bl_err *err)
{
    bl_state s = { .n_seqs = n_seqs, .n_positions = n_positions, .hidden_size = hidden_size };
    bl_status rc = allocate(&s, room, err);

    if (rc != BL_OK)
        return rc;
    memcpy(s.token, tokens, s.n_tokens * sizeof(*s.token));
    *out = s;
    return BL_OK;
}

void bl_state_release(bl_state *state)
{
    bl_free(state->token);
    bl_matrix_release(&state->hidden);
    *state = (bl_state){ 0 };
}

static bl_status put(bl_sink *sink, bl_hasher *hasher, const void *bytes, size_t n,
                     struct bl_err *err)
{
    const unsigned char *from = bytes;
    bl_status rc = BL_OK;

    for (size_t done = 0; done < n && rc == BL_OK; done += PIECE_BYTES) {
        size_t step = (size_t)bl_min_u64(PIECE_BYTES, n - done);

        bl_hasher_add(hasher, from + done, step);
        rc = bl_sink_write(sink, from + done, step, err);
    }
    return rc;
}

/* Rows that fit in a piece, at least one. */
static size_t rows_per_piece(const bl_state *s)
{
    size_t n = PIECE_BYTES / sizeof(float) / (s->hidden_size ? s->hidden_size : 1);

    return n ? n : 1;
}

static bl_status put_hidden(bl_sink *sink, bl_hasher *hasher, const bl_state *s, struct bl_err *err)
{
    size_t n_rows = rows_per_piece(s), row_bytes = s->hidden_size * sizeof(float);
    float *piece = bl_alloc(n_rows, row_bytes);
    bl_status rc = piece ? BL_OK : bl_fail_nomem(err, "a piece of the state");

    for (size_t row = 0; row < s->n_tokens && rc == BL_OK; row += n_rows) {
        size_t n = (size_t)bl_min_u64(n_rows, s->n_tokens - row);

        rc = bl_matrix_read(piece, &s->hidden, row, n, err);
        if (rc == BL_OK)
            rc = put(sink, hasher, piece, n * row_bytes, err);
    }
    bl_free(piece);
    return rc;
}

static void make_header(unsigned char header[HEADER_BYTES], const bl_state *s, bl_hash128 tokens)
{
    const uint32_t counts[4] = { s->n_seqs, s->n_positions, s->hidden_size, s->n_layers_done };
    const uint64_t hashes[4] = { s->run_id.low, s->run_id.high, tokens.low, tokens.high };

    memcpy(header, magic, sizeof(magic));
    memcpy(header + 8, counts, sizeof(counts));
    memcpy(header + 24, hashes, sizeof(hashes));
}

bl_status bl_state_save(const bl_state *state, bl_sink *sink, struct bl_err *err)
{
    unsigned char header[HEADER_BYTES];
    bl_hasher *hasher = NULL;
    bl_hash128 tokens = bl_hash128_of(state->token, state->n_tokens * sizeof(*state->token)), all;
    bl_status rc = bl_hasher_new(&hasher, err);

    if (rc != BL_OK)
        return rc;
    make_header(header, state, tokens);
    rc = put(sink, hasher, header, sizeof(header), err);
    if (rc == BL_OK)
        rc = put(sink, hasher, state->token, state->n_tokens * sizeof(*state->token), err);
    if (rc == BL_OK)
        rc = put_hidden(sink, hasher, state, err);
    if (rc == BL_OK) {
        all = bl_hasher_digest(hasher);
        rc = bl_sink_write(sink, (uint64_t[2]){ all.low, all.high }, 16, err);
    }
    bl_hasher_free(hasher);
    return rc;
}

struct header {
    uint32_t counts[4];
    uint64_t hashes[4];
};

/* Sizes are believed only when they make up the file exactly. */
static bl_status read_header(struct header *out, bl_source *source, bl_hasher *hasher,
                             struct bl_err *err)
{
    unsigned char bytes[HEADER_BYTES];
    uint64_t n_tokens, want;
    bl_status rc = BL_OK;

    if (source->size < HEADER_BYTES + 16)
        return bl_fail(err, BL_E_FORMAT, "%s: too short for a saved state", source->name);
    rc = bl_source_read(source, 0, bytes, sizeof(bytes), err);
    if (rc != BL_OK)
        return rc;
    bl_hasher_add(hasher, bytes, sizeof(bytes));
    if (memcmp(bytes, magic, sizeof(magic)) != 0)
        return bl_fail(err, BL_E_FORMAT, "%s: not a saved state of this version", source->name);
    memcpy(out->counts, bytes + 8, sizeof(out->counts));
    memcpy(out->hashes, bytes + 24, sizeof(out->hashes));
    n_tokens = (uint64_t)out->counts[0] * out->counts[1];
    if (n_tokens == 0 || n_tokens > MAX_TOKENS ||
        !bl_mul_u64(&want, n_tokens, 4 + 4 * (uint64_t)out->counts[2]) ||
        !bl_add_u64(&want, want, HEADER_BYTES + 16) || want != source->size)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: %" PRIu64 " bytes do not hold %u sequences of %u tokens of %u values",
                       source->name, source->size, out->counts[0], out->counts[1], out->counts[2]);
    return BL_OK;
}

static bl_status get(void *out, bl_source *source, uint64_t offset, size_t n, bl_hasher *hasher,
                     struct bl_err *err)
{
    unsigned char *to = out;
    bl_status rc = BL_OK;

    for (size_t done = 0; done < n && rc == BL_OK; done += PIECE_BYTES) {
        size_t step = (size_t)bl_min_u64(PIECE_BYTES, n - done);

        rc = bl_source_read(source, offset + done, to + done, step, err);
        if (rc == BL_OK)
            bl_hasher_add(hasher, to + done, step);
    }
    return rc;
}

static bl_status get_hidden(bl_state *s, bl_source *source, uint64_t offset, bl_hasher *hasher,
                            struct bl_err *err)
{
    size_t n_rows = rows_per_piece(s), row_bytes = s->hidden_size * sizeof(float);
    float *piece = bl_alloc(n_rows, row_bytes);
    bl_status rc = piece ? BL_OK : bl_fail_nomem(err, "a piece of the state");

    for (size_t row = 0; row < s->n_tokens && rc == BL_OK; row += n_rows) {
        size_t n = (size_t)bl_min_u64(n_rows, s->n_tokens - row);

        rc = get(piece, source, offset + row * row_bytes, n * row_bytes, hasher, err);
        if (rc == BL_OK)
            rc = bl_matrix_write(&s->hidden, row, n, piece, err);
    }
    bl_free(piece);
    return rc;
}

/* Tokens, hidden states and the checksum over everything. */
static bl_status read_body(bl_state *s, bl_source *source, bl_hasher *hasher, struct bl_err *err)
{
    size_t token_bytes = s->n_tokens * sizeof(*s->token);
    bl_hash128 stored;
    bl_status rc = get(s->token, source, HEADER_BYTES, token_bytes, hasher, err);

    if (rc == BL_OK)
        rc = get_hidden(s, source, HEADER_BYTES + token_bytes, hasher, err);
    if (rc == BL_OK)
        rc = bl_source_read(source, source->size - sizeof(stored), &stored, sizeof(stored), err);
    if (rc != BL_OK)
        return rc;
    if (!bl_hash128_equal(bl_hasher_digest(hasher), stored))
        return bl_fail(err, BL_E_FORMAT, "%s: the checksum does not match: the file is damaged",
                       source->name);
    return BL_OK;
}

bl_status bl_state_load(bl_state *out, bl_source *source, const bl_room *room, struct bl_err *err)
{
    struct header header = { 0 };
    bl_state s = { 0 };
    bl_hasher *hasher;
    bl_status rc = bl_hasher_new(&hasher, err);

    if (rc != BL_OK)
        return rc;
    rc = read_header(&header, source, hasher, err);
    if (rc != BL_OK)
        goto done;
    s.n_seqs = header.counts[0];
    s.n_positions = header.counts[1];
    s.hidden_size = header.counts[2];
    s.n_layers_done = header.counts[3];
    s.run_id = (bl_hash128){ header.hashes[0], header.hashes[1] };
    rc = allocate(&s, room, err);
    if (rc == BL_OK)
        rc = read_body(&s, source, hasher, err);
    if (rc == BL_OK)
        *out = s;
    else
        bl_state_release(&s);
done:
    bl_hasher_free(hasher);
    return rc;
}
