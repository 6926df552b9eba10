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

#endif
