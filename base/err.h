/*
 * err.h - the one way in which a function says that it failed.
 *
 * Every function that can fail returns a bl_status and writes one sentence into the caller's
 * struct bl_err: what failed, on which file and tensor, and what to do about it. The lowest layer
 * that knows the facts writes the sentence; upper layers only put context in front of it.
 * A struct bl_err belongs to one thread. Libraries never print it: only cli/ does.
 */
#ifndef BL_BASE_ERR_H
#define BL_BASE_ERR_H

#include <stdarg.h>

/* The caller branches on the status; the text is for people. */
typedef enum bl_status {
    BL_OK = 0,
    BL_E_IO,          /* the system refused: open, read, write, no space */
    BL_E_FORMAT,      /* the file is not what its format promises */
    BL_E_UNSUPPORTED, /* the file is sound, but this program does not handle it */
    BL_E_NOMEM,       /* out of memory */
    BL_E_MISMATCH,    /* opened and found wrong: a checksum, a structure, a gate */
    BL_E_USAGE,       /* the command line asks for something that makes no sense */
    BL_E_CANCELLED    /* a signal asked us to stop (base/cancel.h) */
} bl_status;

struct bl_err {
    bl_status status;
    char text[768]; /* one sentence, no full stop, no newline; printable UTF-8 */
};

#define BL_MUST_USE __attribute__((warn_unused_result))

/*
 * Write the sentence and return status, so that callers can `return bl_fail(...)`. err may be
 * NULL. A sentence that is too long loses its middle; err->text may be among the arguments.
 */
bl_status bl_fail(struct bl_err *err, bl_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with the text of errno behind it: "<sentence>: No space left on device". */
bl_status bl_fail_errno(struct bl_err *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "<context>: " in front of the sentence already in err. */
void bl_err_prefix(struct bl_err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "out of memory" for a named purpose. */
bl_status bl_fail_nomem(struct bl_err *err, const char *what);

#endif
