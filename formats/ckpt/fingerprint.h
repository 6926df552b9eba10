/*
 * fingerprint.h - which checkpoint is this? A number to tell by, without reading 689 GB.
 *
 * XXH3-128 over every stored tensor's name, type and shape, all of the data of those with one
 * dimension (norms, biases), and the first 4 KiB of about 1,000 others, evenly spread. The same
 * bytes in the same container give the same number wherever they lie. It finds another model,
 * another conversion, another step of training; it is no checksum: one changed value may escape.
 * Files keep it: how it is made is written down in docs/format-logits.md, section 7.
 */
#ifndef BL_FORMATS_FINGERPRINT_H
#define BL_FORMATS_FINGERPRINT_H

#include "base/hash.h"
#include "formats/ckpt/container.h"

/* Fails with BL_E_IO where data cannot be read. */
BL_MUST_USE bl_status bl_container_fingerprint(bl_hash128 *out, const bl_container *container,
                                               struct bl_err *err);

#endif
