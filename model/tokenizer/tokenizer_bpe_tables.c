/*
 * tokenizer_bpe_tables.c - building the tables: tokens spelled as bytes, then indexed.
 */
#include "model/tokenizer/tokenizer_bpe_tables.h"

#include "base/alloc.h"

/* The bytes that a text in the alphabet stands for; 0 when it is not spelled in it. */
static size_t spell(char *out, const char *text, uint32_t n)
{
    size_t count = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t c = (unsigned char)text[i];
        int byte;

        if (c >= 0xe0 || (c >= 0x80 && i + 1 == n))
            return 0; /* the alphabet ends at U+0143 */
        if (c >= 0x80)
            c = (c & 0x1fu) << 6 | ((unsigned char)text[++i] & 0x3fu);
        byte = bl_byte_of_code_point(c);
        if (byte < 0)
            return 0;
        out[count++] = (char)byte;
    }
    return count;
}

static bl_status spell_tokens(struct bl_bpe_tables *t, const bl_tokenizer_file *file,
                              struct bl_err *err)
{
    uint64_t room = 0;
    uint32_t used = 0;

    for (uint32_t id = 0; id < file->n_ids; id++)
        room += file->token[id].n_bytes;
    if (room > UINT32_MAX)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: the vocabulary is too large", file->name);
    t->bytes = bl_alloc((size_t)room, 1);
    t->begin = bl_alloc((size_t)file->n_ids + 1, sizeof(*t->begin));
    if (!t->bytes || !t->begin)
        return bl_fail_nomem(err, file->name);
    for (uint32_t id = 0; id < file->n_ids; id++) {
        const bl_vocab_token *token = &file->token[id];

        t->begin[id] = used;
        if (token->in_model)
            used += (uint32_t)spell(t->bytes + used, token->text, token->n_bytes);
    }
    t->begin[file->n_ids] = used;
    return BL_OK;
}

static uint64_t slots_for(uint64_t n)
{
    uint64_t slots = 16;

    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

static bl_status index_pieces(struct bl_bpe_tables *t, const bl_tokenizer_file *file,
                              struct bl_err *err)
{
    t->n_piece_slots = slots_for(t->n_ids);
    t->piece = bl_alloc((size_t)t->n_piece_slots, sizeof(*t->piece));
    if (!t->piece)
        return bl_fail_nomem(err, file->name);
    memset(t->piece, 0xff, (size_t)t->n_piece_slots * sizeof(*t->piece));
    memset(t->byte_id, 0xff, sizeof(t->byte_id));
    for (uint32_t id = 0; id < t->n_ids; id++) {
        const char *bytes = t->bytes + t->begin[id];
        size_t n = t->begin[id + 1] - t->begin[id];
        uint64_t hash, i;

        if (n == 0)
            continue;
        if (n == 1)
            t->byte_id[(unsigned char)*bytes] = (int32_t)id;
        hash = bl_hash64(bytes, n);
        i = (hash >> 32) & (t->n_piece_slots - 1);
        while (t->piece[i].id >= 0)
            i = (i + 1) & (t->n_piece_slots - 1);
        t->piece[i] = (struct bl_piece_slot){ (uint32_t)hash, (int32_t)id };
    }
    return BL_OK;
}

static bl_status index_pairs(struct bl_bpe_tables *t, const bl_tokenizer_file *file,
                             struct bl_err *err)
{
    t->n_pair_slots = slots_for(file->n_merges);
    t->pair = bl_alloc((size_t)t->n_pair_slots, sizeof(*t->pair));
    if (!t->pair)
        return bl_fail_nomem(err, file->name);
    memset(t->pair, 0xff, (size_t)t->n_pair_slots * sizeof(*t->pair));
    for (uint32_t rank = 0; rank < file->n_merges; rank++) {
        const bl_merge *m = &file->merge[rank];
        uint64_t i = bl_hash_pair(m->left, m->right) & (t->n_pair_slots - 1);

        while (t->pair[i].rank != BL_NO_RANK)
            i = (i + 1) & (t->n_pair_slots - 1);
        t->pair[i] = (struct bl_pair_slot){ m->left, m->right, (int32_t)rank, (int32_t)m->result };
    }
    return BL_OK;
}

/* Text may contain any byte but those that UTF-8 never uses. */
static bl_status check_bytes(const struct bl_bpe_tables *t, const bl_tokenizer_file *file,
                             struct bl_err *err)
{
    for (int byte = 0; byte < 256 && file->emits_unk; byte++)
        if (t->byte_id[byte] < 0 && byte < 0xf5 && byte != 0xc0 && byte != 0xc1)
            return bl_fail(err, BL_E_UNSUPPORTED,
                           "%s: byte 0x%02x has no token, and an unknown token is named",
                           file->name, byte);
    return BL_OK;
}

bl_status bl_bpe_tables_build(struct bl_bpe_tables *t, const bl_tokenizer_file *file,
                              struct bl_err *err)
{
    bl_status rc;

    t->n_ids = file->n_ids;
    rc = spell_tokens(t, file, err);
    if (rc == BL_OK)
        rc = index_pieces(t, file, err);
    if (rc == BL_OK)
        rc = index_pairs(t, file, err);
    return rc == BL_OK ? check_bytes(t, file, err) : rc;
}

void bl_bpe_tables_release(struct bl_bpe_tables *t)
{
    bl_free(t->bytes);
    bl_free(t->begin);
    bl_free(t->pair);
    bl_free(t->piece);
    *t = (struct bl_bpe_tables){ 0 };
}
