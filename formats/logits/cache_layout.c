/* cache_layout.c - offsets are those of docs/format-cache.md. */
#include "formats/logits/cache_layout.h"

#include "base/le.h"
#include "base/size.h"
#include "base/utf8.h"
#include "formats/logits/cache_values.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { NAME_AT = 128, CHECKSUM_AT = BL_CACHE_HEADER_BYTES - 8 };

static const unsigned char magic[8] = { 0x89, 'B', 'L', 'C', '\r', '\n', 0x1a, '\n' };

static bool name_is_printable(const char *name)
{
    char clean[BL_CACHE_NAME_BYTES + 1];

    memcpy(clean, name, sizeof(clean));
    bl_utf8_make_printable(clean);
    return strcmp(clean, name) == 0;
}

static bool kept_is_possible(const bl_cache_info *i)
{
    const bool draws = i->kind == BL_CACHE_SAMPLED || i->kind == BL_CACHE_MIXED;
    const bool top = i->kind == BL_CACHE_TOP_K || i->kind == BL_CACHE_MIXED;

    return (i->n_draws > 0) == draws && (i->n_top > 0) == top && i->n_draws <= BL_CACHE_MAX_KEPT &&
           i->n_top <= BL_CACHE_MAX_KEPT - i->n_draws &&
           (i->hidden_size > 0) == (i->kind == BL_CACHE_HIDDEN) &&
           i->hidden_size <= BL_CACHE_MAX_HIDDEN;
}

const char *bl_cache_info_fault(const bl_cache_info *info)
{
    if (info->vocab_size < 2 || info->vocab_size > BL_CACHE_MAX_VOCAB)
        return "a vocabulary of this size";
    if (info->n_positions == 0 || info->n_positions > BL_CACHE_MAX_POSITIONS)
        return "sequences of this length";
    if (info->n_seqs == 0 || info->n_shards == 0 || info->n_shards > info->n_seqs ||
        info->n_shards > BL_CACHE_MAX_SHARDS)
        return "this number of shards";
    if (!kept_is_possible(info))
        return "these numbers of draws, top ids and hidden values";
    if (!name_is_printable(info->name))
        return "a name that cannot be printed";
    return NULL;
}

const char *bl_cache_info_difference(const bl_cache_info *a, const bl_cache_info *b)
{
    if (a->kind != b->kind)
        return "kind";
    if (a->vocab_size != b->vocab_size)
        return "size of the vocabulary";
    if (!bl_hash128_equal(a->model, b->model))
        return "teacher";
    if (!bl_hash128_equal(a->tokenizer, b->tokenizer))
        return "tokenizer";
    if (!bl_hash128_equal(a->text, b->text))
        return "text";
    if (a->n_positions != b->n_positions)
        return "length of sequences";
    if (a->n_seqs != b->n_seqs)
        return "number of sequences";
    if (!bl_hash128_equal(a->packing, b->packing))
        return "packing of the text";
    if (a->n_shards != b->n_shards)
        return "number of shards";
    if (a->n_draws != b->n_draws)
        return "number of draws";
    if (a->n_top != b->n_top)
        return "number of top ids";
    if (a->hidden_size != b->hidden_size)
        return "hidden size";
    if (a->seed != b->seed)
        return "seed";
    return strcmp(a->name, b->name) != 0 ? "name of the teacher" : NULL;
}

/* Bits of an id: at least 1. */
static unsigned id_bits(uint32_t vocab_size)
{
    const unsigned bits = vocab_size > 2 ? 32u - (unsigned)__builtin_clz(vocab_size - 1) : 1;

    assert(bits >= 1 && bits <= 24);
    return bits;
}

bool bl_cache_layout_of(bl_cache_layout *out, const bl_cache_header *header)
{
    const bl_cache_info *info = &header->info;
    const bool tail = info->kind == BL_CACHE_TOP_K || info->kind == BL_CACHE_MIXED;
    bl_cache_layout l;

    if (bl_cache_info_fault(info) || header->i_shard >= info->n_shards)
        return false;
    l.first_seq = (uint32_t)((uint64_t)info->n_seqs * header->i_shard / info->n_shards);
    l.n_seqs =
        (uint32_t)((uint64_t)info->n_seqs * (header->i_shard + 1) / info->n_shards) - l.first_seq;
    l.row_bytes =
        (uint32_t)bl_ceil_div_u64((uint64_t)info->n_positions * (id_bits(info->vocab_size) + 1), 8);
    l.stat_bytes = BL_CACHE_STAT_BYTES + (tail ? BL_CACHE_TAIL_BYTES : 0);
    if (!bl_add_u64(&l.tokens, BL_CACHE_HEADER_BYTES, header->data_bytes) ||
        !bl_add_u64(&l.index, l.tokens, (uint64_t)l.n_seqs * l.row_bytes) ||
        !bl_add_u64(&l.tables, l.index, (uint64_t)l.n_seqs * BL_CACHE_INDEX_BYTES) ||
        !bl_add_u64(&l.bytes, l.tables, header->table_bytes))
        return false;
    *out = l;
    return true;
}

static void put_hash(unsigned char *bytes, bl_hash128 hash)
{
    bl_put_u64(bytes, hash.low);
    bl_put_u64(bytes + 8, hash.high);
}

static bl_hash128 get_hash(const unsigned char *bytes)
{
    return (bl_hash128){ .low = bl_get_u64(bytes), .high = bl_get_u64(bytes + 8) };
}

void bl_cache_pack_header(unsigned char bytes[BL_CACHE_HEADER_BYTES], const bl_cache_header *header)
{
    const bl_cache_info *info = &header->info;
    bl_cache_layout layout = { 0 };

    (void)bl_cache_layout_of(&layout, header); /* the writer has looked */
    memset(bytes, 0, BL_CACHE_HEADER_BYTES);
    memcpy(bytes, magic, sizeof(magic));
    bl_put_u16(bytes + 8, BL_CACHE_MAJOR);
    bl_put_u16(bytes + 10, BL_CACHE_MINOR);
    bl_put_u32(bytes + 12, (uint32_t)info->kind);
    bl_put_u64(bytes + 16, layout.bytes);
    bl_put_u32(bytes + 24, info->vocab_size);
    bl_put_u32(bytes + 28, info->n_positions);
    bl_put_u32(bytes + 32, info->n_seqs);
    bl_put_u32(bytes + 36, info->n_shards);
    bl_put_u32(bytes + 40, header->i_shard);
    bl_put_u32(bytes + 44, info->n_draws);
    bl_put_u32(bytes + 48, info->n_top);
    bl_put_u32(bytes + 52, info->hidden_size);
    bl_put_u64(bytes + 56, info->seed);
    put_hash(bytes + 64, info->model);
    put_hash(bytes + 80, info->tokenizer);
    put_hash(bytes + 96, info->text);
    put_hash(bytes + 112, info->packing);
    memcpy(bytes + NAME_AT, info->name, strlen(info->name));
    bl_put_u64(bytes + 256, header->data_bytes);
    bl_put_u32(bytes + 264, header->table_bytes);
    bl_put_u32(bytes + 268, header->widths.a);
    bl_put_u32(bytes + 272, header->widths.b);
    bl_put_u32(bytes + 276, header->widths.c);
    bl_put_u64(bytes + 280, header->n_scored);
    bl_put_u64(bytes + 288, header->n_entries);
    put_hash(bytes + 296, header->tokens);
    bl_put_u64(bytes + 312, header->index);
    bl_put_u64(bytes + 320, header->tables);
    bl_put_u64(bytes + CHECKSUM_AT, bl_hash64(bytes, CHECKSUM_AT));
}

/* Fields of a header whose checksum is right. */
static void read_fields(bl_cache_header *header, const unsigned char *bytes)
{
    *header = (bl_cache_header){
        .info = { .kind = (bl_cache_kind)bl_get_u32(bytes + 12),
                  .vocab_size = bl_get_u32(bytes + 24),
                  .n_positions = bl_get_u32(bytes + 28),
                  .n_seqs = bl_get_u32(bytes + 32),
                  .n_shards = bl_get_u32(bytes + 36),
                  .n_draws = bl_get_u32(bytes + 44),
                  .n_top = bl_get_u32(bytes + 48),
                  .hidden_size = bl_get_u32(bytes + 52),
                  .seed = bl_get_u64(bytes + 56),
                  .model = get_hash(bytes + 64),
                  .tokenizer = get_hash(bytes + 80),
                  .text = get_hash(bytes + 96),
                  .packing = get_hash(bytes + 112) },
        .i_shard = bl_get_u32(bytes + 40),
        .data_bytes = bl_get_u64(bytes + 256),
        .table_bytes = bl_get_u32(bytes + 264),
        .widths = { bl_get_u32(bytes + 268), bl_get_u32(bytes + 272), bl_get_u32(bytes + 276) },
        .n_scored = bl_get_u64(bytes + 280),
        .n_entries = bl_get_u64(bytes + 288),
        .tokens = get_hash(bytes + 296),
        .index = bl_get_u64(bytes + 312),
        .tables = bl_get_u64(bytes + 320),
    };
    memcpy(header->info.name, bytes + NAME_AT, BL_CACHE_NAME_BYTES);
}

static bool coding_is_possible(const bl_cache_header *h, const bl_cache_layout *l)
{
    if (h->info.kind == BL_CACHE_HIDDEN)
        return h->table_bytes == 0 && h->n_entries == 0;
    return h->table_bytes <= BL_CACHE_MAX_TABLES &&
           bl_cache_widths_fit(&h->widths, h->info.vocab_size,
                               (uint64_t)l->n_seqs * h->info.n_positions, h->info.n_positions);
}

bl_status bl_cache_unpack_header(bl_cache_header *header, bl_cache_layout *layout,
                                 const unsigned char bytes[BL_CACHE_HEADER_BYTES],
                                 uint64_t file_bytes, const char *path, struct bl_err *err)
{
    const uint32_t kind = bl_get_u32(bytes + 12);

    if (memcmp(bytes, magic, sizeof(magic)) != 0)
        return bl_fail(err, BL_E_FORMAT, "%s: not a shard of a cache", path);
    if (bl_get_u64(bytes + CHECKSUM_AT) != bl_hash64(bytes, CHECKSUM_AT))
        return bl_fail(err, BL_E_FORMAT, "%s: the header is damaged", path);
    if (bl_get_u16(bytes + 8) != BL_CACHE_MAJOR)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: version %u of caches; this program reads version %d", path,
                       bl_get_u16(bytes + 8), BL_CACHE_MAJOR);
    if (kind < BL_CACHE_SAMPLED || kind > BL_CACHE_HIDDEN)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: a cache of unknown kind %u", path, kind);
    read_fields(header, bytes);
    if (!bl_cache_layout_of(layout, header) || !coding_is_possible(header, layout))
        return bl_fail(err, BL_E_FORMAT, "%s: the header contradicts itself", path);
    if (layout->bytes != file_bytes || bl_get_u64(bytes + 16) != file_bytes)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: has %" PRIu64 " bytes, its header says %" PRIu64 ": truncated?", path,
                       file_bytes, layout->bytes);
    return BL_OK;
}

void bl_cache_pack_index(unsigned char bytes[BL_CACHE_INDEX_BYTES], const bl_cache_index *index)
{
    bl_put_u64(bytes, index->offset);
    bl_put_u64(bytes + 8, index->hash);
    bl_put_u32(bytes + 16, index->n_scored);
    bl_put_u32(bytes + 20, index->n_entries);
}

void bl_cache_unpack_index(bl_cache_index *index, const unsigned char bytes[BL_CACHE_INDEX_BYTES])
{
    *index = (bl_cache_index){ .offset = bl_get_u64(bytes),
                               .hash = bl_get_u64(bytes + 8),
                               .n_scored = bl_get_u32(bytes + 16),
                               .n_entries = bl_get_u32(bytes + 20) };
}

void bl_cache_pack_tokens(unsigned char *row, const bl_cache_seq *seq, uint32_t vocab_size)
{
    const unsigned bits = id_bits(vocab_size);
    uint64_t waiting = 0;
    unsigned n_waiting = 0;
    size_t at = 0;

    for (uint32_t i = 0; i < seq->n_positions; i++) {
        const uint64_t begins = seq->start[i] == i;

        waiting |= ((uint64_t)seq->token[i] | begins << bits) << n_waiting;
        for (n_waiting += bits + 1; n_waiting >= 8; n_waiting -= 8, waiting >>= 8)
            row[at++] = (unsigned char)waiting;
    }
    if (n_waiting > 0)
        row[at] = (unsigned char)waiting;
}

const char *bl_cache_unpack_tokens(bl_cache_seq *seq, const unsigned char *row,
                                   uint32_t n_positions, uint32_t vocab_size)
{
    const unsigned bits = id_bits(vocab_size);
    const uint64_t mask = ((uint64_t)1 << bits) - 1;
    uint64_t waiting = 0;
    unsigned n_waiting = 0;
    uint32_t start = 0;

    for (uint32_t i = 0; i < n_positions; i++) {
        bool begins;

        for (; n_waiting < bits + 1; n_waiting += 8)
            waiting |= (uint64_t)*row++ << n_waiting;
        seq->token[i] = (int32_t)(waiting & mask);
        begins = waiting >> bits & 1;
        waiting >>= bits + 1;
        n_waiting -= bits + 1;
        if ((uint32_t)seq->token[i] >= vocab_size)
            return "has a token that is not in the vocabulary";
        if (i == 0 && !begins)
            return "has a text that begins nowhere";
        start = begins ? i : start;
        seq->start[i] = start;
        seq->target[i] = -1;
        if (!begins)
            seq->target[i - 1] = seq->token[i];
    }
    return waiting != 0 ? "has bits behind its tokens" : NULL;
}
