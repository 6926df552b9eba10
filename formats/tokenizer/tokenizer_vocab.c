/*
 * tokenizer_vocab.c - the model (vocabulary and merges) and the added tokens of a tokenizer.json.
 */
#include "formats/tokenizer/tokenizer_read.h"

#include <inttypes.h>
#include <string.h>

static bl_status bad(const bl_tokenizer_file *file, struct bl_err *err, const char *what)
{
    return bl_fail(err, BL_E_FORMAT, "%s: %s", file->name, what);
}

static bl_status unsupported(const bl_tokenizer_file *file, struct bl_err *err, const char *what)
{
    return bl_fail(err, BL_E_UNSUPPORTED, "%s: %s is not supported", file->name, what);
}

/* Whether a member is there and says something: not null, false, zero or the empty string. */
static bool is_set(const bl_json_value *object, const char *key)
{
    const bl_json_value *value = bl_json_get(object, key);
    const char *text = bl_json_string(value);
    double number;
    bool flag;

    if (!value || bl_json_type_of(value) == BL_JSON_NULL)
        return false;
    if (text)
        return *text != '\0';
    if (bl_json_bool(&flag, value))
        return flag;
    if (bl_json_f64(&number, value))
        return number != 0.0;
    return true;
}

static bl_status check_model(bl_tokenizer_file *file, const bl_json_value *model,
                             struct bl_err *err)
{
    static const char *const features[] = { "dropout", "continuing_subword_prefix",
                                            "end_of_word_suffix", "byte_fallback" };
    const char *type = bl_tokenizer_type_of(model);

    if (!type || bl_json_type_of(model) != BL_JSON_OBJECT)
        return bad(file, err, "there is no 'model'");
    if (strcmp(type, "BPE") != 0 && *type) /* older files do not name it */
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: a model of type '%s' is not supported, only BPE",
                       file->name, type);
    for (size_t i = 0; i < sizeof(features) / sizeof(*features); i++)
        if (is_set(model, features[i]))
            return unsupported(file, err, features[i]);
    file->emits_unk = is_set(model, "unk_token");
    return bl_tokenizer_flag(&file->ignore_merges, file, model, "ignore_merges", false, err);
}

static bl_status measure(bl_tokenizer_builder *b, const char *text, const bl_json_value *id,
                         struct bl_err *err)
{
    uint64_t v;

    if (!text)
        return bad(b->file, err, "a token has no text");
    if (!bl_json_u64(&v, id))
        v = UINT64_MAX;
    return bl_tokenizer_build_measure(b, text, strlen(text), v, err);
}

/* Sizes first: the table and the block of texts are allocated once. */
static bl_status make_room(bl_tokenizer_builder *b, const bl_json_value *vocab,
                           const bl_json_value *added, struct bl_err *err)
{
    uint32_t n_added = 0;
    bl_status rc = BL_OK;

    for (const bl_json_value *m = bl_json_first(vocab); m && rc == BL_OK; m = bl_json_next(m))
        rc = measure(b, bl_json_key(m), m, err);
    b->key = "'added_tokens'";
    for (const bl_json_value *m = added ? bl_json_first(added) : NULL; m && rc == BL_OK;
         m = bl_json_next(m), n_added++)
        rc = measure(b, bl_json_string(bl_json_get(m, "content")), bl_json_get(m, "id"), err);
    b->key = "'vocab'";
    return rc == BL_OK ? bl_tokenizer_build_room(b, n_added, err) : rc;
}

static bl_status read_model_tokens(bl_tokenizer_builder *b, const bl_json_value *vocab,
                                   struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (const bl_json_value *m = bl_json_first(vocab); m && rc == BL_OK; m = bl_json_next(m)) {
        const char *text = bl_json_key(m);
        uint64_t id = 0;

        (void)bl_json_u64(&id, m); /* measured before */
        rc = bl_tokenizer_build_token(b, text, strlen(text), (uint32_t)id, err);
        if (rc == BL_OK)
            b->file->token[id].in_model = true;
    }
    return rc;
}

static bl_status read_added_token(bl_tokenizer_builder *b, uint32_t i, const bl_json_value *m,
                                  struct bl_err *err)
{
    bl_tokenizer_file *file = b->file;
    bl_added_token *a = &file->added[i];
    const char *text = bl_json_string(bl_json_get(m, "content"));
    uint64_t id = 0;
    uint32_t known;
    bl_status rc = BL_OK;

    (void)bl_json_u64(&id, bl_json_get(m, "id"));
    a->id = (uint32_t)id;
    if (!bl_map_get(&known, &b->id_of, text, strlen(text)))
        rc = bl_tokenizer_build_token(b, text, strlen(text), a->id, err);
    else if (known != a->id)
        return bl_fail(err, BL_E_FORMAT, "%s: the token '%s' has the ids %" PRIu32 " and %" PRIu32,
                       file->name, text, known, a->id);
    else if (file->token[id].added >= 0)
        return bl_fail(err, BL_E_FORMAT, "%s: the added token '%s' stands twice", file->name, text);
    if (rc == BL_OK)
        rc = bl_tokenizer_flag(&a->special, file, m, "special", false, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_flag(&a->normalized, file, m, "normalized", !a->special, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_flag(&a->lstrip, file, m, "lstrip", false, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_flag(&a->rstrip, file, m, "rstrip", false, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_flag(&a->single_word, file, m, "single_word", false, err);
    if (rc == BL_OK)
        file->token[id].added = (int32_t)i;
    return rc;
}

/* A merge: ["a", "b"], or the older "a b". */
static bl_status read_merge(bl_tokenizer_builder *b, uint32_t rank, const bl_json_value *m,
                            struct bl_err *err)
{
    const char *both = bl_json_string(m), *left = NULL, *right = NULL;
    const bl_json_value *first = bl_json_type_of(m) == BL_JSON_ARRAY ? bl_json_first(m) : NULL;
    const bl_json_value *second = first ? bl_json_next(first) : NULL;

    if (second && !bl_json_next(second)) {
        left = bl_json_string(first);
        right = bl_json_string(second);
    }
    if (left && right)
        return bl_tokenizer_build_merge(b, rank, left, strlen(left), right, strlen(right), err);
    return bl_tokenizer_build_spaced_merge(b, rank, both ? both : "", both ? strlen(both) : 0, err);
}

/* Before the added tokens are read: a merge speaks of tokens of the model only. */
static bl_status read_merges(bl_tokenizer_builder *b, const bl_json_value *merges,
                             struct bl_err *err)
{
    uint32_t i = 0;
    bl_status rc;

    b->key = "'merges'";
    rc = bl_tokenizer_build_merges(b, bl_json_size(merges), err);
    for (const bl_json_value *m = bl_json_first(merges); m && rc == BL_OK; m = bl_json_next(m))
        rc = read_merge(b, i++, m, err);
    return rc == BL_OK ? bl_tokenizer_build_check_merges(b, err) : rc;
}

bl_status bl_tokenizer_read_vocab(bl_tokenizer_builder *b, const bl_json_value *root,
                                  struct bl_err *err)
{
    bl_tokenizer_file *file = b->file;
    const bl_json_value *model = bl_json_get(root, "model");
    const bl_json_value *vocab = bl_json_get(model, "vocab");
    const bl_json_value *merges = bl_json_get(model, "merges");
    const bl_json_value *added = bl_json_get(root, "added_tokens");
    uint32_t i = 0;
    bl_status rc = check_model(file, model, err);

    if (rc != BL_OK)
        return rc;
    if (!vocab || bl_json_type_of(vocab) != BL_JSON_OBJECT || !merges ||
        bl_json_type_of(merges) != BL_JSON_ARRAY)
        return bad(file, err, "the model lacks a 'vocab' object or a 'merges' list");
    if (added && bl_json_type_of(added) == BL_JSON_NULL)
        added = NULL;
    if (added && bl_json_type_of(added) != BL_JSON_ARRAY)
        return bad(file, err, "'added_tokens' is not a list");
    rc = make_room(b, vocab, added, err);
    if (rc == BL_OK)
        rc = read_model_tokens(b, vocab, err);
    if (rc == BL_OK)
        rc = read_merges(b, merges, err);
    b->key = "'added_tokens'";
    for (const bl_json_value *m = added ? bl_json_first(added) : NULL; m && rc == BL_OK;
         m = bl_json_next(m))
        rc = read_added_token(b, i++, m, err);
    return rc;
}
