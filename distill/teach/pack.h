/*
 * pack.h - a text as packed sequences: what teacher and student both see, token for token.
 *
 * Documents (files, or the pieces of a file between separators) are tokenized one by one, BOS in front
 * where the tokenizer adds one, EOS behind where it has one, unless the text has them there itself, and
 * laid end to end into sequences of n_positions tokens; a document that reaches over the end of a
 * sequence goes on in the next as a piece that sees nothing of what was before. Tokens see only their
 * own document or piece (`start`): rotary positions are relative, so a document gives the same logits
 * wherever it lies. What does not fill the last sequence is left out, unless it is the only one, which
 * is then shorter: n_positions is cut.
 */
#ifndef BL_DISTILL_PACK_H
#define BL_DISTILL_PACK_H

#include "base/err.h"
#include "base/hash.h"
#include "formats/ckpt/ckpt.h"

#include <stdint.h>

typedef struct bl_pack {
    uint32_t n_seqs, n_positions;
    int32_t *token;  /* [n_seqs][n_positions] */
    uint32_t *start; /* [n_seqs][n_positions], positions within the sequence */
    uint64_t n_text_tokens, n_documents, n_dropped; /* dropped: tokens left out at the end */
    bl_hash128 text, tokenizer, packing;
} bl_pack;

typedef struct bl_pack_options {
    uint32_t n_positions;
    const char
        *separator;      /* of documents in a file: a line of its own; NULL: a file is a document */
    uint64_t max_tokens; /* 0: all */
} bl_pack_options;

/*
 * path: a file, or a folder whose plain files are taken by name, those that begin with a dot left out.
 * text: XXH3-128 of each file's length (u64) and bytes; packing: of n_seqs and n_positions, then for
 * each sequence its tokens and its starts (all u32); little-endian. BL_E_USAGE when the text has less
 * than two tokens.
 */
BL_MUST_USE bl_status bl_pack_text(bl_pack *out, const bl_ckpt *ckpt, const char *path,
                                   const bl_pack_options *options, struct bl_err *err);
void bl_pack_release(bl_pack *pack); /* zeroed is allowed */

/* What is to be said behind place i (sequence * n_positions + position): the next token, or -1. */
int32_t bl_pack_target(const bl_pack *pack, size_t i);

/*
 * The hash that makes two vocabularies comparable: of the bytes that every token stands for and its id,
 * and BOS and EOS. The same for a checkpoint in any container.
 */
BL_MUST_USE bl_status bl_pack_tokenizer_hash(bl_hash128 *out, const bl_ckpt *ckpt,
                                             struct bl_err *err);

#endif
