/*
 * cache_folder.h - a folder of shards: their names, which there are, and of how many.
 */
#ifndef BL_FORMATS_CACHE_FOLDER_H
#define BL_FORMATS_CACHE_FOLDER_H

#include "base/err.h"
#include "base/source.h"

#include <stdint.h>

/* "folder/shard-00001-of-00004.blc" for i = 0; to be freed; NULL when out of memory. */
char *bl_cache_shard_path(const char *folder, uint32_t i_shard, uint32_t n_shards);
char *bl_cache_head_path(const char *folder); /* the same: "folder/head.safetensors" */

/* *out is NULL when there is no such file. */
BL_MUST_USE bl_status bl_cache_open_if_there(bl_source **out, const char *path, struct bl_err *err);

/* Make it where it is not; it lasts when this returns. */
BL_MUST_USE bl_status bl_cache_folder_make(const char *folder, struct bl_err *err);

/*
 * Of how many shards the folder's cache is, by the names of its files. BL_E_FORMAT when none is a
 * shard, BL_E_MISMATCH when the names are of caches cut differently.
 */
BL_MUST_USE bl_status bl_cache_folder_count(uint32_t *n_shards, const char *folder,
                                            struct bl_err *err);

#endif
