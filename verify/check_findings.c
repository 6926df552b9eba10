/* check_findings.c - see check_findings.h. */
#include "verify/check_findings.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>

bl_status bl_check_add(bl_check_result *r, bl_finding_kind kind, struct bl_err *err,
                       const char *format, ...)
{
    char text[2 * sizeof(err->text)];
    struct bl_err sentence = { 0 };
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    bl_fail(&sentence, BL_E_MISMATCH, "%s", text); /* printable, and cut where it is too long */
    if (r->n_findings == r->n_room) {
        size_t n = r->n_room ? 2 * r->n_room : 16;
        bl_finding *larger = bl_realloc(r->finding, n, sizeof(*larger));

        if (!larger)
            return bl_fail_nomem(err, "findings");
        r->finding = larger;
        r->n_room = n;
    }
    r->finding[r->n_findings] = (bl_finding){ kind, bl_strdup(sentence.text) };
    if (!r->finding[r->n_findings].text)
        return bl_fail_nomem(err, "findings");
    r->n_findings++;
    r->n_faults += kind != BL_FINDING_NOTE;
    r->n_tensor_faults +=
        kind != BL_FINDING_NOTE && kind != BL_FINDING_SIDE_FILE && kind != BL_FINDING_SUM;
    return BL_OK;
}

bl_status bl_check_read_tokenizer(bl_tokenizer_file **out, bl_check_result *result,
                                  const bl_ckpt *ckpt, struct bl_err *err)
{
    struct bl_err here = { 0 };
    bl_status rc = bl_ckpt_tokenizer_file(out, ckpt, &here);

    if (rc == BL_E_FORMAT)
        return bl_check_add(result, BL_FINDING_SIDE_FILE, err, "%s", here.text);
    if (rc == BL_E_UNSUPPORTED)
        return bl_check_add(result, BL_FINDING_NOTE, err, "%s", here.text);
    if (rc != BL_OK && err)
        *err = here;
    return rc;
}
