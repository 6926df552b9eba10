/*
 * gguf_meta.h - how the metadata of an opened GGUF file lies in memory, and its parser. Internal to
 * formats/gguf; gguf_kv.h is the view for others.
 *
 * Values stay in the header as it was read. Strings, which have no fixed size, are found through a
 * table of positions: eight bytes each, so that a vocabulary of 129,280 tokens costs one megabyte.
 */
#ifndef BL_FORMATS_GGUF_META_H
#define BL_FORMATS_GGUF_META_H

#include "base/arena.h"
#include "base/map.h"
#include "formats/gguf/gguf_cursor.h"
#include "formats/gguf/gguf_kv.h"

struct bl_gguf_meta {
    const char *name;           /* of the file, for sentences */
    const unsigned char *bytes; /* the header; set when parsing is over */
    bl_gguf_kv *kv;
    size_t n_kv, kv_room;
    size_t *string_at; /* position of each string's length */
    size_t n_strings, string_room;
    bl_map index;   /* key -> kv */
    bl_arena arena; /* keys */
};

/* Parse n_kv pairs from the cursor. On failure the caller still releases meta. */
BL_MUST_USE bl_status bl_gguf_meta_parse(bl_gguf_meta *meta, bl_gguf_cursor *cursor, uint64_t n_kv,
                                         struct bl_err *err);
void bl_gguf_meta_release(bl_gguf_meta *meta);

/*
 * Copy a name of n bytes to the arena. `what` is "key" or "tensor name". Fails with BL_E_FORMAT
 * when it is empty, longer than max bytes, or has a control character; BL_E_UNSUPPORTED when it is
 * not ASCII.
 */
BL_MUST_USE bl_status bl_gguf_copy_name(const char **out, bl_arena *arena,
                                        const bl_gguf_cursor *cursor, size_t at, size_t n,
                                        size_t max, const char *what, struct bl_err *err);

#endif
