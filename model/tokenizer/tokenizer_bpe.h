/*
 * tokenizer_bpe.h - byte-pair merging of one piece by rank; private to model/tokenizer.
 *
 * Works on the bytes that the byte-level alphabet stands for, so text is never spelled in it.
 */
#ifndef BL_MODEL_TOKENIZER_BPE_H
#define BL_MODEL_TOKENIZER_BPE_H

#include "formats/tokenizer/tokenizer_file.h"
#include "model/tokenizer/tokenizer.h"

typedef struct bl_bpe bl_bpe; /* immutable: threads may share it */

BL_MUST_USE bl_status bl_bpe_new(bl_bpe **out, const bl_tokenizer_file *file, struct bl_err *err);
void bl_bpe_free(bl_bpe *bpe);

/* Memory for long pieces, kept between calls; belongs to one thread. */
typedef struct bl_bpe_work {
    void *bytes;
    size_t size;
} bl_bpe_work; /* zero-initialise */

void bl_bpe_work_release(bl_bpe_work *work);

/*
 * Append the ids of a piece. O(n log n) time and 32 n bytes of memory for a piece of n bytes.
 * A byte that is no token of the model leaves no trace, as in the reference.
 */
BL_MUST_USE bl_status bl_bpe_encode(bl_tokens *out, const bl_bpe *bpe, bl_bpe_work *work,
                                    const char *piece, size_t n, struct bl_err *err);

/* The bytes of a token of the model; NULL when id is none, or is not spelled in the alphabet. */
const char *bl_bpe_bytes(const bl_bpe *bpe, uint32_t id, size_t *n);

#endif
