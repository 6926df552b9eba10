/*
 * tokenizer_file.c - opening, the order of reading, and GPT-2's byte-level alphabet.
 */
#include "formats/tokenizer/tokenizer_read.h"

#include "base/alloc.h"
#include "base/source.h"

#include <string.h>
#include <unistd.h>

enum { MAX_JSON_BYTES = 256 << 20 }; /* the largest published tokenizer.json has about 35 MB */

uint32_t bl_code_point_of_byte(uint8_t byte)
{
    /* Printable Latin-1 stands for itself; the other 68 bytes follow in order from U+0100. */
    if ((byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad))
        return byte;
    if (byte <= 0x20)
        return 0x100u + byte;
    if (byte <= 0xa0)
        return 0x121u + (byte - 0x7fu);
    return 0x143; /* 0xad, the soft hyphen */
}

int bl_byte_of_code_point(uint32_t c)
{
    if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xff && c != 0xad))
        return (int)c;
    if (c >= 0x100 && c <= 0x120)
        return (int)(c - 0x100);
    if (c >= 0x121 && c <= 0x142)
        return (int)(c - 0x121 + 0x7f);
    return c == 0x143 ? 0xad : -1;
}

const char *bl_tokenizer_type_of(const bl_json_value *value)
{
    const char *type;

    if (!value || bl_json_type_of(value) == BL_JSON_NULL)
        return NULL;
    type = bl_json_string(bl_json_get(value, "type"));
    return type ? type : "";
}

bl_status bl_tokenizer_flag(bool *out, const bl_tokenizer_file *file, const bl_json_value *object,
                            const char *key, bool fallback, struct bl_err *err)
{
    const bl_json_value *value = bl_json_get(object, key);

    *out = fallback;
    if (!value || bl_json_type_of(value) == BL_JSON_NULL || bl_json_bool(out, value))
        return BL_OK;
    return bl_fail(err, BL_E_FORMAT, "%s: '%s' is neither true nor false", file->name, key);
}

static bl_status read_tables(bl_tokenizer_builder *b, const bl_json_value *root,
                             const bl_json_value *config, struct bl_err *err)
{
    bl_status rc = bl_tokenizer_read_vocab(b, root, err);

    if (rc == BL_OK)
        rc = bl_tokenizer_read_pipeline(b->file, &b->id_of, root, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_read_config(b->file, &b->id_of, config, err);
    return rc;
}

bl_status bl_tokenizer_file_parse(bl_tokenizer_file **out, const char *name, const char *json,
                                  size_t n_json, const char *config, size_t n_config,
                                  struct bl_err *err)
{
    bl_tokenizer_builder b;
    bl_json *root = NULL, *side = NULL;
    bl_status rc = bl_tokenizer_build_new(&b, name, "'vocab'", err);

    if (rc != BL_OK)
        return rc;
    rc = bl_json_parse(&root, name, json, n_json, 0, err);
    if (rc == BL_OK && config) {
        rc = bl_json_parse(&side, "tokenizer_config.json", config, n_config, 0, err);
        if (rc != BL_OK)
            bl_err_prefix(err, "%s", name);
    }
    if (rc == BL_OK)
        rc = read_tables(&b, bl_json_root(root), side ? bl_json_root(side) : NULL, err);
    bl_json_free(root);
    bl_json_free(side);
    bl_tokenizer_build_end(out, &b, rc != BL_OK);
    return rc;
}

/* The text of directory/name; *out stays NULL when an optional file is missing. */
static bl_status read_text(char **out, size_t *n, char **path, const char *directory,
                           const char *name, bool optional, struct bl_err *err)
{
    *path = bl_format("%s/%s", directory, name);
    if (!*path)
        return bl_fail_nomem(err, directory);
    if (optional && access(*path, F_OK) != 0)
        return BL_OK;
    return bl_source_read_file(out, n, *path, MAX_JSON_BYTES, err);
}

bl_status bl_tokenizer_file_open(bl_tokenizer_file **out, const char *directory, struct bl_err *err)
{
    char *json = NULL, *config = NULL, *path = NULL, *config_path = NULL;
    size_t n_json = 0, n_config = 0;
    bl_status rc = read_text(&json, &n_json, &path, directory, "tokenizer.json", false, err);

    if (rc == BL_OK)
        rc = read_text(&config, &n_config, &config_path, directory, "tokenizer_config.json", true,
                       err);
    if (rc == BL_OK)
        rc = bl_tokenizer_file_parse(out, path, json, n_json, config, n_config, err);
    bl_free(json);
    bl_free(config);
    bl_free(path);
    bl_free(config_path);
    return rc;
}

void bl_tokenizer_file_free(bl_tokenizer_file *file)
{
    if (!file)
        return;
    bl_arena_release(&file->arena);
    bl_free(file);
}
