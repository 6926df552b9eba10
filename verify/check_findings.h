/*
 * check_findings.h - how the parts of the check add what they found. Private to verify/check*.c.
 */
#ifndef BL_VERIFY_CHECK_FINDINGS_H
#define BL_VERIFY_CHECK_FINDINGS_H

#include "verify/check.h"

/* Add one sentence, printable whatever its arguments hold. Fails with BL_E_NOMEM. */
BL_MUST_USE bl_status bl_check_add(bl_check_result *result, bl_finding_kind kind,
                                   struct bl_err *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * The tokenizer of a checkpoint, which the caller frees. One that is damaged is a fault, one of a
 * kind that is not supported a note; *out is left alone then. Fails with BL_E_IO or BL_E_NOMEM.
 */
BL_MUST_USE bl_status bl_check_read_tokenizer(bl_tokenizer_file **out, bl_check_result *result,
                                              const bl_ckpt *ckpt, struct bl_err *err);

#endif
