/*
 * kept_logits.h - a reference's answers about a text, kept in a file so that the reference runs once,
 * and models compared with that file: perplexity.c's road, with the file in the place of a model.
 *
 * Calling sequence, saving and comparing alike:
 *     bl_kept_save(&kept, path, kind, force, ref, err)   or   bl_kept_open(&kept, path, err)
 *     bl_kept_begin(kept, &text, ckpt, err)                  the file is about this text
 *     bl_score_run() with .heads = bl_kept_heads, .context = kept    one model
 *     bl_kept_verdict(kept, i)                               of every scored token
 *     bl_kept_commit(kept, err)                              saving: now the file is there
 *     bl_kept_free(kept)
 *
 * The logits are taken in groups of tokens, so memory does not grow with the text but for 40 bytes
 * a token: about 800 bytes for each of 16,384 tokens (sparse), 2 x hidden_size x 4 bytes for each of
 * 4,096 (hidden), 256 MiB of whole rows (llama.cpp's file). A group reads the output head once.
 */
#ifndef BL_VERIFY_KEPT_LOGITS_H
#define BL_VERIFY_KEPT_LOGITS_H

#include "formats/ckpt/ckpt.h"
#include "model/head.h"
#include "verify/logit_compare.h"

typedef enum bl_kept_kind {
    BL_KEPT_SPARSE,
    BL_KEPT_HIDDEN,
    BL_KEPT_GGML, /* llama.cpp's file */
    BL_KEPT_N_KINDS
} bl_kept_kind;

/* "sparse", "hidden", "llama.cpp"; false when it is none of them. */
bool bl_kept_kind_of(bl_kept_kind *out, const char *name);
const char *bl_kept_kind_name(bl_kept_kind kind);

/* A text as perplexity.c cut it; borrowed until the verdicts are taken. */
typedef struct bl_kept_text {
    const int32_t *token; /* [n_seqs][n_positions] */
    uint32_t n_seqs, n_positions;
    const size_t *row;     /* [n_scored] sequence * n_positions + position, ascending */
    const int32_t *target; /* [n_scored] */
    const size_t *first;   /* [n_seqs + 1] where each sequence's scores begin */
    size_t n_scored;
    uint32_t stride; /* 0: llama.cpp's chunks */
    int64_t bos;     /* in each chunk's first place; -1: not put there */
} bl_kept_text;

typedef struct bl_kept bl_kept;

/* The file will be about ref, which is named and hashed in it. Nothing is opened yet. */
BL_MUST_USE bl_status bl_kept_save(bl_kept **out, const char *path, bl_kept_kind kind, bool force,
                                   const bl_ckpt *ref, struct bl_err *err);

/* A file of any kind, to compare with. */
BL_MUST_USE bl_status bl_kept_open(bl_kept **out, const char *path, struct bl_err *err);
void bl_kept_free(bl_kept *kept); /* NULL is allowed; what is not committed leaves nothing */

/*
 * Saving: open the output. Comparing: BL_E_MISMATCH when the file is about another text, cut or
 * vocabulary, with what to do about it. ckpt: the model that will be run.
 */
BL_MUST_USE bl_status bl_kept_begin(bl_kept *kept, const bl_kept_text *text, const bl_ckpt *ckpt,
                                    struct bl_err *err);

/* A bl_heads_fn (verify/score.h) with the bl_kept as context; one model. */
BL_MUST_USE bl_status bl_kept_heads(void *kept, const bl_head *head, size_t n_models, size_t first,
                                    size_t n, struct bl_err *err);

/* Saving: only nll, that of the reference. */
bl_logit_verdict bl_kept_verdict(const bl_kept *kept, size_t token);

/* For tests: take so many tokens at a time; 0 as it is best. */
void bl_kept_set_group(bl_kept *kept, size_t n_tokens);

BL_MUST_USE bl_status bl_kept_commit(bl_kept *kept, struct bl_err *err); /* comparing: nothing */

/* For reports. */
bool bl_kept_is_reference(const bl_kept *kept); /* it was opened to compare with */
const char *bl_kept_path(const bl_kept *kept);
bl_kept_kind bl_kept_kind_in(const bl_kept *kept);
/* Both empty where the file does not name its model. hash: 32 hexadecimal digits and a NUL. */
const char *bl_kept_model(const bl_kept *kept);
void bl_kept_model_hash(char hash[33], const bl_kept *kept);

/* How the file's text was cut; llama.cpp's file does not say its BOS, and bos is -1. */
typedef struct bl_kept_rule {
    uint32_t ctx, stride;
    int64_t bos;
    uint64_t n_tokens; /* of the text, as far as it was cut */
} bl_kept_rule;

bl_kept_rule bl_kept_rule_of(const bl_kept *kept);

/*
 * The text as the file has it, rule.n_tokens of it, which is cut by the file's own rule as it was:
 * no tokenizer is needed, but for the BOS of llama.cpp's file. The caller frees *token.
 */
BL_MUST_USE bl_status bl_kept_tokens(int32_t **token, const bl_kept *kept, struct bl_err *err);

#endif
