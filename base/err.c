/*
 * err.c - error sentences. Names inside them come from untrusted files, so control characters
 * (terminal escapes among them) are replaced before anybody can print them.
 */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

static void replace_control_characters(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
}

bl_status bl_fail(struct bl_err *err, bl_status status, const char *format, ...)
{
    if (err) {
        va_list args;

        va_start(args, format);
        vsnprintf(err->text, sizeof(err->text), format, args);
        va_end(args);
        replace_control_characters(err->text);
        err->status = status;
    }
    return status;
}

bl_status bl_fail_errno(struct bl_err *err, int errnum, const char *format, ...)
{
    char sentence[sizeof(err->text)];
    char reason[128];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    /* GNU strerror_r: returns the text, which need not lie in the buffer */
    return bl_fail(err, BL_E_IO, "%s: %s", sentence, strerror_r(errnum, reason, sizeof(reason)));
}

void bl_err_prefix(struct bl_err *err, const char *format, ...)
{
    char context[sizeof(err->text)];
    char sentence[sizeof(err->text)];
    va_list args;

    if (!err)
        return;
    va_start(args, format);
    vsnprintf(context, sizeof(context), format, args);
    va_end(args);
    memcpy(sentence, err->text, sizeof(sentence));
    bl_fail(err, err->status, "%s: %s", context, sentence);
}

bl_status bl_fail_nomem(struct bl_err *err, const char *what)
{
    return bl_fail(err, BL_E_NOMEM, "out of memory: %s", what);
}
