/*
 * tokenizer_file.h - tokenizer.json (and tokenizer_config.json) as plain tables. formats/gguf makes
 * the same tables of the tokenizer in a GGUF file.
 *
 * Byte-level BPE as published with DeepSeek, Qwen, Llama, GPT-2 and SmolLM models: a vocabulary in
 * the byte-level alphabet of GPT-2, merges by rank, added tokens, split expressions. What these
 * tables cannot describe (Unigram, WordPiece, byte fallback, dropout, other normalizers and
 * pre-tokenizers) is BL_E_UNSUPPORTED, by name. Facts only: model/tokenizer applies them, the GGUF
 * writer copies them.
 *
 * Immutable after it was read: threads may share it.
 * Source: the files of the Python package `tokenizers` 0.23; formats are those of its 0.15 to 0.23.
 */
#ifndef BL_FORMATS_TOKENIZER_FILE_H
#define BL_FORMATS_TOKENIZER_FILE_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BL_TOKENIZER_MAX_IDS = 1 << 24, /* ids are below this */
    BL_TOKENIZER_MAX_SPLITS = 16
};

typedef struct bl_vocab_token {
    const char *text; /* NUL-terminated; of the model: in the byte-level alphabet, as written;
                         added: plain UTF-8; NULL = no token has this id */
    uint32_t n_bytes; /* of text */
    int32_t added;    /* index into added[], or -1 */
    bool in_model;    /* part of the model's own vocabulary (an added token may be, too) */
} bl_vocab_token;

typedef struct bl_merge {
    uint32_t left, right, result; /* ids; text(result) is text(left) followed by text(right) */
} bl_merge;

typedef struct bl_added_token {
    uint32_t id; /* its text is token[id].text, never empty */
    bool special, normalized, lstrip, rstrip, single_word;
} bl_added_token;

/* One step of the pre-tokenizer: what an expression matches, and what lies between, are pieces. */
typedef struct bl_split {
    const char *pattern; /* in Oniguruma's syntax; NULL = no cut */
    bool prefix_space;   /* first put a space before every piece that does not begin with one */
} bl_split;

typedef struct bl_tokenizer_file {
    bl_arena arena;
    const char *name; /* for sentences: the path of the file it was read from */

    uint32_t n_ids; /* the largest id + 1: indices of token[] */
    bl_vocab_token *token;
    uint32_t n_merges;
    bl_merge *merge; /* index = rank: the lowest is merged first; each pair once */
    uint32_t n_added;
    bl_added_token *added;

    bool ignore_merges; /* a piece that is a token of the model is taken whole */
    bool emits_unk;     /* a byte without a token becomes an unknown token; else it is left out */
    bool nfc;           /* text is brought to Unicode normal form C first */
    uint32_t n_splits;
    bl_split split[BL_TOKENIZER_MAX_SPLITS];

    /* From tokenizer_config.json or GGUF keys; -1 and NULL for what these do not name. */
    int64_t bos, eos, pad, unk;
    bool add_bos; /* the model expects BOS in front of a text */
    bool add_eos;
    const char *chat_template;
} bl_tokenizer_file;

/*
 * Read the texts of tokenizer.json and, unless NULL, tokenizer_config.json. name: the path of the
 * first, for sentences. Neither text is kept. The caller frees *out.
 * Fails with BL_E_FORMAT, BL_E_UNSUPPORTED or BL_E_NOMEM.
 */
BL_MUST_USE bl_status bl_tokenizer_file_parse(bl_tokenizer_file **out, const char *name,
                                              const char *json, size_t n_json, const char *config,
                                              size_t n_config, struct bl_err *err);

/* The same from a directory that holds tokenizer.json and perhaps tokenizer_config.json. */
BL_MUST_USE bl_status bl_tokenizer_file_open(bl_tokenizer_file **out, const char *directory,
                                             struct bl_err *err);

void bl_tokenizer_file_free(bl_tokenizer_file *file);

/*
 * The name under which llama.cpp knows these split expressions (tokenizer.ggml.pre), or NULL.
 * Found from the expressions themselves and ignore_merges; NFC is not part of llama.cpp's rules.
 */
const char *bl_tokenizer_gguf_pre(const bl_tokenizer_file *file);

/*
 * The way back: set the split expressions, ignore_merges and the default of add_bos that llama.cpp
 * means by a name of n bytes. False, and nothing set, for a name that the table lacks.
 */
bool bl_tokenizer_use_gguf_pre(bl_tokenizer_file *file, const char *name, size_t n);

/* GPT-2's byte-level alphabet: the byte that a code point stands for, or -1. */
int bl_byte_of_code_point(uint32_t code_point);
uint32_t bl_code_point_of_byte(uint8_t byte);

#endif
