/*
 * kept_kind.h - what kept_logits.c asks of each kind of file. Internal to verify.
 */
#ifndef BL_VERIFY_KEPT_KIND_H
#define BL_VERIFY_KEPT_KIND_H

#include "formats/logits/ggml_logits.h"
#include "formats/logits/logits_reader.h"
#include "formats/logits/logits_writer.h"
#include "verify/kept_logits.h"

/* Tokens [first, first + n) of the text: their logits, their records, their verdicts. */
typedef bl_status (*bl_kept_group_fn)(bl_kept *kept, const bl_head *head, size_t first, size_t n,
                                      struct bl_err *err);

struct bl_kept {
    char *path;
    bl_kept_kind kind;
    bool saving, force;
    size_t group;        /* tokens taken at a time; 0: as it is best */
    bl_logits_info info; /* sparse, hidden: what the file says */
    bl_logits_writer *writer;
    bl_logits_reader *reader;
    bl_ggml_logits_writer *ggml_writer;
    bl_ggml_logits *ggml;
    bl_kept_text text;
    bl_logit_verdict *verdict; /* [text.n_scored] */
};

/* kept_save.c */
BL_MUST_USE bl_status bl_kept_begin_file(bl_kept *kept, const bl_ckpt *ckpt, struct bl_err *err);
BL_MUST_USE bl_status bl_kept_save_head(bl_kept *kept, const bl_head *head, struct bl_err *err);
BL_MUST_USE bl_status bl_kept_save_group(bl_kept *kept, const bl_head *head, size_t first, size_t n,
                                         struct bl_err *err);

/* kept_compare.c */
BL_MUST_USE bl_status bl_kept_check_text(const bl_kept *kept, const bl_ckpt *ckpt,
                                         struct bl_err *err);
BL_MUST_USE bl_status bl_kept_compare_group(bl_kept *kept, const bl_head *head, size_t first,
                                            size_t n, struct bl_err *err);

/* kept_logits.c: the head for tokens from `first` on. */
bl_head bl_kept_head_at(const bl_head *head, size_t first);
/* Whole rows of logits, [n][vocab], that the caller frees. head: of the group's tokens. */
BL_MUST_USE bl_status bl_kept_whole_rows(float **out, const bl_head *head, size_t n,
                                         struct bl_err *err);
/* The scored positions of sequence s. */
bl_logits_seq bl_kept_seq(const bl_kept_text *text, size_t s);

#endif
