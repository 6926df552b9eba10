/* requantize.c - see requantize.h. */
#include "quantize/requantize.h"

#include "base/alloc.h"
#include "convert/write.h"
#include "formats/gguf/gguf_reader.h"

#include <string.h>

static bool is_lossy(const bl_ckpt *ckpt, const bl_tensor *t)
{
    const bl_parts *parts = bl_ckpt_parts(ckpt, t);

    if (!bl_dtype_traits_of(t->dtype)->in_safetensors)
        return true;
    return parts && parts->coding != BL_CODING_PLAIN && parts->coding != BL_CODING_FP8_BLOCK;
}

/* Add a word to a list, once. */
static void add_word(bl_text *list, const char *word)
{
    const size_t n = strlen(word);

    for (const char *at = list->n > 0 ? list->bytes : NULL; at; at = strchr(at, ',')) {
        if (*at == ',')
            at += 2;
        if (strncmp(at, word, n) == 0 && (at[n] == '\0' || at[n] == ','))
            return;
    }
    bl_text_printf(list, "%s%s", list->n > 0 ? ", " : "", word);
}

/* What a GGUF file says of where it came from. */
static void add_key(bl_text *from, const bl_container *gguf)
{
    const bl_gguf_kv *kv = bl_gguf_find(bl_gguf_meta_of(gguf), "baleen." BL_REQUANTIZED_FROM);
    bl_gguf_string s;

    if (kv && bl_gguf_kv_string(&s, kv, NULL) == BL_OK)
        bl_text_printf(from, "%.*s", (int)s.n, s.bytes);
}

/* The same of a folder, or of a .bln of one. */
static bl_status add_member(bl_text *from, const bl_ckpt *ckpt, struct bl_err *err)
{
    bl_json *json = NULL;
    char *text = NULL;
    const char *said;
    size_t n;
    bl_status rc = bl_ckpt_side_file(ckpt, "config.json", &text, &n, err);

    if (rc != BL_OK || !text)
        return rc;
    rc = bl_json_parse(&json, "config.json", text, n, 0, err);
    if (rc == BL_OK) {
        said = bl_json_string(bl_json_get(bl_json_root(json), BL_REQUANTIZED_FROM));
        if (said)
            bl_text_puts(from, said);
    }
    bl_json_free(json);
    bl_free(text);
    return rc;
}

bl_status bl_requantize_check(bl_text *from, const bl_ckpt *ckpt, bool allowed, struct bl_err *err)
{
    const bl_container *container = bl_ckpt_container(ckpt);
    bl_status rc = BL_OK;

    if (bl_gguf_meta_of(container))
        add_key(from, container);
    else
        rc = add_member(from, ckpt, err);
    for (size_t i = 0; i < bl_ckpt_n_tensors(ckpt) && rc == BL_OK; i++) {
        const bl_tensor *t = bl_ckpt_tensor(ckpt, i);

        if (!is_lossy(ckpt, t))
            continue;
        if (!allowed)
            return bl_fail(err, BL_E_UNSUPPORTED,
                           "%s: tensor '%s' is already quantized (%s); quantize the original, or "
                           "this all the same with --requantize",
                           bl_ckpt_path(ckpt), t->name, t->type_name);
        add_word(from, t->type_name);
    }
    return rc == BL_OK ? bl_text_check(from, err) : rc;
}
