/* read_text.c - see read_text.h. */
#include "cli/read_text.h"

#include "base/alloc.h"
#include "base/source.h"

enum { MAX_TEXT_BYTES = 1 << 30 };

bl_status bl_cli_tokenize_file(bl_cli_text *out, const bl_tokenizer *tokenizer,
                               const bl_tokenizer_file *file, const char *path, struct bl_err *err)
{
    char *bytes = NULL;
    size_t n = 0;
    bl_status rc = bl_source_read_file(&bytes, &n, path, MAX_TEXT_BYTES, err);

    if (rc == BL_OK) {
        out->bos = file->add_bos ? file->bos : -1;
        out->hash = bl_hash128_of(bytes, n);
        rc = bl_tokenizer_encode(&out->tokens, tokenizer, bytes, n,
                                 file->add_bos ? BL_ENCODE_BOS : 0, err);
    }
    if (rc == BL_E_FORMAT)
        bl_err_prefix(err, "%s", path);
    bl_free(bytes);
    return rc;
}

bl_status bl_cli_read_text(bl_cli_text *out, const bl_ckpt *ckpt, const char *path,
                           struct bl_err *err)
{
    bl_tokenizer_file *file = NULL;
    bl_tokenizer *tokenizer = NULL;
    bl_status rc = bl_ckpt_tokenizer_file(&file, ckpt, err);

    if (rc == BL_OK)
        rc = bl_tokenizer_new(&tokenizer, file, err);
    if (rc == BL_OK)
        rc = bl_cli_tokenize_file(out, tokenizer, file, path, err);
    bl_tokenizer_free(tokenizer);
    bl_tokenizer_file_free(file);
    return rc;
}

void bl_cli_text_release(bl_cli_text *text)
{
    bl_tokens_release(&text->tokens);
}
