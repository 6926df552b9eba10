/*
 * hf_dir.h - a Hugging Face checkpoint as a container: a folder with config.json and either
 * model.safetensors.index.json and its shards or one model.safetensors; or one lone
 * .safetensors file.
 *
 * Shards are numbered by file name. Side files are all other regular files at the top level of
 * the folder (symbolic links are followed; *.partial, left by unfinished runs, is not counted);
 * the index is one of them. A lone file has none, whatever lies beside it.
 *
 * One file descriptor is held for each shard. Memory: the table, and while opening the largest
 * header of a shard as a JSON tree.
 */
#ifndef BL_FORMATS_HF_DIR_H
#define BL_FORMATS_HF_DIR_H

#include "base/err.h"
#include "formats/ckpt/container.h"

#include <stddef.h>

#define BL_HF_CONFIG_NAME "config.json"

/*
 * Open path, a folder or a file. Every header is checked, and index and shards must agree on
 * every tensor; no data is read. The caller closes it with bl_container_close(). Fails with
 * BL_E_IO, BL_E_FORMAT, BL_E_UNSUPPORTED or BL_E_NOMEM.
 */
BL_MUST_USE bl_status bl_hf_open(bl_container **out, const char *path, struct bl_err *err);

#endif
