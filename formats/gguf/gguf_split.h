/*
 * gguf_split.h - a model in several GGUF files as one container, as llama.cpp splits them:
 * NAME-00001-of-00003.gguf; `split.no` (from 0), `split.count` (both u16) and `split.tensors.count` (i32)
 * in each; all other metadata in the first. Internal to formats/gguf.
 */
#ifndef BL_FORMATS_GGUF_SPLIT_H
#define BL_FORMATS_GGUF_SPLIT_H

#include "base/err.h"
#include "formats/ckpt/container.h"
#include "formats/gguf/gguf_kv.h"

/*
 * Open all parts of the set that `part` (of a file that says split.count > 1) belongs to; they are found
 * by its name. Takes part over: it is in the container, or closed on failure. Fails with BL_E_FORMAT
 * when a part is missing, is another set's, or a tensor is in two of them.
 */
BL_MUST_USE bl_status bl_gguf_open_split(bl_container **out, bl_container *part, uint16_t n_parts,
                                         struct bl_err *err);

/* The metadata, which are those of the first part; NULL for another kind of container. */
const bl_gguf_meta *bl_gguf_split_meta(const bl_container *container);

/*
 * The name of part i of n (from 0) for an output "DIR/NAME.gguf": "DIR/NAME-00001-of-00003.gguf". The caller
 * frees it; NULL when out of memory.
 */
char *bl_gguf_part_name(const char *path, uint32_t i, uint32_t n);

#endif
