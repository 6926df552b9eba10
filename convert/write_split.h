/*
 * write_split.h - a plan into several GGUF files. Internal to convert/.
 *
 * NAME.gguf becomes NAME-00001-of-00003.gguf and so on: tensors in the order of the plan, a part
 * takes them until the next would bring its data over the size; all metadata in the first. Parts get
 * their names when all are complete, the first last, so that a set that opens is whole. Memory: 1 MiB
 * for each part.
 */
#ifndef BL_CONVERT_WRITE_SPLIT_H
#define BL_CONVERT_WRITE_SPLIT_H

#include "convert/write.h"
#include "formats/gguf/gguf_writer.h"

/* `first` has the metadata; it is taken over, also on failure. options->split_size > 0. */
BL_MUST_USE bl_status bl_write_split(bl_gguf_writer *first, const char *path, const bl_ckpt *ckpt,
                                     const bl_plan *plan, const bl_write_options *options,
                                     struct bl_err *err);

/* Parts that a plan is cut into. */
uint32_t bl_count_split(const bl_plan *plan, uint64_t split_size);

#endif
