/* quantize_more.c - what an output of quantize depends on, for telling runs apart. */
#include "cli/quantize_run.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/size.h"
#include "base/source.h"

#include <inttypes.h>

enum { PIECE_BYTES = 1 << 20 };

/* "NAME HASH\n" of a file's bytes; nothing where none is given. */
static bl_status add_file(bl_text *out, const char *name, const char *path, struct bl_err *err)
{
    unsigned char *piece = path ? bl_alloc(PIECE_BYTES, 1) : NULL;
    bl_source *source = NULL;
    bl_hasher *hasher = NULL;
    bl_hash128 hash;
    bl_status rc;

    if (!path)
        return BL_OK;
    rc = piece ? bl_source_open(&source, path, err) : bl_fail_nomem(err, path);
    if (rc == BL_OK)
        rc = bl_hasher_new(&hasher, err);
    for (uint64_t at = 0; rc == BL_OK && at < source->size;) {
        size_t n = (size_t)bl_min_u64(PIECE_BYTES, source->size - at);

        rc = bl_source_read(source, at, piece, n, err);
        if (rc == BL_OK)
            bl_hasher_add(hasher, piece, n);
        at += n;
    }
    if (rc == BL_OK) {
        hash = bl_hasher_digest(hasher);
        bl_text_printf(out, "%s %016" PRIx64 "%016" PRIx64 "\n", name, hash.high, hash.low);
    }
    bl_hasher_free(hasher);
    bl_source_close(source);
    bl_free(piece);
    return rc;
}

bl_status bl_quantize_more(bl_text *out, const bl_quantize_options *o, struct bl_err *err)
{
    bl_status rc = add_file(out, "stats", o->stats_path, err);

    if (rc == BL_OK)
        rc = add_file(out, "text", o->gptq.text, err);
    bl_text_printf(out, "method %s\n", o->method_name);
    if (o->gptq.wanted)
        bl_text_printf(out, "tokens %" PRIu64 " ctx %" PRIu64 "%s%s\n", o->gptq.max_tokens,
                       o->gptq.ctx, o->gptq.shared_hessian ? " shared-hessian" : "",
                       o->gptq.sequential ? " sequential" : "");
    return rc == BL_OK ? bl_text_check(out, err) : rc;
}
