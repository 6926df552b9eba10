/*
 * tokenizer_config.c - what tokenizer_config.json adds: named tokens, BOS and EOS, chat template.
 *
 * add_bos_token is what published models mean, and what their GGUF files say; the Python package
 * `transformers` ignores it where tokenizer.json has a ByteLevel post-processor.
 */
#include "formats/tokenizer/tokenizer_read.h"

#include <string.h>

/* A named token: its text, or an object with the text as "content", or null. */
static bl_status read_named(int64_t *id, const bl_tokenizer_file *file, const bl_map *id_of,
                            const bl_json_value *root, const char *key, struct bl_err *err)
{
    const bl_json_value *value = bl_json_get(root, key);
    const char *text = bl_json_string(value);
    uint32_t found;

    if (!value || bl_json_type_of(value) == BL_JSON_NULL)
        return BL_OK;
    if (!text)
        text = bl_json_string(bl_json_get(value, "content"));
    if (!text)
        return bl_fail(err, BL_E_FORMAT, "%s: tokenizer_config.json: '%s' is not a token",
                       file->name, key);
    if (!bl_map_get(&found, id_of, text, strlen(text)))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: tokenizer_config.json names '%s' as its %s, which is not a token",
                       file->name, text, key);
    *id = found;
    return BL_OK;
}

/* A string, or a list of named templates of which "default" is taken. */
static const char *find_template(const bl_json_value *root)
{
    const bl_json_value *value = bl_json_get(root, "chat_template");

    if (!value || bl_json_type_of(value) != BL_JSON_ARRAY)
        return bl_json_string(value);
    for (const bl_json_value *m = bl_json_first(value); m; m = bl_json_next(m)) {
        const char *name = bl_json_string(bl_json_get(m, "name"));

        if (name && strcmp(name, "default") == 0)
            return bl_json_string(bl_json_get(m, "template"));
    }
    return NULL;
}

bl_status bl_tokenizer_read_config(bl_tokenizer_file *file, const bl_map *id_of,
                                   const bl_json_value *root, struct bl_err *err)
{
    const char *template = find_template(root);
    bl_status rc;

    /* A Llama 3 tokenizer puts BOS in front unless told otherwise; llama.cpp does the same. */
    if (bl_tokenizer_adds_bos(file))
        file->add_bos = true;
    if (!root)
        return BL_OK;
    rc = bl_tokenizer_flag(&file->add_bos, file, root, "add_bos_token", file->add_bos, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_flag(&file->add_eos, file, root, "add_eos_token", file->add_eos, err);
    if (rc == BL_OK)
        rc = read_named(&file->bos, file, id_of, root, "bos_token", err);
    if (rc == BL_OK)
        rc = read_named(&file->eos, file, id_of, root, "eos_token", err);
    if (rc == BL_OK)
        rc = read_named(&file->pad, file, id_of, root, "pad_token", err);
    if (rc == BL_OK)
        rc = read_named(&file->unk, file, id_of, root, "unk_token", err);
    if (rc == BL_OK && template) {
        file->chat_template = bl_arena_strdup(&file->arena, template);
        if (!file->chat_template)
            rc = bl_fail_nomem(err, file->name);
    }
    return rc;
}
