/*
 * identity.h - which model is this, whatever container and precision it lies in?
 *
 * XXH3-128 over the numbers of the configuration that say what network it is, and the values of
 * every norm, bias, router matrix and router bias of its layers (no MTP): nobody quantizes these, so
 * a Hugging Face folder, a .bln and a GGUF of any precision give the same number, and pruning and
 * training change it. Values are rounded to BF16 first, so that a cast of the whole checkpoint is
 * the same model. It is no checksum: what it does not read may differ
 * (fingerprint.h tells containers apart).
 *
 * Files keep it: how it is made is written down in docs/format-stats.md.
 */
#ifndef BL_FORMATS_IDENTITY_H
#define BL_FORMATS_IDENTITY_H

#include "base/hash.h"
#include "formats/ckpt/ckpt.h"

/*
 * Reads the norms and routers (213 MB of the 671B model, in pieces). Fails with BL_E_UNSUPPORTED when
 * the checkpoint has no configuration, as reading does, or with BL_E_FORMAT when one is missing.
 */
BL_MUST_USE bl_status bl_ckpt_identity(bl_hash128 *out, const bl_ckpt *ckpt, struct bl_err *err);

#endif
