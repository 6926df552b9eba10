/* logits_layout.c - offsets are those of docs/format-logits.md. */
#include "formats/logits/logits_layout.h"

#include "base/le.h"
#include "base/size.h"
#include "base/utf8.h"
#include "formats/logits/logits_sparse.h"

#include <inttypes.h>
#include <string.h>

enum { NAME_AT = 112, CHECKSUM_AT = BL_LOGITS_HEADER_BYTES - 8 };

/* As in .bln: a byte that 7-bit transfer breaks, line ends that text transfer breaks. */
static const unsigned char magic[8] = { 0x89, 'B', 'L', 'G', '\r', '\n', 0x1a, '\n' };

static const uint32_t no_bos = UINT32_MAX;

const char *bl_logits_kind_name(bl_logits_kind kind)
{
    return kind == BL_LOGITS_HIDDEN ? "hidden" : "sparse";
}

/* *at moves behind n rows of row_bytes. */
static bool step(uint64_t *at, uint64_t n, uint64_t row_bytes)
{
    uint64_t bytes;

    return bl_mul_u64(&bytes, n, row_bytes) && bl_add_u64(at, *at, bytes);
}

static bool sizes_are_possible(const bl_logits_info *i)
{
    if (i->vocab_size == 0 || i->vocab_size > BL_LOGITS_MAX_VOCAB || i->n_seqs == 0 ||
        i->n_positions < 2 || i->n_scored == 0)
        return false;
    if (i->kind == BL_LOGITS_SPARSE)
        return i->n_top > 0 && i->n_top <= BL_LOGITS_MAX_KEPT && i->n_samples > 0 &&
               i->n_samples <= BL_LOGITS_MAX_KEPT - i->n_top && i->hidden_size == 0;
    return i->hidden_size > 0 && i->hidden_size <= 1 << 20 && i->n_top == 0 && i->n_samples == 0;
}

bool bl_logits_layout_of(bl_logits_layout *out, const bl_logits_info *info)
{
    const bool hidden = info->kind == BL_LOGITS_HIDDEN;
    bl_logits_layout l = { .seqs = BL_LOGITS_HEADER_BYTES };

    if (!sizes_are_possible(info))
        return false;
    l.n_head = hidden ? info->vocab_size : 0;
    l.head_bytes = hidden ? (uint64_t)info->hidden_size * (info->head_type == BL_F32 ? 4 : 2) : 0;
    l.record_bytes = hidden ? (uint64_t)info->hidden_size * 2
                            : bl_logits_sparse_bytes(info->n_top, info->n_samples);
    l.n_blocks = bl_ceil_div_u64(l.n_head, BL_LOGITS_BLOCK_ROWS) +
                 bl_ceil_div_u64(info->n_scored, BL_LOGITS_BLOCK_ROWS);
    if (!step(&l.seqs, (uint64_t)info->n_seqs * info->n_positions, 4))
        return false;
    l.head = l.seqs;
    if (!step(&l.head, info->n_seqs, BL_LOGITS_SEQ_BYTES))
        return false;
    l.records = l.head;
    if (!step(&l.records, l.n_head, l.head_bytes))
        return false;
    l.hashes = l.records;
    if (!step(&l.hashes, info->n_scored, l.record_bytes))
        return false;
    l.file_bytes = l.hashes;
    if (!step(&l.file_bytes, l.n_blocks, 8) || !step(&l.file_bytes, 1, BL_LOGITS_END_BYTES))
        return false;
    *out = l;
    return true;
}

/* Numbers of element types are those of .bln. */
static uint32_t head_type_number(const bl_logits_info *info)
{
    if (info->kind != BL_LOGITS_HIDDEN)
        return 0;
    return info->head_type == BL_F32 ? 20 : 19;
}

void bl_logits_pack_header(unsigned char bytes[BL_LOGITS_HEADER_BYTES], const bl_logits_info *info,
                           uint64_t seqs_hash)
{
    const bool sparse = info->kind == BL_LOGITS_SPARSE;
    bl_logits_layout layout = { 0 };

    (void)bl_logits_layout_of(&layout, info); /* the writer has looked */
    memset(bytes, 0, BL_LOGITS_HEADER_BYTES);
    memcpy(bytes, magic, sizeof(magic));
    bl_put_u16(bytes + 8, BL_LOGITS_MAJOR);
    bl_put_u16(bytes + 10, BL_LOGITS_MINOR);
    bl_put_u32(bytes + 12, (uint32_t)info->kind);
    bl_put_u64(bytes + 16, layout.file_bytes);
    bl_put_u32(bytes + 24, info->vocab_size);
    bl_put_u32(bytes + 28, info->n_positions);
    bl_put_u32(bytes + 32, info->n_seqs);
    bl_put_u32(bytes + 36, info->stride);
    bl_put_u32(bytes + 40, info->bos < 0 ? no_bos : (uint32_t)info->bos);
    bl_put_u32(bytes + 44, (uint32_t)layout.record_bytes);
    bl_put_u64(bytes + 48, info->n_scored);
    bl_put_u16(bytes + 56, sparse ? (uint16_t)info->n_top : 0);
    bl_put_u16(bytes + 58, sparse ? (uint16_t)info->n_samples : 0);
    bl_put_u32(bytes + 60, sparse ? 0 : info->hidden_size);
    bl_put_u32(bytes + 64, head_type_number(info));
    bl_put_u32(bytes + 68, BL_LOGITS_BLOCK_ROWS);
    bl_put_u64(bytes + 72, info->tokens.low);
    bl_put_u64(bytes + 80, info->tokens.high);
    bl_put_u64(bytes + 88, info->model.low);
    bl_put_u64(bytes + 96, info->model.high);
    bl_put_u64(bytes + 104, seqs_hash);
    memcpy(bytes + NAME_AT, info->name, strlen(info->name));
    bl_put_u64(bytes + CHECKSUM_AT, bl_hash64(bytes, CHECKSUM_AT));
}

/* Fields of a header whose checksum is right. */
static void read_fields(bl_logits_info *info, const unsigned char *bytes)
{
    uint32_t bos = bl_get_u32(bytes + 40);

    *info = (bl_logits_info){
        .kind = (bl_logits_kind)bl_get_u32(bytes + 12),
        .vocab_size = bl_get_u32(bytes + 24),
        .n_positions = bl_get_u32(bytes + 28),
        .n_seqs = bl_get_u32(bytes + 32),
        .stride = bl_get_u32(bytes + 36),
        .bos = bos == no_bos ? -1 : (int64_t)bos,
        .n_scored = bl_get_u64(bytes + 48),
        .n_top = bl_get_u16(bytes + 56),
        .n_samples = bl_get_u16(bytes + 58),
        .hidden_size = bl_get_u32(bytes + 60),
        .head_type = bl_get_u32(bytes + 64) == 20 ? BL_F32 : BL_BF16,
        .tokens = { .low = bl_get_u64(bytes + 72), .high = bl_get_u64(bytes + 80) },
        .model = { .low = bl_get_u64(bytes + 88), .high = bl_get_u64(bytes + 96) },
    };
    memcpy(info->name, bytes + NAME_AT, BL_LOGITS_NAME_BYTES);
}

static bool name_is_printable(const char *name)
{
    char clean[BL_LOGITS_NAME_BYTES + 1];

    memcpy(clean, name, sizeof(clean));
    bl_utf8_make_printable(clean);
    return strcmp(clean, name) == 0;
}

bl_status bl_logits_unpack_header(bl_logits_info *info, bl_logits_layout *layout,
                                  uint64_t *seqs_hash,
                                  const unsigned char bytes[BL_LOGITS_HEADER_BYTES],
                                  uint64_t file_bytes, const char *path, struct bl_err *err)
{
    uint32_t kind = bl_get_u32(bytes + 12), head = bl_get_u32(bytes + 64);

    if (memcmp(bytes, magic, sizeof(magic)) != 0)
        return bl_fail(err, BL_E_FORMAT, "%s: not a file of kept logits", path);
    if (bl_get_u64(bytes + CHECKSUM_AT) != bl_hash64(bytes, CHECKSUM_AT))
        return bl_fail(err, BL_E_FORMAT, "%s: the header is damaged", path);
    if (bl_get_u16(bytes + 8) != BL_LOGITS_MAJOR)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: version %u of kept logits; this program reads version %d", path,
                       bl_get_u16(bytes + 8), BL_LOGITS_MAJOR);
    if (kind != BL_LOGITS_SPARSE && kind != BL_LOGITS_HIDDEN)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: kept logits of unknown kind %u", path, kind);
    if (head != 0 && head != 19 && head != 20)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: an output head of unknown type %u", path, head);
    read_fields(info, bytes);
    if (!bl_logits_layout_of(layout, info) || (head == 0) != (kind == BL_LOGITS_SPARSE) ||
        layout->record_bytes != bl_get_u32(bytes + 44) ||
        bl_get_u32(bytes + 68) != BL_LOGITS_BLOCK_ROWS || info->bos >= (int64_t)info->vocab_size ||
        !name_is_printable(info->name))
        return bl_fail(err, BL_E_FORMAT, "%s: the header contradicts itself", path);
    if (layout->file_bytes != file_bytes || bl_get_u64(bytes + 16) != file_bytes)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: has %" PRIu64 " bytes, its header says %" PRIu64 ": truncated?", path,
                       file_bytes, layout->file_bytes);
    *seqs_hash = bl_get_u64(bytes + 104);
    return BL_OK;
}

void bl_logits_pack_seq(unsigned char bytes[BL_LOGITS_SEQ_BYTES], const bl_logits_seq *seq)
{
    bl_put_u64(bytes, seq->first_record);
    bl_put_u32(bytes + 8, seq->first_position);
    bl_put_u32(bytes + 12, seq->n_records);
}

void bl_logits_unpack_seq(bl_logits_seq *seq, const unsigned char bytes[BL_LOGITS_SEQ_BYTES])
{
    *seq = (bl_logits_seq){ .first_record = bl_get_u64(bytes),
                            .first_position = bl_get_u32(bytes + 8),
                            .n_records = bl_get_u32(bytes + 12) };
}
