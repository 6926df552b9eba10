/*
 * verify_kept.h - verify's options about kept logits (verify/kept_logits.h): --save-logits,
 * --logits-kind, --logits.
 */
#ifndef BL_CLI_VERIFY_KEPT_H
#define BL_CLI_VERIFY_KEPT_H

#include "cli/cli.h"
#include "verify/perplexity.h"

typedef struct bl_verify_kept {
    const char *save, *kind, *logits;
} bl_verify_kept;

/* Rows of the option table. */
#define BL_OPTION_SAVE_LOGITS(k)                                                                   \
    {                                                                                              \
        "--save-logits", 0, BL_OPTION_STRING, &(k).save, "FILE", "keep MODEL's answers on --text"  \
    }
#define BL_OPTION_LOGITS_KIND(k)                                                                   \
    {                                                                                              \
        "--logits-kind", 0, BL_OPTION_STRING, &(k).kind, "KIND", "sparse, hidden or llama.cpp"     \
    }
#define BL_OPTION_LOGITS(k)                                                                        \
    {                                                                                              \
        "--logits", 0, BL_OPTION_STRING, &(k).logits, "FILE", "kept answers in the place of REF"   \
    }

/*
 * text, against: the options of that name, or NULL. BL_E_USAGE when they do not go together; else
 * as the file cannot be written or read.
 */
BL_MUST_USE bl_status bl_verify_kept_check(const bl_verify_kept *options, const char *text,
                                           const char *against, bool force, struct bl_err *err);

/* *out stays NULL when neither file is asked for. */
BL_MUST_USE bl_status bl_verify_kept_open(bl_kept **out, const bl_verify_kept *options,
                                          const char *text, const bl_ckpt *model,
                                          const bl_common *common, struct bl_err *err);

/* Where kept logits are the reference, what was not given is as in their file. */
void bl_verify_kept_rule(bl_ppl_options *options);

#endif
