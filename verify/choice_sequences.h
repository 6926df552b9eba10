/*
 * choice_sequences.h - multiple-choice items as sequences of tokens, and what is scored in them.
 *
 * Prompt and choice are tokenised as one text, BOS in front where the tokenizer adds it. The
 * context of an item is the longest run of tokens with which its prompt alone and all its prompts
 * with a choice begin; what follows it in prompt + choice is scored. So a token in which prompt and
 * choice have merged counts as the choice's, and all choices of an item answer the same question.
 *
 * A choice's last token is predicted, never read. One that reads nothing but the beginning of what
 * another choice of its item reads needs no sequence of its own: items whose choices are single
 * tokens ("A", "B", ...) take one sequence each.
 */
#ifndef BL_VERIFY_CHOICE_SEQUENCES_H
#define BL_VERIFY_CHOICE_SEQUENCES_H

#include "model/tokenizer/tokenizer.h"
#include "verify/choice_items.h"

typedef struct bl_choice_sequences {
    uint32_t n_seqs, n_positions; /* n_positions: of the longest */
    int32_t *token;               /* [n_seqs][n_positions], padded behind */
    size_t n_scored;              /* by ascending place, then choice */
    size_t *place;                /* [n_scored] in token: the token behind it is scored */
    int32_t *target;              /* [n_scored] that token */
    uint32_t *choice;             /* [n_scored] whose it is, among the choices of all items */
} bl_choice_sequences;

/*
 * ctx: the most tokens that a prompt with its choice may have, BOS included. vocab_size: ids of the
 * tokenizer must be below it. The caller releases *out. Fails with BL_E_USAGE, naming the line, when
 * an item is longer or leaves nothing to predict, or to predict from.
 */
BL_MUST_USE bl_status bl_choice_sequences_make(bl_choice_sequences *out,
                                               const bl_choice_items *items,
                                               const bl_tokenizer *tokenizer, bool add_bos,
                                               uint32_t ctx, uint32_t vocab_size,
                                               struct bl_err *err);
void bl_choice_sequences_release(bl_choice_sequences *sequences);

#endif
