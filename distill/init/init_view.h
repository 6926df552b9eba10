/*
 * init_view.h - a student that is not written yet, as a checkpoint: tensors by name and shape, each with the
 * function that gives its rows, and side files as texts. What takes a checkpoint takes it: conversions write
 * it, the network runs it. Internal to distill/.
 *
 * It is a folder of one shard in F32. Reads are as thread-safe as the functions. Memory: a table of the tensors,
 * the side files, and while reading less than whole rows one copy of these rows.
 */
#ifndef BL_DISTILL_INIT_VIEW_H
#define BL_DISTILL_INIT_VIEW_H

#include "base/arena.h"
#include "base/text.h"
#include "formats/ckpt/ckpt.h"
#include "formats/view/view.h"

enum { BL_INIT_MAX_SIDE_FILES = 16 };

typedef struct bl_init_view {
    bl_container base;
    bl_arena arena; /* names, and what rows point to */
    bl_stored *stored;
    bl_rows *rows; /* of each tensor */
    size_t n, room;
    const char *side_name[BL_INIT_MAX_SIDE_FILES]; /* sorted */
    bl_text side_text[BL_INIT_MAX_SIDE_FILES];
    const char *shard_name[1];
} bl_init_view;

/* path: for sentences, and for relative names. */
BL_MUST_USE bl_status bl_init_view_new(bl_init_view **out, const char *path, struct bl_err *err);
void bl_init_view_free(bl_init_view *view); /* NULL is allowed */

/*
 * Say where the rows of a tensor come from: fill in *out, without n_cols. layer: of a row that is in a layer.
 */
typedef bl_status (*bl_init_rows_fn)(bl_rows *out, void *context, const bl_arch_row *row,
                                     uint32_t layer, const char *name, struct bl_err *err);

/* Add every tensor of the main network that this configuration has, in the order of published folders. */
BL_MUST_USE bl_status bl_init_view_add_all(bl_init_view *view, const bl_config *config,
                                           bl_init_rows_fn rows_of, void *context,
                                           struct bl_err *err);

BL_MUST_USE bl_status bl_init_view_add_side_file(bl_init_view *view, const char *name,
                                                 const char *bytes, size_t n, struct bl_err *err);

/* The files of a model's tokenizer, and what to generate with it; of a GGUF file those that its metadata give. */
BL_MUST_USE bl_status bl_init_view_add_tokenizer(bl_init_view *view, const bl_ckpt *model,
                                                 struct bl_err *err);

/* The checkpoint; the view is taken over, also on failure. */
BL_MUST_USE bl_status bl_init_view_open(bl_ckpt **out, bl_init_view *view, struct bl_err *err);

#endif
