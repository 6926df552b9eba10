/*
 * logits_layout.h - what a file of kept logits says of itself, and where everything lies in it
 * (docs/format-logits.md).
 *
 * The file keeps what a reference model said about a text, so that the reference runs once:
 *     sparse   the likeliest tokens with their probabilities, and a sample of the others
 *     hidden   the last hidden state in BF16, with the output head in front: exact
 * with the tokens of the text, so that it can be used alone. Nothing here knows a model.
 *
 * Bytes a scored token, sparse, 12 + 16 tokens kept, llama.cpp's rule with ctx 512:
 *     record 12 + 28 * 6 = 180, text 512 * 4 / 255 = 8.03, sequence 16 / 255 = 0.06,
 *     block hash 8 / 64 = 0.13: 188.2 at any vocabulary.
 */
#ifndef BL_FORMATS_LOGITS_LAYOUT_H
#define BL_FORMATS_LOGITS_LAYOUT_H

#include "base/err.h"
#include "base/hash.h"
#include "formats/dtype/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BL_LOGITS_MAJOR = 1,
    BL_LOGITS_MINOR = 0,
    BL_LOGITS_HEADER_BYTES = 256,
    BL_LOGITS_SEQ_BYTES = 16,
    BL_LOGITS_END_BYTES = 16,
    BL_LOGITS_BLOCK_ROWS = 64, /* of the head or of records under one hash */
    BL_LOGITS_NAME_BYTES = 127,
    BL_LOGITS_MAX_VOCAB = (1 << 24) - 1, /* ids are 24 bits; the last means none */
    BL_LOGITS_MAX_KEPT = 64,             /* tokens in a sparse record */
    BL_LOGITS_N_TOP = 12,                /* what our writers keep */
    BL_LOGITS_N_SAMPLES = 16
};

typedef enum bl_logits_kind { BL_LOGITS_SPARSE = 1, BL_LOGITS_HIDDEN = 2 } bl_logits_kind;

typedef struct bl_logits_info {
    bl_logits_kind kind;
    uint32_t vocab_size;
    uint32_t n_seqs, n_positions; /* the text: n_seqs sequences of n_positions tokens */
    uint32_t stride;              /* of the windows it was cut into; 0: chunks, llama.cpp's rule */
    int64_t bos;                  /* what replaced each chunk's first token; -1: nothing */
    uint64_t n_scored;            /* records */
    bl_hash128 tokens;            /* XXH3-128 of the tokens as they lie in the file */
    bl_hash128 model;             /* of the reference: formats/ckpt/fingerprint.h */
    char name[BL_LOGITS_NAME_BYTES + 1]; /* of the reference, for people; no path */
    uint32_t n_top, n_samples;           /* sparse */
    uint32_t hidden_size;                /* hidden */
    bl_dtype head_type;                  /* hidden: BL_BF16 or BL_F32 */
} bl_logits_info;

/* Scored positions of one sequence: [first_position, first_position + n_records). */
typedef struct bl_logits_seq {
    uint64_t first_record;
    uint32_t first_position, n_records;
} bl_logits_seq;

/* Offsets in the file, and sizes. Record i is the record_bytes at records + i * record_bytes. */
typedef struct bl_logits_layout {
    uint64_t seqs, head, records, hashes, file_bytes; /* tokens start behind the header */
    uint64_t n_head;                                  /* rows of the output head, or 0 */
    uint64_t head_bytes, record_bytes;                /* of one row, of one record */
    uint64_t n_blocks;                                /* hashes: of the head, then of the records */
} bl_logits_layout;

/* False when the numbers make no file: none of something, or too much. */
bool bl_logits_layout_of(bl_logits_layout *out, const bl_logits_info *info);

/* Checksum of the table of sequences, which the header has too. */
void bl_logits_pack_header(unsigned char bytes[BL_LOGITS_HEADER_BYTES], const bl_logits_info *info,
                           uint64_t seqs_hash);

/*
 * BL_E_FORMAT (no such file, damaged, numbers that cannot be), BL_E_UNSUPPORTED (a later version).
 * path: for the sentence.
 */
BL_MUST_USE bl_status bl_logits_unpack_header(bl_logits_info *info, bl_logits_layout *layout,
                                              uint64_t *seqs_hash,
                                              const unsigned char bytes[BL_LOGITS_HEADER_BYTES],
                                              uint64_t file_bytes, const char *path,
                                              struct bl_err *err);

void bl_logits_pack_seq(unsigned char bytes[BL_LOGITS_SEQ_BYTES], const bl_logits_seq *seq);
void bl_logits_unpack_seq(bl_logits_seq *seq, const unsigned char bytes[BL_LOGITS_SEQ_BYTES]);

/* "sparse", "hidden". */
const char *bl_logits_kind_name(bl_logits_kind kind);

#endif
