/*
 * tokenizer_pipeline.c - normalizer, pre-tokenizer, decoder and post-processor of tokenizer.json.
 *
 * A pipeline is accepted when the tables describe it exactly. What has no influence on the ids of
 * a text (truncation, padding, offsets) is not read.
 */
#include "formats/tokenizer/tokenizer_read.h"

#include <string.h>

/* What ByteLevel cuts by when use_regex is on: GPT-2's expression. */
static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

struct reader {
    bl_tokenizer_file *file;
    const bl_map *id_of;
    bool byte_level; /* the pre-tokenizer ended with ByteLevel */
};

typedef bl_status read_one(struct reader *r, const char *type, const bl_json_value *value,
                           struct bl_err *err);

static bl_status unsupported(const struct reader *r, struct bl_err *err, const char *part,
                             const char *type)
{
    return bl_fail(err, BL_E_UNSUPPORTED, "%s: %s '%s' is not supported", r->file->name, part,
                   type);
}

/* Call read for value, or for each member of a Sequence of them. Sequences do not nest. */
static bl_status for_each(struct reader *r, const bl_json_value *value, const char *list_key,
                          read_one *read, struct bl_err *err)
{
    const char *type = bl_tokenizer_type_of(value);
    const bl_json_value *list;
    bl_status rc = BL_OK;

    if (!type)
        return BL_OK;
    if (strcmp(type, "Sequence") != 0)
        return read(r, type, value, err);
    list = bl_json_get(value, list_key);
    if (!list || bl_json_type_of(list) != BL_JSON_ARRAY)
        return bl_fail(err, BL_E_FORMAT, "%s: a Sequence lacks its list '%s'", r->file->name,
                       list_key);
    for (const bl_json_value *m = bl_json_first(list); m && rc == BL_OK; m = bl_json_next(m)) {
        type = bl_tokenizer_type_of(m);
        rc = read(r, type ? type : "", m, err);
    }
    return rc;
}

static bl_status read_normalizer(struct reader *r, const char *type, const bl_json_value *value,
                                 struct bl_err *err)
{
    (void)value;
    if (strcmp(type, "NFC") != 0)
        return unsupported(r, err, "normalizer", type);
    r->file->nfc = true;
    return BL_OK;
}

static bl_status add_split(struct reader *r, const char *pattern, bool prefix_space,
                           struct bl_err *err)
{
    bl_tokenizer_file *file = r->file;
    bl_split *split = &file->split[file->n_splits];

    if (r->byte_level)
        return unsupported(r, err, "pre-tokenizer", "something behind ByteLevel");
    if (file->n_splits == BL_TOKENIZER_MAX_SPLITS)
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: more than %d split expressions", file->name,
                       BL_TOKENIZER_MAX_SPLITS);
    if (pattern) {
        split->pattern = bl_arena_strdup(&file->arena, pattern);
        if (!split->pattern)
            return bl_fail_nomem(err, file->name);
    }
    split->prefix_space = prefix_space;
    file->n_splits++;
    return BL_OK;
}

static bl_status read_split(struct reader *r, const bl_json_value *value, struct bl_err *err)
{
    const char *pattern = bl_json_string(bl_json_get(bl_json_get(value, "pattern"), "Regex"));
    const char *behavior = bl_json_string(bl_json_get(value, "behavior"));
    bool invert;
    bl_status rc = bl_tokenizer_flag(&invert, r->file, value, "invert", false, err);

    if (rc != BL_OK)
        return rc;
    if (!pattern || !*pattern)
        return unsupported(r, err, "pre-tokenizer", "Split without a Regex");
    /* With Isolated it does not matter whether matches or gaps are the separators. */
    if (!behavior || strcmp(behavior, "Isolated") != 0)
        return unsupported(r, err, "Split behavior", behavior ? behavior : "(none)");
    return add_split(r, pattern, false, err);
}

static bl_status read_pre_tokenizer(struct reader *r, const char *type, const bl_json_value *value,
                                    struct bl_err *err)
{
    bool first, second;
    bl_status rc;

    if (strcmp(type, "Split") == 0)
        return read_split(r, value, err);
    if (strcmp(type, "Digits") == 0) {
        rc = bl_tokenizer_flag(&first, r->file, value, "individual_digits", false, err);
        return rc == BL_OK ? add_split(r, first ? "\\p{N}" : "\\p{N}+", false, err) : rc;
    }
    if (strcmp(type, "ByteLevel") != 0)
        return unsupported(r, err, "pre-tokenizer", type);
    rc = bl_tokenizer_flag(&first, r->file, value, "add_prefix_space", true, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_flag(&second, r->file, value, "use_regex", true, err);
    if (rc == BL_OK && (first || second))
        rc = add_split(r, second ? gpt2_pattern : NULL, first, err);
    if (rc == BL_OK && r->byte_level)
        rc = unsupported(r, err, "pre-tokenizer", "ByteLevel twice");
    r->byte_level = true;
    return rc;
}

static bl_status read_decoder(struct reader *r, const char *type, const bl_json_value *value,
                              struct bl_err *err)
{
    (void)value;
    return strcmp(type, "ByteLevel") == 0 ? BL_OK : unsupported(r, err, "decoder", type);
}

/* A template says whether a single text begins or ends with a special token. */
static bl_status read_template(struct reader *r, const bl_json_value *value, struct bl_err *err)
{
    const bl_json_value *list = bl_json_get(value, "single");
    bool behind_text = false;

    if (!list || bl_json_type_of(list) != BL_JSON_ARRAY)
        return bl_fail(err, BL_E_FORMAT, "%s: a TemplateProcessing lacks its list 'single'",
                       r->file->name);
    for (const bl_json_value *m = bl_json_first(list); m; m = bl_json_next(m)) {
        const char *text = bl_json_string(bl_json_get(bl_json_get(m, "SpecialToken"), "id"));
        uint32_t id;

        if (bl_json_get(m, "Sequence"))
            behind_text = true;
        else if (!text || !bl_map_get(&id, r->id_of, text, strlen(text)))
            return bl_fail(err, BL_E_FORMAT, "%s: a TemplateProcessing uses an unknown token",
                           r->file->name);
        else if (behind_text)
            r->file->add_eos = true;
        else
            r->file->add_bos = true;
    }
    return BL_OK;
}

static bl_status read_post_processor(struct reader *r, const char *type, const bl_json_value *value,
                                     struct bl_err *err)
{
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template(r, value, err);
    return strcmp(type, "ByteLevel") == 0 ? BL_OK : unsupported(r, err, "post-processor", type);
}

bl_status bl_tokenizer_read_pipeline(bl_tokenizer_file *file, const bl_map *id_of,
                                     const bl_json_value *root, struct bl_err *err)
{
    struct reader r = { .file = file, .id_of = id_of };
    bl_status rc =
        for_each(&r, bl_json_get(root, "normalizer"), "normalizers", read_normalizer, err);

    if (rc == BL_OK)
        rc = for_each(&r, bl_json_get(root, "pre_tokenizer"), "pretokenizers", read_pre_tokenizer,
                      err);
    if (rc == BL_OK && !r.byte_level)
        rc = bl_fail(err, BL_E_UNSUPPORTED, "%s: the pre-tokenizer does not end with ByteLevel",
                     file->name);
    if (rc == BL_OK)
        rc = for_each(&r, bl_json_get(root, "decoder"), "decoders", read_decoder, err);
    if (rc == BL_OK)
        rc = for_each(&r, bl_json_get(root, "post_processor"), "processors", read_post_processor,
                      err);
    return rc;
}
