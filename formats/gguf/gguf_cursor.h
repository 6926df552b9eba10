/*
 * gguf_cursor.h - the header of a GGUF file, taken value by value from front to back. Internal to
 * formats/gguf.
 *
 * The header's length is nowhere in the file, so it is read through a window that grows as values
 * are taken: memory follows what was really there, never a count that the file claims. The window
 * moves when it grows: positions stay valid, pointers do not.
 */
#ifndef BL_FORMATS_GGUF_CURSOR_H
#define BL_FORMATS_GGUF_CURSOR_H

#include "base/err.h"
#include "base/source.h"

#include <stddef.h>
#include <stdint.h>

/* More than this before the tensor data is refused; a vocabulary of 129,280 tokens takes 6 MB. */
enum { BL_GGUF_MAX_HEADER = 1 << 28 };

typedef struct bl_gguf_cursor {
    bl_source *source;    /* borrowed */
    unsigned char *bytes; /* the window: bytes [0, n_bytes) of the source; owned */
    size_t n_bytes;
    size_t at;        /* the next byte to take */
    const char *part; /* for sentences: what is being taken ("the preamble", "tensor"), */
    const char *name; /* and its name; NULL while it has none */
} bl_gguf_cursor;

/* Bytes of the source behind the cursor. */
uint64_t bl_gguf_remaining(const bl_gguf_cursor *cursor);

/*
 * Take n bytes; *at_out (may be NULL) is their position. A file that ends before them fails with
 * BL_E_FORMAT, "x.gguf: ends inside <part> '<name>'".
 */
BL_MUST_USE bl_status bl_gguf_take(size_t *at_out, bl_gguf_cursor *cursor, uint64_t n,
                                   struct bl_err *err);
BL_MUST_USE bl_status bl_gguf_take_u32(uint32_t *out, bl_gguf_cursor *cursor, struct bl_err *err);
BL_MUST_USE bl_status bl_gguf_take_u64(uint64_t *out, bl_gguf_cursor *cursor, struct bl_err *err);
/* A length and as many bytes; the position and number of the bytes. */
BL_MUST_USE bl_status bl_gguf_take_string(size_t *at_out, size_t *n_out, bl_gguf_cursor *cursor,
                                          struct bl_err *err);

void bl_gguf_cursor_release(bl_gguf_cursor *cursor);

#endif
